# SPDX-License-Identifier: Apache-2.0
"""Parts of layers: the same operator on some rows of its input, which gives some rows of its output.

Parts at the upper and the lower edge have the padding that the layer has there, others have none, so that any kernel
computes a part as it would a whole layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import TensorType
from tinygen.kernels import kernels_for
from tinygen.kernels.row_pooling import of_rows, takes_rows
from tinygen.ops import call_of, op_of
from tinygen.ops.base import Call
from tinygen.ops.rows import Span, access_of, part_of, rows_of


@dataclass(frozen=True)
class Part:
    """`made` output rows of a layer from the rows `spans` of its maps, as call number `kind` of the layer's."""

    kind: int
    made: int
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Layer:
    """A layer that runs in `parts`, one after the other; `calls` are the different ones.

    `maps` are its run-time inputs, which its node has at `indices`. With `gathers`, a part takes in rows of the one
    input, and the output, a single row, is there after the last part: until then, the layer keeps its scratch memory.
    `over` are the maps whose place the output may take.
    """

    node: Node
    call: Call[Any]
    maps: tuple[str, ...]
    indices: tuple[int, ...]
    parts: tuple[Part, ...]
    calls: tuple[Call[Any], ...]
    gathers: bool = False
    over: tuple[str, ...] = ()
    #: What kernels make of the calls, by kernel and kind: packing constants takes time.
    packed: dict[object, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def output(self) -> str:
        return self.node.outputs[0]

    @property
    def rows(self) -> tuple[int, int]:
        """Rows of the output, and bytes of each."""
        t = self.call.output
        return (1, t.bytes) if self.gathers else (t.shape[1], row_bytes(t))


def layer_of(graph: Graph, node: Node, band: int) -> Layer | None:
    """The layer of `node` in parts of `band` output rows, or input rows if it gathers; None if that cannot be."""
    call = call_of(graph, node)
    indices = tuple(i for i, name in enumerate(node.inputs) if name and name not in graph.constants)
    over: tuple[int, ...] = ()
    if takes_rows(call):
        made = list(_gathering(call, band))
    else:
        access = access_of(op_of(node), call)
        if access is None:
            return None
        bands = access.bands(call.output.shape[1], band)
        made = [(part_of(call, access, *rows), rows[1] - rows[0], access.spans(*rows)) for rows in bands]
        over = _in_place(call) if access.local else ()
    kinds: dict[object, int] = {}
    different: list[Call[Any]] = []
    parts = []
    for part, rows, spans in made:
        kind = kinds.setdefault(_kind(call, part), len(kinds))
        different += [part] if kind == len(different) else []
        parts.append(Part(kind, rows, spans))
    maps, places = tuple(node.inputs[i] for i in indices), tuple(node.inputs[i] for i in over)
    return Layer(node, call, maps, indices, tuple(parts), tuple(different), takes_rows(call), places)


def _in_place(call: Call[Any]) -> tuple[int, ...]:
    """The inputs that every kernel may compute a layer over whose elements come from those at their places."""
    able = [kernel for kernel in kernels_for(call.op) if kernel.takes(call)]
    rooms = [kernel.overlap(call, launch) for kernel in able for launch in kernel.launch(call)]
    rules = [{i for i, room in some.items() if room.below in (0, None)} for some in rooms]
    return tuple(i for i in range(len(call.inputs)) if rules and all(i in rule for rule in rules))


def _gathering(call: Call[Any], band: int) -> Iterator[tuple[Call[Any], int, tuple[Span, ...]]]:
    """For a layer that makes one row of all rows: calls, the rows that they make, and those that they need."""
    height = call.input(0).shape[1]
    for top in range(0, height, band):
        bottom = min(top + band, height)
        part = of_rows(call, rows_of(call.input(0), bottom - top), top == 0, bottom == height)
        yield part, int(bottom == height), ((top, bottom),)


def _kind(whole: Call[Any], part: Call[Any]) -> object:
    """What tells the calls of a layer apart."""
    constants = zip(whole.constants, part.constants, strict=False)
    changed = tuple(None if new is old or new is None else new.tobytes() for old, new in constants)
    shapes = tuple(None if t is None else t.shape for t in part.inputs)
    return shapes, part.output.shape, part.attrs, changed


def row_bytes(t: TensorType) -> int:
    """Bytes of a row of an image."""
    return t.bytes // t.shape[1]
