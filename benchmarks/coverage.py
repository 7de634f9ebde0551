# SPDX-License-Identifier: Apache-2.0
"""Which published networks tinygen compiles to the golden bits, and why it refuses the others.

    python -m benchmarks.coverage [--json]

Every model that is not refused is built for cortex-m4 and run on its golden input sets, on this computer under
sanitizers and under QEMU. The exit code is 1 if one differs or fails to build or run, 2 if the zoo is not there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.command import on_the_zoo
from tests import zoo
from tinygen.errors import TinygenError
from tinygen.target import load_target
from tinygen.verify.host import run_host
from tinygen.verify.qemu import run_qemu

CORE = "cortex-m4"


@dataclass(frozen=True)
class Verdict:
    """What became of a model: ``equal``, ``different`` (or failed), or ``not covered``; `detail` says how or why."""

    name: str
    state: str
    detail: str


def judge(name: str) -> Verdict:
    """Build and run model `name`, unless it is not covered."""
    reason = zoo.reason_not_covered(name)
    if reason:
        return Verdict(name, "not covered", reason)
    try:
        wrong = _difference(name)
    except TinygenError as error:
        wrong = str(error)
    return Verdict(name, "different", wrong) if wrong else Verdict(name, "equal", f"on host and {CORE}")


def _difference(name: str) -> str | None:
    """The first difference from the golden vectors, on the host or under QEMU."""
    runs = zoo.golden(name)
    inputs = [run.inputs for run in runs]
    with tempfile.TemporaryDirectory() as folder:
        built = zoo.build(name, Path(folder), CORE)
        for done in (run_host(built, inputs), run_qemu(built, inputs, load_target(CORE))):
            found = zoo.difference(runs, done.outputs)
            if found:
                return f"{done.where}: {found}"
    return None


def lines(verdicts: list[Verdict]) -> Iterator[str]:
    """The verdicts as text, the models of each state together."""
    counts = Counter(v.state for v in verdicts)
    covered = len(verdicts) - counts["not covered"]
    yield f"{counts['equal']} of {covered} covered models equal their golden vectors on host and {CORE} (QEMU):"
    yield from (f"  {v.name}" for v in verdicts if v.state == "equal")
    if counts["different"]:
        yield f"{counts['different']} do not:"
        yield from (f"  {v.name}: {v.detail}" for v in verdicts if v.state == "different")
    yield f"{counts['not covered']} are not covered:"
    yield from (f"  {v.name}: {v.detail}" for v in verdicts if v.state == "not covered")


def main() -> int:
    parser = argparse.ArgumentParser(description="Build and run every model of the zoo.")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return on_the_zoo(parser, None, measured)


def measured(options: argparse.Namespace) -> bool:
    """Build, run and print; whether no output differs."""
    verdicts = []
    with Console(stderr=True).status("") as status:
        for name in zoo.names():
            status.update(name)
            verdicts.append(judge(name))
    print(json.dumps([asdict(v) for v in verdicts], indent=1) if options.json else "\n".join(lines(verdicts)))
    return all(v.state != "different" for v in verdicts)


if __name__ == "__main__":
    sys.exit(main())
