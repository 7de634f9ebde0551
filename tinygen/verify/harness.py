# SPDX-License-Identifier: Apache-2.0
"""The program around the generated C: its sources, its input and output files, and what its exit codes mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from tinygen import toolchain
from tinygen.emit.render import environment, named
from tinygen.errors import UsageError, VerificationError
from tinygen.ir.types import Array
from tinygen.resources import read_text, templates
from tinygen.verify.build_dir import BuildDir, Place


class Exit(IntEnum):
    """Exit codes of the harness. High, so that they are no exit codes of emulators or sanitizers."""

    DONE = 0
    BAD_FILE = 101
    WROTE_BEFORE = 102
    WROTE_AFTER = 103
    WRONG_STEP = 104
    DIVIDED_BY_ZERO = 105
    STACK_OVERFLOW = 106
    FAULT = 107


class Mode(Enum):
    """What the harness does besides inference: nothing, record or count every step, or count the whole and stack."""

    PLAIN = "plain"
    TRACED = "traced"
    PROFILED = "profiled"
    COUNTED = "counted"


#: What went wrong, to follow "<name>_run on <machine>"; `FAULT` needs the text that the fault handler prints.
SENTENCES = {
    Exit.BAD_FILE: "could not read its input file or write its output files: is the disk full?",
    Exit.WROTE_BEFORE: "wrote to memory just before the arena",
    Exit.WROTE_AFTER: "wrote to memory just after the arena",
    Exit.WRONG_STEP: "did not call the hook once for each step in the report, in order: build again",
    Exit.DIVIDED_BY_ZERO: "divided by zero",
    Exit.STACK_OVERFLOW: "overflowed the stack",
}


@dataclass(frozen=True)
class Piece:
    """An output of a step, as run_traced.c.j2 lists them."""

    step: int
    offset: int
    bytes: int


def check_exit(code: int, what: str) -> None:
    """Raise `VerificationError` if `code` is one of `SENTENCES`; `what` names program and machine."""
    if code in SENTENCES:
        raise VerificationError(f"{what} {SENTENCES[Exit(code)]}")


def write_sources(build: BuildDir, folder: Path, mode: Mode, static: Sequence[str]) -> list[Path]:
    """Write the harness for `build` into `folder`, with the `static` files; returns the C files to compile."""
    context = {
        **named(build.name),
        "pushed": build.pushed,
        "entry": "infer_by_rows" if build.pushed else f"{build.name}_run",
        "exits": list(Exit),
        "inputs": [{"index": i} for i in range(len(build.inputs))],
        "outputs": [{"index": i} for i in range(len(build.outputs))],
        "steps": len(build.steps),
        "pieces": [Piece(i, p.offset, p.type.bytes) for i, places in enumerate(build.steps) for p in places],
    }
    rendered = ["platform.h", "harness.h", "hook.h", "main.c", "memory.c", f"run_{mode.value}.c"]
    for name in rendered:
        render(folder, name, context)
    for name in static:
        (folder / name).write_text(read_text(templates(), f"harness/{name}"), encoding="utf-8")
    return [folder / name for name in (*rendered, *static) if name.endswith(".c")]


def render(folder: Path, name: str, context: dict[str, Any]) -> None:
    """Write template ``harness/<name>.j2``, with its holes filled from `context`, to `folder`."""
    text = environment().get_template(f"harness/{name}.j2").render(context)
    (folder / name).write_text(text, encoding="utf-8")


def compile_all(
    build: BuildDir,
    sources: Sequence[Path],
    folder: Path,
    compiler: Sequence[str],
    opt: str,
    mode: Mode,
    model_compiler: Sequence[str] = (),
) -> tuple[list[Path], str]:
    """Compile harness and model in `folder` with `compiler` and its flags; returns the objects and the warnings.

    `model_compiler`: another one for the model, whose objects those of `compiler` link with.
    """
    hook = ["-include", str(folder / "hook.h")] if mode in (Mode.TRACED, Mode.PROFILED) else []
    jobs = [(source, "-O1", list[str]()) for source in sources] + [(build.source, opt, hook)]
    objects, warnings = [], ""
    for number, (source, level, extra) in enumerate(jobs):
        with_flags = model_compiler if model_compiler and source == build.source else compiler
        out = folder / f"{number}.o"
        includes = ["-I", str(folder), "-I", str(build.path.resolve())]
        command = [
            *with_flags,
            *toolchain.CFLAGS,
            level,
            *includes,
            *extra,
            "-c",
            str(source.resolve()),
            "-o",
            str(out),
        ]
        warnings += toolchain.run(command).stderr
        objects.append(out)
    return objects, warnings


def write_inputs(build: BuildDir, vectors: Sequence[Sequence[Array]], folder: Path) -> None:
    """Write ``in.bin``; raises as `check_vectors` does."""
    check_vectors(build, vectors)
    with (folder / "in.bin").open("wb") as file:
        for vector in vectors:
            for array in vector:
                file.write(_little(array.dtype, array).tobytes())


def check_vectors(build: BuildDir, vectors: Sequence[Sequence[Array]]) -> None:
    """Raise `UsageError` unless each vector, at least one, holds the model's inputs in order, with shape and dtype."""
    if not vectors:
        raise UsageError("there are no input sets to run: give at least one")
    for number, vector in enumerate(vectors):
        _check_vector(build, number, vector)


def _check_vector(build: BuildDir, number: int, vector: Sequence[Array]) -> None:
    if len(vector) != len(build.inputs):
        raise UsageError(f"input set {number} has {len(vector)} arrays; the model has {len(build.inputs)} inputs")
    for array, place in zip(vector, build.inputs, strict=True):
        if array.shape != place.type.shape or array.dtype != place.type.dtype.numpy:
            got = f"{array.dtype.name}[{','.join(map(str, array.shape))}]"
            raise UsageError(f"input set {number}, input '{place.name}': expected {place.type}, got {got}")


def read_outputs(build: BuildDir, count: int, folder: Path) -> tuple[tuple[Array, ...], ...]:
    """The outputs of each of `count` input sets, from ``out.bin``."""
    return tuple(_read(folder / "out.bin", build.outputs, count))


def read_trace(build: BuildDir, count: int, folder: Path) -> tuple[tuple[tuple[Array, ...], ...], ...]:
    """For each of `count` input sets, the outputs of each step, from ``trace.bin``."""
    flat = [place for places in build.steps for place in places]
    return tuple(tuple(_by_step(build, iter(arrays))) for arrays in _read(folder / "trace.bin", flat, count))


def _by_step(build: BuildDir, arrays: Iterator[Array]) -> Iterator[tuple[Array, ...]]:
    for places in build.steps:
        yield tuple(next(arrays) for _ in places)


def _read(file: Path, places: Sequence[Place], count: int) -> Iterator[tuple[Array, ...]]:
    """`count` times the arrays of `places`, which `file` holds one after the other."""
    data, each = file.read_bytes(), sum(place.type.bytes for place in places)
    if len(data) != each * count:
        raise VerificationError(f"{file.name} has {len(data)} bytes, not {count} × {each}: build again")
    for start in range(0, each * count, each) if each else [0] * count:
        arrays, at = [], start
        for place in places:
            dtype = place.type.dtype.numpy.newbyteorder("<")
            array = np.frombuffer(data, dtype, place.type.elements, at).reshape(place.type.shape)
            arrays.append(array.astype(place.type.dtype.numpy))
            at += place.type.bytes
        yield tuple(arrays)


def _little(dtype: np.dtype[Any], array: Array) -> Array:
    return np.asarray(array, dtype=dtype.newbyteorder("<"))
