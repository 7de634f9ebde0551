# SPDX-License-Identifier: Apache-2.0
"""Which ONNX nodes stand for the operators that move values, and for conversions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.export.onnx_registry import operand, shared_order, writes
from tinygen.export.onnx_writer import NCHW, Order, Writer
from tinygen.ir.graph import Node
from tinygen.ops import call_of
from tinygen.ops.mirror_pad import MirrorMode
from tinygen.ops.movement import normal_axis
from tinygen.ops.split_v import sizes
from tinygen.ops.strided_slice import spans

#: An end before the first element, for a slice that goes backwards.
BEFORE = -(1 << 31)


@writes("QUANTIZE", "DEQUANTIZE")
def conversion(w: Writer, node: Node) -> None:
    """What is written is quantized in the scale of its tensor."""
    order = w.order(node.inputs[0])
    w.write(node.outputs[0], w.read(node.inputs[0], order), order)


@writes("TRANSPOSE")
def transpose(w: Writer, node: Node) -> None:
    """Nothing: the value is the same one, in another order of the transposed tensor."""
    perm = [int(i) % w.rank(node.inputs[0]) for i in w.graph.constants[node.inputs[1]]]
    w.alias(node.outputs[0], node.inputs[0], tuple(perm.index(axis) for axis in w.order(node.inputs[0])))


@writes("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
def reshape(w: Writer, node: Node) -> None:
    target = node.outputs[0]
    value = w.node("Reshape", [w.read(node.inputs[0]), w.integers(w.shape(target))])
    w.write(target, value, w.straight(target))


@writes("CONCATENATION")
def concatenation(w: Writer, node: Node) -> None:
    attrs: Any = node.attrs
    order = shared_order(w, node)
    axis = order.index(normal_axis(attrs.axis, len(order)))
    w.write(node.outputs[0], w.node("Concat", [operand(w, n, order) for n in node.inputs], axis=axis), order)


@writes("PACK")
def pack(w: Writer, node: Node) -> None:
    attrs: Any = node.attrs
    axis = normal_axis(attrs.axis, w.rank(node.outputs[0]))
    shape = list(w.shape(node.outputs[0]))
    shape[axis] = 1
    parts = [w.node("Reshape", [w.read(name), w.integers(shape)]) for name in node.inputs]
    w.write(node.outputs[0], w.node("Concat", parts, axis=axis), w.straight(node.outputs[0]))


def _split(w: Writer, source: str, axis: int, parts: Sequence[int], order: Order) -> list[str]:
    names = [w.fresh(f"Split_{len(w.nodes)}_{i}") for i in range(len(parts))]
    inputs = [w.read(source, order), w.integers(parts)]
    return w.node_with(names, "Split", inputs, axis=order.index(axis))


@writes("SPLIT")
def split(w: Writer, node: Node) -> None:
    source, order = node.inputs[1], w.order(node.inputs[1])
    axis = normal_axis(int(w.graph.constants[node.inputs[0]].ravel()[0]), w.rank(source))
    parts = [w.shape(name)[axis] for name in node.outputs]
    for name, value in zip(node.outputs, _split(w, source, axis, parts, order), strict=True):
        w.write(name, value, order)


@writes("SPLIT_V")
def split_v(w: Writer, node: Node) -> None:
    source, order = node.inputs[0], w.order(node.inputs[0])
    axis = normal_axis(int(w.graph.constants[node.inputs[2]].ravel()[0]), w.rank(source))
    parts = sizes(call_of(w.graph, node))
    for name, value in zip(node.outputs, _split(w, source, axis, parts, order), strict=True):
        w.write(name, value, order)


@writes("UNPACK")
def unpack(w: Writer, node: Node) -> None:
    attrs: Any = node.attrs
    source = node.inputs[0]
    axis = normal_axis(attrs.axis, w.rank(source))
    parts = _split(w, source, axis, [1] * len(node.outputs), w.straight(source))
    for name, value in zip(node.outputs, parts, strict=True):
        w.write(name, w.node("Reshape", [value, w.integers(w.shape(name))]), w.straight(name))


@writes("PAD", "PADV2", "MIRROR_PAD")
def pad(w: Writer, node: Node) -> None:
    attrs: Any = node.attrs
    source, order = node.inputs[0], w.order(node.inputs[0])
    amounts = w.graph.constants[node.inputs[1]].reshape(-1, 2)[list(order)]
    inputs, mode = [w.read(source, order), w.integers(amounts.T.ravel().tolist())], "constant"
    if node.op == "MIRROR_PAD":
        mode = "reflect"
        if attrs.mode is not MirrorMode.REFLECT:
            raise w.refuse(node, "it mirrors the edges themselves (SYMMETRIC), and ONNX's Pad does not")
    if node.op == "PADV2":
        kind = w.graph.types[node.inputs[2]]
        inputs.append(w.real(float(kind.dequantize(w.graph.constants[node.inputs[2]]).ravel()[0])))
    w.write(node.outputs[0], w.node("Pad", inputs, mode=mode), order)


def _cut(w: Writer, x: str, order: Order, ranges: Sequence[tuple[int, int, int]]) -> str:
    """A Slice by (start, count, stride) for each dimension of the tensor."""
    picked = [ranges[axis] for axis in order]
    ends = [start + count * stride for start, count, stride in picked]
    bounds = [r[0] for r in picked], [e if e >= 0 else BEFORE for e in ends], range(len(order)), [r[2] for r in picked]
    return w.node("Slice", [x, *(w.integers(list(b)) for b in bounds)])


@writes("SLICE")
def cut(w: Writer, node: Node) -> None:
    source, order = node.inputs[0], w.order(node.inputs[0])
    begins = w.graph.constants[node.inputs[1]].ravel().tolist()
    ranges = [(begin, count, 1) for begin, count in zip(begins, w.shape(node.outputs[0]), strict=True)]
    w.write(node.outputs[0], _cut(w, w.read(source, order), order, ranges), order)


@writes("STRIDED_SLICE")
def strided_slice(w: Writer, node: Node) -> None:
    """Dimensions that vanish or are new take a Reshape."""
    source, target, found = node.inputs[0], node.outputs[0], spans(call_of(w.graph, node))
    plain = not any(span.new or span.dropped for span in found)
    order = w.order(source) if plain else w.straight(source)
    ranges = [(span.start, span.count, span.stride) for span in found if not span.new]
    value = _cut(w, w.read(source, order), order, ranges)
    if not plain:
        value = w.node("Reshape", [value, w.integers(w.shape(target))])
    w.write(target, value, order if plain else w.straight(target))


@writes("GATHER")
def gather(w: Writer, node: Node) -> None:
    attrs: Any = node.attrs
    source = node.inputs[0]
    if attrs.batch_dims or node.inputs[1] not in w.graph.constants:
        raise w.refuse(node, "its indices are computed at run time, or differ by batch")
    indices = w.graph.constants[node.inputs[1]].astype(np.int64)
    order = w.order(source) if indices.ndim == 1 else w.straight(source)
    axis = order.index(normal_axis(attrs.axis, w.rank(source)))
    value = w.node("Gather", [w.read(source, order), w.constant(indices, "indices")], axis=axis)
    w.write(node.outputs[0], value, order if indices.ndim == 1 else w.straight(node.outputs[0]))


@writes("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
def resize(w: Writer, node: Node) -> None:
    attrs: Any = node.attrs
    batch, height, width, channels = w.shape(node.outputs[0])
    half, corners = attrs.half_pixel_centers, attrs.align_corners
    options: dict[str, Any] = {
        "mode": "linear" if node.op == "RESIZE_BILINEAR" else "nearest",
        "coordinate_transformation_mode": "align_corners" if corners else "half_pixel" if half else "asymmetric",
    }
    if node.op == "RESIZE_NEAREST_NEIGHBOR":
        options["nearest_mode"] = "round_prefer_ceil" if corners or half else "floor"
    inputs = [w.read(node.inputs[0], NCHW), "", "", w.integers((batch, channels, height, width))]
    w.write(node.outputs[0], w.node("Resize", inputs, **options), NCHW)


@writes("DEPTH_TO_SPACE", "SPACE_TO_DEPTH")
def blocks(w: Writer, node: Node) -> None:
    attrs: Any = node.attrs
    op = {"DEPTH_TO_SPACE": "DepthToSpace", "SPACE_TO_DEPTH": "SpaceToDepth"}[node.op]
    value = w.node(op, [w.read(node.inputs[0], NCHW)], blocksize=attrs.block_size)
    w.write(node.outputs[0], value, NCHW)
