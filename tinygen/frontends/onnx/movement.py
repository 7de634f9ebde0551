# SPDX-License-Identifier: Apache-2.0
"""ONNX operators that move values: what is in another place, or left out, or repeated."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tinygen.frontends.onnx.build import Builder
from tinygen.frontends.onnx.node import OnnxNode
from tinygen.frontends.onnx.registry import handles
from tinygen.ir.types import Array
from tinygen.ops.concatenation import ConcatenationAttrs
from tinygen.ops.gather import GatherAttrs
from tinygen.ops.movement import normal_axis
from tinygen.ops.shapes import broadcast_shape
from tinygen.ops.split import SplitAttrs
from tinygen.ops.split_v import SplitVAttrs


def parameter(b: Builder, node: OnnxNode, index: int, name: str) -> list[int] | None:
    """Integers that operator sets keep in attribute `name` or, later, in input `index`; None where they are absent."""
    if node.has(index):
        node.need(node.input(index) in b.known, f"its {name} must be constant: export the model with fixed sizes")
        return [int(v) for v in b.known[node.input(index)].ravel()]
    value = node.attr(name, None)
    return None if value is None else [int(v) for v in (value if isinstance(value, list) else [value])]


@handles("Reshape")
def reshape(b: Builder, node: OnnxNode) -> str:
    wanted = parameter(b, node, 1, "shape")
    shape = b.shape(node.input(0))
    node.need(wanted is not None, "its shape must be constant: export the model with fixed sizes")
    assert wanted is not None
    if not node.attr("allowzero", 0):
        wanted = [shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    if -1 in wanted:
        rest = math.prod(n for n in wanted if n != -1)
        wanted[wanted.index(-1)] = math.prod(shape) // rest if rest else 0
    return b.reshape(node.input(0), wanted)


@handles("Flatten")
def flatten(b: Builder, node: OnnxNode) -> str:
    shape = b.shape(node.input(0))
    axis = int(node.attr("axis", 1))
    axis += len(shape) if axis < 0 else 0
    return b.reshape(node.input(0), (math.prod(shape[:axis]), math.prod(shape[axis:])))


@handles("Squeeze")
def squeeze(b: Builder, node: OnnxNode) -> str:
    shape = b.shape(node.input(0))
    axes = parameter(b, node, 1, "axes")
    gone = {i for i, n in enumerate(shape) if n == 1} if axes is None else {normal_axis(a, len(shape)) for a in axes}
    if any(shape[axis] != 1 for axis in gone):
        raise ValueError(f"axes {sorted(gone)} of {list(shape)} are not all of size 1")
    return b.reshape(node.input(0), [n for i, n in enumerate(shape) if i not in gone])


@handles("Unsqueeze")
def unsqueeze(b: Builder, node: OnnxNode) -> str:
    axes = parameter(b, node, 1, "axes") or []
    rank = b.rank(node.input(0)) + len(axes)
    new, rest = {normal_axis(a, rank) for a in axes}, iter(b.shape(node.input(0)))
    return b.reshape(node.input(0), [1 if i in new else next(rest) for i in range(rank)])


@handles("Transpose")
def transpose(b: Builder, node: OnnxNode) -> str:
    rank = b.rank(node.input(0))
    order = [int(i) for i in node.attr("perm", list(range(rank))[::-1])]
    if sorted(order) != list(range(rank)):
        raise ValueError(f"perm {order} is no order of {rank} dimensions")
    return b.transpose(node.input(0), order)


@handles("Concat")
def concat(b: Builder, node: OnnxNode) -> str:
    axis = normal_axis(int(node.attr("axis", 1)), b.rank(node.input(0)))
    if len(node.inputs) == 1:
        return node.input(0)
    rests = {b.shape(x)[:axis] + b.shape(x)[axis + 1 :] for x in node.inputs}
    if len(rests) != 1:
        raise ValueError(f"the inputs differ in more than dimension {axis}")
    return b.emit("CONCATENATION", node.inputs, ConcatenationAttrs(axis))


@handles("Split")
def split(b: Builder, node: OnnxNode) -> Sequence[str]:
    x = node.input(0)
    axis = normal_axis(int(node.attr("axis", 0)), b.rank(x))
    size, parts = b.shape(x)[axis], len(node.outputs)
    sizes = parameter(b, node, 1, "split")
    if sizes is None:
        chunk = -(-size // parts)
        sizes = [chunk] * (parts - 1) + [size - chunk * (parts - 1)]
    if sum(sizes) != size or len(sizes) != parts or min(sizes) < 0:
        raise ValueError(f"parts {sizes} do not make up dimension {axis} of {list(b.shape(x))}")
    if parts == 1:
        return [x]
    shapes = [(n,) for n in sizes]
    if len(set(sizes)) == 1:
        return b.emit_all("SPLIT", [b.integers([axis]), x], SplitAttrs(parts), shapes)
    return b.emit_all("SPLIT_V", [x, b.integers(sizes), b.integers([axis])], SplitVAttrs(parts), shapes)


@handles("Slice")
def cut(b: Builder, node: OnnxNode) -> str:
    shape = b.shape(node.input(0))
    starts, ends = parameter(b, node, 1, "starts"), parameter(b, node, 2, "ends")
    node.need(
        starts is not None and ends is not None,
        "its starts and ends must be constant: export the model with fixed sizes",
    )
    assert starts is not None and ends is not None
    axes = parameter(b, node, 3, "axes") or list(range(len(starts)))
    steps = parameter(b, node, 4, "steps") or [1] * len(starts)
    ranges = [range(n) for n in shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        where = normal_axis(axis, len(shape))
        ranges[where] = range(shape[where])[slice(start, end, step)]
    return pick(b, node, node.input(0), ranges)


def pick(b: Builder, node: OnnxNode, x: str, ranges: Sequence[range]) -> str:
    """The elements of `x` whose indices lie in the ranges: STRIDED_SLICE, or GATHER for those that go backwards."""
    node.need(all(len(r) for r in ranges), "its output would be empty: correct its sizes, or leave it out")
    for axis, indices in enumerate(ranges):
        if indices.step < 0:
            x = gather(b, x, np.array(indices), axis)
    shape = b.shape(x)
    forward = [r if r.step > 0 else range(n) for r, n in zip(ranges, shape, strict=True)]
    if all(r == range(n) for r, n in zip(forward, shape, strict=True)):
        return x
    if all(r.step == 1 for r in forward):
        return b.emit("SLICE", [x, b.integers([r.start for r in forward]), b.integers([len(r) for r in forward])])
    bounds = ([r.start for r in forward], [r.stop for r in forward], [r.step for r in forward])
    return b.emit("STRIDED_SLICE", [x, *(b.integers(v) for v in bounds)])


def gather(b: Builder, x: str, indices: Array, axis: int) -> str:
    """The slices of `x` along `axis` that `indices` (counted from 0) name."""
    return b.emit("GATHER", [x, b.integers(indices)], GatherAttrs(axis))


@handles("Gather")
def gather_node(b: Builder, node: OnnxNode) -> str:
    x = node.input(0)
    axis = normal_axis(int(node.attr("axis", 0)), b.rank(x))
    if node.input(1) not in b.known:
        return b.emit("GATHER", [x, node.input(1)], GatherAttrs(axis))
    indices, size = b.known[node.input(1)], b.shape(x)[axis]
    if not np.all((indices >= -size) & (indices < size)):
        raise ValueError(f"an index lies outside dimension {axis} of {list(b.shape(x))}")
    return gather(b, x, np.where(indices < 0, indices + size, indices), axis)


@handles("Expand")
def expand(b: Builder, node: OnnxNode) -> str:
    wanted = parameter(b, node, 1, "shape")
    node.need(wanted is not None, "its shape must be constant: export the model with fixed sizes")
    target = broadcast_shape(b.shape(node.input(0)), tuple(wanted or ()))
    if target is None:
        raise ValueError(f"shape {list(b.shape(node.input(0)))} does not broadcast to {wanted}")
    x = b.reshape(node.input(0), (1,) * (len(target) - b.rank(node.input(0))) + b.shape(node.input(0)))
    for axis, size in enumerate(target):
        if b.shape(x)[axis] != size:
            x = gather(b, x, np.zeros(size, np.int32), axis)
    return x


@handles("Tile")
def tile(b: Builder, node: OnnxNode) -> str:
    repeats = parameter(b, node, 1, "repeats")
    node.need(
        repeats is not None and len(repeats) == b.rank(node.input(0)),
        "its repeats must be constant: export the model with fixed sizes",
    )
    x = node.input(0)
    for axis, count in enumerate(repeats or ()):
        if count != 1:
            x = gather(b, x, np.tile(np.arange(b.shape(x)[axis]), count), axis)
    return x


@handles("Shape")
def shape_of(b: Builder, node: OnnxNode) -> str:
    """All shapes are known."""
    shape = b.shape(node.input(0))
    window = slice(int(node.attr("start", 0)), int(node.attr("end", len(shape))))
    return b.constant(np.asarray(shape[window], np.int64))


@handles("Size")
def size_of(b: Builder, node: OnnxNode) -> str:
    return b.constant(np.asarray(math.prod(b.shape(node.input(0))), np.int64))
