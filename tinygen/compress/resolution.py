# SPDX-License-Identifier: Apache-2.0
"""Lower resolution: the network computes on a smaller image, which an average pool makes of the model's input.

For networks of convolutions that end in a global pool, which give answers of one shape whatever the image's size. Every
layer is fitted to the means of what it gave on the whole image, so that filters learn what they look like from further
away; without training, that goes so far, and recovery further. The model's inputs and outputs stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from tinygen.compress.base import Evidence, Setting, Stage
from tinygen.compress.fitting.refit import refit
from tinygen.compress.fitting.sensitivity import logits
from tinygen.compress.fitting.walk import enough, walk
from tinygen.errors import UsageError
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import TensorType
from tinygen.ops import call_of, op_of
from tinygen.ops.convolution import ConvAttrs
from tinygen.ops.pooling import PoolAttrs
from tinygen.ops.shapes import same_padding
from tinygen.passes.base import Result, label, macs
from tinygen.passes.rewrite import fresh, renamed


class UnsuitableError(ValueError):
    """Why a network cannot compute on a smaller image."""


@dataclass(frozen=True)
class Resolution:
    """Compute on an image FACTOR times smaller each way, by an average pool in front.

    - `factor`: 2, 3 or 4: how many pixels of the input, along each side, become one.
    """

    factor: Setting = field(default=Setting(2), metadata={"main": True})
    name: ClassVar[str] = "resolution"
    stage: ClassVar[Stage] = Stage.STRUCTURE

    def __post_init__(self) -> None:
        if self.factor.value not in (2, 3, 4) or self.factor.layers:
            raise UsageError(f"expected factor to be 2, 3 or 4, without layers, got {self.factor.value!r}")

    def run(self, graph: Graph, evidence: Evidence) -> Result:
        """See `Technique.run`."""
        try:
            smaller = shrunk(graph, self.factor.value)
        except UnsuitableError as reason:
            return Result(graph, declined=(str(reason),))
        if not evidence.samples:
            raise UsageError("resolution: pass samples of the model's inputs to fit layers to")
        made = walk(graph, enough(graph, evidence.samples), graph=smaller)
        for node in smaller.nodes:
            made.add(refit(made, node))
        (before, *_), after = graph.types[image_of(graph)].shape[1:], smaller.types[smaller.nodes[0].outputs[0]].shape
        closest = min(made.closeness(logits(graph, name)) for name in graph.outputs)
        done = (
            f"'{image_of(graph)}' is pooled from {before} to {after[1]} rows: "
            f"{macs(graph)} → {macs(made.graph())} MACs, outputs {closest:.1f} dB"
        )
        return Result(made.graph(), (done,))


def image_of(graph: Graph) -> str:
    """The input [1, H, W, C] of `graph`. Raises `UnsuitableError` if it has none, or other inputs."""
    if len(graph.inputs) != 1 or len(graph.types[graph.inputs[0]].shape) != 4:
        raise UnsuitableError("only networks with one input, an image [1, H, W, C], compute at another resolution")
    return graph.inputs[0]


def shrunk(graph: Graph, factor: int) -> Graph:
    """`graph` on an image that is `factor` times smaller, with the weights as they are.

    Paddings that were SAME stay SAME, windows that covered a whole image cover the smaller one. Raises
    `UnsuitableError` where an operator asks for the size that there was.
    """
    source = image_of(graph)
    image, name = graph.types[source], fresh(graph, f"{source}:smaller")
    height, width = _sides(image)
    window = min(factor, height), min(factor, width)
    (top, bottom), (left, right) = (
        same_padding(n, step, step, 1) for n, step in zip((height, width), window, strict=True)
    )
    sides = -(-height // window[0]), -(-width // window[1])
    types = {**graph.types, name: replace(image, shape=(image.shape[0], *sides, image.shape[3]))}
    nodes = [Node(name, "AVERAGE_POOL_2D", (source,), (name,), PoolAttrs(window, window, (top, bottom, left, right)))]
    for node in graph.nodes:
        nodes.append(_resized(graph, renamed(node, source, name), node, types))
    if any(types[output] != graph.types[output] for output in graph.outputs):
        raise UnsuitableError("the outputs' size depends on the input's: there is no global pool in between")
    return replace(graph, nodes=tuple(nodes), types=types)


def _resized(graph: Graph, node: Node, before: Node, types: dict[str, TensorType]) -> Node:
    """`node` for inputs of the sizes in `types`, which get those of its outputs."""
    node = replace(node, attrs=_attrs(graph, before, types[node.inputs[0]]))
    call, op = call_of(_Typed(types, graph.constants), node), op_of(node)
    try:
        shapes = [tuple(shape) for shape, _ in op.infer(call)]
        outputs = tuple(replace(t, shape=s) for t, s in zip(call.outputs, shapes, strict=True))
        problems = op.problems(replace(call, outputs=outputs))
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise UnsuitableError(f"{label(node)} asks for the size that its input had: {error}") from None
    if problems:
        raise UnsuitableError(f"{label(node)} asks for the size that its input had: {problems[0]}")
    types.update(zip(node.outputs, outputs, strict=True))
    return node


@dataclass(frozen=True)
class _Typed:
    """What `call_of` reads of a graph."""

    types: Mapping[str, TensorType]
    constants: Mapping[str, Any]


def _attrs(graph: Graph, node: Node, source: TensorType) -> Any:
    """The attributes of `node` where its input is as `source` says."""
    attrs, old = node.attrs, graph.types[node.inputs[0]] if node.inputs[0] else source
    if isinstance(attrs, PoolAttrs):
        if attrs.window == _sides(old) and not any(attrs.padding):
            return replace(attrs, window=_sides(source), stride=_sides(source))
        return replace(attrs, padding=_padding(attrs, old, source, attrs.window))
    if isinstance(attrs, ConvAttrs):
        return replace(attrs, padding=_padding(attrs, old, source, _sides(graph.types[node.inputs[1]])))
    return attrs


def _sides(tensor: TensorType) -> tuple[int, int]:
    """Height and width of an image, or of a convolution's window."""
    _, height, width, _ = tensor.shape
    return height, width


def _padding(
    attrs: PoolAttrs | ConvAttrs, old: TensorType, new: TensorType, window: tuple[int, int]
) -> tuple[int, int, int, int]:
    """SAME padding for the `new` size where that of `attrs` was so for the `old` one."""
    dilation = attrs.dilation if isinstance(attrs, ConvAttrs) else (1, 1)

    def same(tensor: TensorType) -> tuple[int, int, int, int]:
        sides = zip(_sides(tensor), window, attrs.stride, dilation, strict=True)
        (top, bottom), (left, right) = (same_padding(*side) for side in sides)
        return top, bottom, left, right

    return same(new) if attrs.padding == same(old) else attrs.padding


TECHNIQUE = Resolution
