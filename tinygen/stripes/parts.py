# SPDX-License-Identifier: Apache-2.0
"""Parts of layers: the same operator on some rows of its input, which gives some rows of its output.

Parts at the upper and the lower edge have the padding that the layer has there, others have none, so that any kernel
computes a part as it would a whole layer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import TensorType
from tinygen.kernels import kernels_for
from tinygen.kernels.row_pooling import RowsAttrs, of_rows, takes_rows
from tinygen.ops import all_ops, call_of
from tinygen.ops.base import Call

#: Operators that compute each output element from the elements at its place.
ELEMENTWISE = frozenset({"ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE"})
_CONVOLUTIONS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})
_POOLS = frozenset({"AVERAGE_POOL_2D", "MAX_POOL_2D"})


@dataclass(frozen=True)
class Reach:
    """Output row r comes from input rows r * stride - before up to, exclusively, r * stride - before + span."""

    span: int = 1
    stride: int = 1
    before: int = 0

    def rows(self, first: int, end: int, height: int) -> tuple[int, int]:
        """The input rows, of `height`, that output rows `first` up to `end` need: first and end."""
        return max(0, first * self.stride - self.before), min(height, self._end(end))

    def padding(self, first: int, end: int, height: int) -> tuple[int, int]:
        """Rows of padding above and below what `rows` gives."""
        return max(0, self.before - first * self.stride), max(0, self._end(end) - height)

    def _end(self, end: int) -> int:
        return (end - 1) * self.stride - self.before + self.span


@dataclass(frozen=True)
class Part:
    """`made` output rows of a layer from input rows `top` up to `bottom`, as call number `kind` of the layer's."""

    kind: int
    made: int
    top: int
    bottom: int


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
    if takes_rows(call):
        made = _gathering(call, band)
    else:
        reach = reach_of(call)
        if reach is None or not indices:
            return None
        height = call.output.shape[1]
        made = [_part(call, reach, first, min(first + band, height)) for first in range(0, height, band)]
    kinds: dict[object, int] = {}
    different: list[Call[Any]] = []
    parts = []
    for part, rows, top, bottom in made:
        kind = kinds.setdefault(_kind(part), len(kinds))
        different += [part] if kind == len(different) else []
        parts.append(Part(kind, rows, top, bottom))
    maps = tuple(node.inputs[i] for i in indices)
    over = tuple(node.inputs[i] for i in _in_place(call))
    return Layer(node, call, maps, indices, tuple(parts), tuple(different), takes_rows(call), over)


def _in_place(call: Call[Any]) -> tuple[int, ...]:
    """The inputs that every kernel may compute an elementwise layer over."""
    if reach_of(call) != Reach():
        return ()
    able = [kernel for kernel in kernels_for(call.op) if kernel.takes(call)]
    rooms = [kernel.overlap(call, launch) for kernel in able for launch in kernel.launch(call)]
    rules = [{i for i, room in some.items() if room.below in (0, None)} for some in rooms]
    return tuple(i for i in range(len(call.inputs)) if rules and all(i in rule for rule in rules))


def _gathering(call: Call[Any], band: int) -> list[tuple[Call[Any], int, int, int]]:
    """As `_part`, for a layer that makes one row of all rows."""
    height, made = call.input(0).shape[1], []
    for top in range(0, height, band):
        bottom = min(top + band, height)
        part = of_rows(call, rows_of(call.input(0), bottom - top), top == 0, bottom == height)
        made.append((part, int(bottom == height), top, bottom))
    return made


def _kind(call: Call[Any]) -> object:
    """What tells the calls of a layer apart."""
    if isinstance(call.attrs, RowsAttrs):
        return call.input(0).shape, call.attrs.first, call.attrs.last
    return call.input(0).shape if call.inputs[0] else None, call.output.shape, getattr(call.attrs, "padding", None)


def reach_of(call: Call[Any]) -> Reach | None:
    """Which rows the layer's rows need; None where it cannot be computed on rows."""
    if len(call.output.shape) != 4 or call.output.shape[0] != 1 or len(call.outputs) != 1:
        return None
    if call.op in _CONVOLUTIONS:
        kernel_h, attrs = call.input(1).shape[1], call.attrs
        return _inside(Reach((kernel_h - 1) * attrs.dilation[0] + 1, attrs.stride[0], attrs.padding[0]), call)
    if call.op in _POOLS:
        return _inside(Reach(call.attrs.window[0], call.attrs.stride[0], call.attrs.padding[0]), call)
    return Reach() if _is_elementwise(call) else None


def _inside(reach: Reach, call: Call[Any]) -> Reach | None:
    """`reach`, if every output row needs a row of the input."""
    rows, height = call.output.shape[1], call.input(0).shape[1]
    spans = [reach.rows(row, row + 1, height) for row in (0, rows - 1)]
    return reach if all(first < end for first, end in spans) else None


def _is_elementwise(call: Call[Any]) -> bool:
    if call.op not in ELEMENTWISE and not all_ops()[call.op].pointwise(call):
        return False
    shapes = zip(call.inputs, call.constants, strict=True)
    return all(t is None or _spread(t, c is not None, call.output) for t, c in shapes)


def _spread(t: TensorType, constant: bool, output: TensorType) -> bool:
    """Whether an input has the output's shape, or is a constant that is the same in every row."""
    return t.elements in (1, t.shape[-1]) if constant else t.shape == output.shape


def _part(call: Call[Any], reach: Reach, first: int, end: int) -> tuple[Call[Any], int, int, int]:
    """Output rows `first` up to `end` of `call`: the call, the rows that it makes, and the input rows that it needs."""
    known = [c is not None for c in call.constants]
    height = next(t for t, k in zip(call.inputs, known, strict=True) if t and not k).shape[1]
    top, bottom = reach.rows(first, end, height)
    attrs = call.attrs
    if hasattr(attrs, "padding"):
        attrs = replace(attrs, padding=(*reach.padding(first, end, height), *attrs.padding[2:]))
    inputs = tuple(rows_of(t, bottom - top) if t and not k else t for t, k in zip(call.inputs, known, strict=True))
    part = replace(call, attrs=attrs, inputs=inputs, outputs=(rows_of(call.output, end - first),))
    return part, end - first, top, bottom


def rows_of(t: TensorType, rows: int) -> TensorType:
    """The type of `rows` rows of an image of type `t`."""
    return replace(t, shape=(1, rows, *t.shape[2:]))


def row_bytes(t: TensorType) -> int:
    """Bytes of a row of an image."""
    return t.bytes // t.shape[1]
