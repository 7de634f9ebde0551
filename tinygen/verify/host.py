# SPDX-License-Identifier: Apache-2.0
"""Run the generated C on this computer, under the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tinygen import toolchain
from tinygen.errors import VerificationError
from tinygen.ir.types import Array
from tinygen.verify import harness
from tinygen.verify.build_dir import BuildDir
from tinygen.verify.execution import Execution, Finished, execute
from tinygen.verify.harness import Mode

#: Misalignment is part of `undefined`; a float that does not fit its integer is not.
SANITIZE = (
    "-fsanitize=address,undefined,float-cast-overflow",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
    "-g",
    "-DHARNESS_SANITIZE",
)


def run_host(
    build: BuildDir,
    vectors: Sequence[Sequence[Array]],
    trace: bool = False,
    sanitize: bool = True,
    cc: str | None = None,
    opt: str = "-O2",
    timeout: float = 120.0,
) -> Execution:
    """Compile `build` with `cc` (default: gcc, else clang) and run it on `vectors`: sets of arrays in input order.

    `VerificationError` if the program crashes, hangs for `timeout` seconds, or a sanitizer objects; `UsageError` if an
    array does not fit its input; `ToolError` if it does not compile.
    """
    compiler = [cc or toolchain.find_host(), *(SANITIZE if sanitize else ())]
    mode = Mode.TRACED if trace else Mode.PLAIN
    with tempfile.TemporaryDirectory(prefix="tinygen-") as temporary:
        folder = Path(temporary).resolve()
        harness.write_inputs(build, vectors, folder)
        sources = harness.write_sources(build, folder, mode, ["host.c"])
        objects, warnings = harness.compile_all(build, sources, folder, compiler, opt, mode)
        toolchain.run([*compiler, *objects, "-o", folder / "program"])
        what = f"{build.name}_run on the host"
        done = execute([folder / "program"], folder, timeout, what, _environment())
        _check(done, what, build, folder)
        return Execution(
            where="host",
            outputs=harness.read_outputs(build, len(vectors), folder),
            trace=harness.read_trace(build, len(vectors), folder) if trace else None,
            warnings=warnings,
        )


def _environment() -> dict[str, str]:
    """This process's environment, with sanitizers told to stop at the first finding and not to look for leaks."""
    options = {"ASAN_OPTIONS": "detect_leaks=0:exitcode=99", "UBSAN_OPTIONS": "halt_on_error=1"}
    return {**os.environ, **options}


def _check(done: Finished, what: str, build: BuildDir, folder: Path) -> None:
    """Raise `VerificationError` unless the program ended well."""
    if done.code == 0:
        return
    finding = sanitizer_finding(done.stderr)
    if finding:
        for place in (folder, build.path.resolve(), build.path):
            finding = finding.replace(f"{place}/", "")
        raise VerificationError(f"{what} is wrong: {finding}")
    harness.check_exit(done.code, what)
    if done.code < 0:
        raise VerificationError(f"{what} was stopped by {signal.Signals(-done.code).name}")
    last = "".join(done.stderr.strip().splitlines()[-1:])
    raise VerificationError(f"{what} ended with exit code {done.code}: {last}")


#: Lines that say what is wrong and where, the best first: no summary follows where the report itself fails.
_FINDINGS = (r"^.*: runtime error: .*$", r"(?<=^SUMMARY: )AddressSanitizer: .*$", r"(?<=ERROR: )AddressSanitizer: .*$")


def sanitizer_finding(stderr: str) -> str | None:
    """The line of a sanitizer's output that says what is wrong and where; None if there is no such line."""
    found = (re.search(pattern, stderr, re.MULTILINE) for pattern in _FINDINGS)
    return next((match.group().strip() for match in found if match), None)
