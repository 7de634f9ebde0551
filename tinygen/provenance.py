# SPDX-License-Identifier: Apache-2.0
"""What made the generated files: the command, the model, the target; and the name that they bear."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path

from tinygen.compress.recipe import Recipe
from tinygen.compress.recipe import words as spelled
from tinygen.data.calibration import Source
from tinygen.data.preprocessing import Preprocessing
from tinygen.errors import UsageError
from tinygen.ir.program import Program
from tinygen.plan.arena import Plan
from tinygen.quantize.options import Wide
from tinygen.report import ModelInfo
from tinygen.target import Target

#: Sizes of inputs, by name.
Shapes = Mapping[str, tuple[int, ...]]
#: What may prefix C symbols.
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,40}")
#: Headers of the C library and of the verification harness, which <name>.h would hide.
_HEADERS = re.compile(
    r"assert|complex|ctype|errno|fenv|float|inttypes|iso646|limits|locale|math|setjmp|signal|std(arg|bool|def|int|io|lib)"
    r"|string|tgmath|time|wchar|wctype|harness|hook|machine|platform",
    re.IGNORECASE,
)


def symbol(name: str, given: bool) -> str:
    """`name` as a C identifier: as it is if `given` by the user (who is told if it is none), else mended."""
    if given:
        if not _IDENTIFIER.fullmatch(name):
            raise UsageError(f"--name {name}: expected a C identifier of at most 41 letters, digits and underscores")
        if _HEADERS.fullmatch(name):
            raise UsageError(f"--name {name}: {name}.h would hide another header; choose another name")
        return name
    mended = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40].rstrip("_")
    good = _IDENTIFIER.fullmatch(mended) and not _HEADERS.fullmatch(mended)
    return mended if good else f"model_{mended}"[:41].rstrip("_")


def command_line(
    file: str,
    target: str,
    name: str | None,
    optimize: str,
    ram: int | None,
    flash: int | None,
    calibration: Source | None = None,
    float_io: bool = False,
    preprocessing: Preprocessing | None = None,
    recipe: Recipe | None = None,
    without: Collection[str] = (),
    mixed: Wide = "none",
    data: Source | None = None,
    searched: Collection[str] = (),
) -> str:
    """The command that makes the same files again, without folders; samples out of Python are called SAMPLES.

    `searched` are the words that say how to search.
    """
    words = ["tinygen", "build", file, "--target", target]
    options = {
        "--name": name,
        "--ram": ram,
        "--flash": flash,
        "--optimize": optimize if optimize != "balanced" else None,
        "--calibration": _samples(calibration),
        "--data": _samples(data),
    }
    if calibration is not None:
        options |= (preprocessing or Preprocessing()).options()
    for option, value in options.items():
        words += [] if value is None else [option, str(value)]
    words += ["--float-io"] if float_io else []
    words += [] if mixed == "none" else ["--mixed", mixed if isinstance(mixed, str) else ",".join(mixed)]
    words += spelled(recipe)
    words += searched
    words += [word for name in without for word in ("--without", name)]
    return shlex.join(words)


def _samples(source: Source | None) -> str | None:
    return None if source is None else Path(source).name if isinstance(source, str | Path) else "SAMPLES"


def shape_words(shapes: Shapes | None) -> str:
    """The options that fix the shapes of inputs, each with a space in front."""
    pairs = (f"{name}={','.join(map(str, shape))}" for name, shape in (shapes or {}).items())
    return "".join(f" --shape {shlex.quote(pair)}" for pair in pairs)


def provenance(command: str, info: ModelInfo, target: Target, program: Program, layout: Plan) -> list[str]:
    """The lines at the top of the generated files: what made them, from what, for what. No date, no path."""
    return [
        command,
        f"model:  {info.file}, SHA-256 {info.sha256}",
        f"target: {target.name}" + (f" ({target.core})" if target.core != target.name else ""),
        f"RAM:    {layout.bytes} bytes of arena; constants: {program.constant_bytes} bytes; MACs: {program.macs}",
    ]
