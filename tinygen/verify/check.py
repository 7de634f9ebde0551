# SPDX-License-Identifier: Apache-2.0
"""Does the emitted C compute what the numpy reference computes? Byte by byte, with the first difference named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygen.errors import UsageError, VerificationError
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array
from tinygen.reference import run_all
from tinygen.target import Target
from tinygen.verify.build_dir import BuildDir
from tinygen.verify.execution import Execution
from tinygen.verify.host import run_host
from tinygen.verify.qemu import run_qemu


@dataclass(frozen=True)
class Mismatch:
    """The first element that differs: in which input set, after which layer, where, and by how much.

    `layer` is step and operator; empty where all layers are right, and a model's output is not.
    """

    vector: int
    layer: str
    tensor: str
    index: tuple[int, ...]
    got: str
    expected: str

    def __str__(self) -> str:
        where = f"after layer {self.layer}" if self.layer else "after the last layer"
        return (
            f"input set {self.vector}: first difference {where}, tensor '{self.tensor}' at "
            f"{list(self.index)}: the C computes {self.got}, the reference {self.expected}"
        )


@dataclass(frozen=True)
class Checked:
    """What one run of the C on one machine (``host``, or a QEMU board) showed.

    `bytes_compared` counts the model's outputs and, with `every_layer`, those of each layer.
    """

    where: str
    vectors: int
    bytes_compared: int
    every_layer: bool
    mismatch: Mismatch | None
    instructions: int | None
    stack: int | None

    @property
    def compared(self) -> str:
        return "every layer's output" if self.every_layer else "output"


@dataclass(frozen=True)
class Verification:
    """The result of `verify`: one `Checked` for each machine; `modified` names files that are not as built."""

    name: str
    checked: tuple[Checked, ...]
    modified: tuple[str, ...] = field(default=())

    def lines(self) -> list[str]:
        """The result as text."""
        lines = [f"note: {name} is not the file that was built" for name in self.modified]
        for c in self.checked:
            verdict = "EQUAL" if c.mismatch is None else "DIFFERENT"
            extra = [f"{c.instructions:,} instructions per inference"] if c.instructions is not None else []
            extra += [f"{c.stack:,} bytes of stack used"] if c.stack is not None else []
            lines.append(
                f"{c.where}: {verdict}: {c.bytes_compared:,} bytes of {c.compared} for {c.vectors} input sets"
                + "".join(f"; {e}" for e in extra)
            )
            lines += [f"  {c.mismatch}"] if c.mismatch else []
        return lines

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {
            "name": self.name,
            "equal": all(c.mismatch is None for c in self.checked),
            "modified": list(self.modified),
            "runs": [
                {
                    "where": c.where,
                    "vectors": c.vectors,
                    "bytes_compared": c.bytes_compared,
                    "every_layer": c.every_layer,
                    "instructions": c.instructions,
                    "stack": c.stack,
                    "mismatch": vars(c.mismatch) if c.mismatch else None,
                }
                for c in self.checked
            ],
        }

    def raise_if_wrong(self) -> None:
        """Raise `VerificationError` if any machine's outputs differ from the reference."""
        for c in self.checked:
            if c.mismatch is not None:
                raise VerificationError(f"{self.name} on {c.where}: {c.mismatch}")


def check_on(build: BuildDir, graph: Graph, vectors: Sequence[Sequence[Array]], target: Target | None) -> Checked:
    """Run the C of `build` on `vectors`, on the host or (with a `target`) under QEMU, and compare with the reference.

    On the host every layer's outputs are compared, since a softmax or a clamp can hide what was wrong before it; under
    QEMU, where the program runs as it is shipped, the model's outputs. A difference there is traced to its layer.
    Of a build without steps (`tinygen.verify.turns`), the outputs are compared.
    """
    if tuple(place.name for place in build.outputs) != graph.outputs:
        raise UsageError(f"report.json and {build.name}.tgm do not agree on the outputs: build again")
    expected = [run_all(graph, inputs) for inputs in vectors]
    executed = _execute(build, vectors, target, trace=target is None and bool(build.steps))
    mismatch = _first_difference(build, graph, executed, expected)
    if mismatch is not None and executed.trace is None and build.steps:
        traced = _execute(build, vectors[: mismatch.vector + 1], target, trace=True)
        mismatch = _first_difference(build, graph, traced, expected) or mismatch
    arrays = [*executed.outputs, *(arrays for steps in executed.trace or () for arrays in steps)]
    return Checked(
        where=executed.where,
        vectors=len(vectors),
        bytes_compared=sum(a.nbytes for group in arrays for a in group),
        every_layer=executed.trace is not None,
        mismatch=mismatch,
        instructions=executed.instructions,
        stack=executed.stack,
    )


def _execute(build: BuildDir, vectors: Sequence[Sequence[Array]], target: Target | None, trace: bool) -> Execution:
    if target is None:
        return run_host(build, vectors, trace=trace)
    return run_qemu(build, vectors, target, trace=trace)


def _first_difference(
    build: BuildDir, graph: Graph, executed: Execution, expected: Sequence[Mapping[str, Array]]
) -> Mismatch | None:
    """The first element that differs, by input set, then by layer; the model's outputs come last."""
    for vector, values in enumerate(expected[: len(executed.outputs)]):
        for layer, name, array in _compared(build, graph, executed, vector):
            mismatch = _difference(build, vector, layer, name, array, values)
            if mismatch is not None:
                return mismatch
    return None


def _compared(build: BuildDir, graph: Graph, executed: Execution, vector: int) -> Iterator[tuple[str, str, Array]]:
    """Everything that an input set gave, as (layer, tensor, array): traced layers, then the model's outputs."""
    if executed.trace is not None:
        layers = sorted(build.report["layers"], key=lambda layer: int(layer["step"]))
        for layer, places, arrays in zip(layers, build.steps, executed.trace[vector], strict=True):
            for place, array in zip(places, arrays, strict=True):
                yield f"{layer['step']} {layer['op']}", place.name, array
    for name, array in zip(graph.outputs, executed.outputs[vector], strict=True):
        yield "", name, array


def _difference(
    build: BuildDir, vector: int, layer: str, name: str, got: Array, values: Mapping[str, Array]
) -> Mismatch | None:
    expected = values.get(name)
    if expected is None or (expected.shape, expected.dtype) != (got.shape, got.dtype):
        raise UsageError(f"report.json and {build.name}.tgm do not agree on tensor '{name}': build again")
    if got.tobytes() == expected.tobytes():
        return None
    where = np.argwhere(got != expected)
    index = tuple(int(i) for i in where[0]) if len(where) else (0,) * got.ndim
    return Mismatch(vector, layer, name, index, str(got[index]), str(expected[index]))
