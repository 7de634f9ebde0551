"""Does the emitted C compute what the numpy reference computes? Byte by byte, with the first difference named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygen.errors import VerificationError
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
    """The first element that differs: in which input set, after which layer, where, and by how much."""

    vector: int
    layer: str
    tensor: str
    index: tuple[int, ...]
    got: str
    expected: str

    def __str__(self) -> str:
        return (
            f"input set {self.vector}: first difference after layer {self.layer}, tensor '{self.tensor}' at "
            f"{list(self.index)}: the C computes {self.got}, the reference {self.expected}"
        )


@dataclass(frozen=True)
class Checked:
    """What one run of the C on one machine (``host``, or a QEMU board) showed."""

    where: str
    vectors: int
    bytes_compared: int
    mismatch: Mismatch | None
    instructions: int | None
    stack: int | None


@dataclass(frozen=True)
class Verification:
    """The result of `verify`: one `Checked` for each machine; `modified` names files that are not as they were built."""

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
                f"{c.where}: {verdict}: {c.bytes_compared:,} output bytes of {c.vectors} input sets"
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


def check_on(
    build: BuildDir, graph: Graph, vectors: Sequence[Sequence[Array]], target: Target | None
) -> Checked:
    """Run the C of `build` on `vectors`, on the host or (with a `target`) under QEMU, and compare every output byte."""
    expected = [run_all(graph, inputs) for inputs in vectors]
    executed = _execute(build, vectors, target, trace=False)
    mismatch = None
    for index, (values, outputs) in enumerate(zip(expected, executed.outputs, strict=True)):
        if any(got.tobytes() != values[name].tobytes() for name, got in zip(graph.outputs, outputs, strict=True)):
            mismatch = _locate(build, graph, vectors, index, values, target)
            break
    return Checked(
        where=executed.where,
        vectors=len(vectors),
        bytes_compared=sum(a.nbytes for outputs in executed.outputs for a in outputs),
        mismatch=mismatch,
        instructions=executed.instructions,
        stack=executed.stack,
    )


def _execute(
    build: BuildDir, vectors: Sequence[Sequence[Array]], target: Target | None, trace: bool
) -> Execution:
    if target is None:
        return run_host(build, vectors, trace=trace)
    return run_qemu(build, vectors, target, trace=trace)


def _locate(
    build: BuildDir,
    graph: Graph,
    vectors: Sequence[Sequence[Array]],
    vector: int,
    values: dict[str, Array],
    target: Target | None,
) -> Mismatch:
    """Run the input set again with every layer's outputs recorded, and find the first that is not as expected."""
    traced = _execute(build, vectors[: vector + 1], target, trace=True)
    assert traced.trace is not None
    for layer, arrays in zip(build.report["layers"], traced.trace[vector], strict=True):
        for described, got in zip(layer["outputs"], arrays, strict=True):
            found = _difference(vector, f"{layer['step']} {layer['op']}", described["name"], got, values)
            if found:
                return found
    for name, got in zip(graph.outputs, traced.outputs[vector], strict=True):
        found = _difference(vector, "(after the last layer)", name, got, values)
        if found:
            return found
    return Mismatch(vector, "(unknown)", "", (), "other bytes in a first run", "the same in every run")


def _difference(vector: int, layer: str, name: str, got: Array, values: dict[str, Array]) -> Mismatch | None:
    expected = values[name]
    if got.tobytes() == expected.tobytes():
        return None
    where = np.argwhere(got != expected)
    index = tuple(int(i) for i in where[0]) if len(where) else (0,) * got.ndim
    return Mismatch(vector, layer, name, index, str(got[index]), str(expected[index]))
