# SPDX-License-Identifier: Apache-2.0
"""Resize, Upsample, DepthToSpace and SpaceToDepth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.frontends.onnx.build import Builder
from tinygen.frontends.onnx.movement import gather
from tinygen.frontends.onnx.node import OnnxNode
from tinygen.frontends.onnx.registry import handles
from tinygen.frontends.onnx.spatial import from_nhwc, to_nhwc
from tinygen.ir.types import Array
from tinygen.ops.depth_to_space import BlockAttrs
from tinygen.ops.movement import normal_axis
from tinygen.ops.resize_bilinear import ResizeAttrs as BilinearAttrs
from tinygen.ops.resize_nearest_neighbor import ResizeAttrs as NearestAttrs
from tinygen.ops.resize_nearest_neighbor import sources

#: align_corners, half_pixel_centers of TFLite.
_CONVENTIONS = ((False, True), (False, False), (True, False))


@dataclass(frozen=True)
class _Axis:
    """One dimension: sizes before and after, and the scale that the model says."""

    before: int
    after: int
    scale: float


@handles("Resize", "Upsample")
def resize(b: Builder, node: OnnxNode) -> str:
    x, rank = node.input(0), b.rank(node.input(0))
    mode = node.attr("mode", "nearest")
    node.need(mode in ("nearest", "linear"), f"mode {mode} is not supported: use nearest or linear")
    node.need(not node.attr("antialias", 0), "antialias is not supported: export it with antialias=0")
    axes = _axes(b, node)
    moved = [i for i, axis in enumerate(axes) if axis.before != axis.after or axis.scale != 1]
    where = [positions(node, axis) for axis in axes]
    if mode == "nearest":
        return _nearest(b, node, x, axes, [nearest(node, p, a.before) for p, a in zip(where, axes, strict=True)])
    node.need(
        rank in (3, 4) and not {0, 1} & set(moved),
        "linear interpolation is supported along height and width only: use mode nearest for the others",
    )
    return _linear(b, node, x, axes, where)


def _axes(b: Builder, node: OnnxNode) -> list[_Axis]:
    """Sizes and scales of every dimension."""
    shape = b.shape(node.input(0))
    index = {"scales": 1 if node.op == "Upsample" or node.version < 11 else 2, "sizes": 3}
    sizes, scales = (_values(b, node, index[name], name) for name in ("sizes", "scales"))
    axes = [normal_axis(int(a), len(shape)) for a in node.attr("axes", range(len(shape)))]
    result = [_Axis(n, n, 1.0) for n in shape]
    policy = node.attr("keep_aspect_ratio_policy", "stretch")
    node.need(policy == "stretch", f"keep_aspect_ratio_policy {policy} is not supported: give the sizes themselves")
    given = sizes if sizes is not None and len(sizes) else scales
    node.need(
        given is not None and len(given) == len(axes),
        "its scales or sizes must be constant: export the model with fixed sizes",
    )
    for axis, value in zip(axes, given if given is not None else (), strict=True):
        if given is sizes:
            result[axis] = _Axis(shape[axis], int(value), int(value) / shape[axis])
        else:
            result[axis] = _Axis(shape[axis], int(np.floor(shape[axis] * float(value) + 1e-9)), float(value))
    node.need(all(a.after >= 1 for a in result), "its output would be empty: correct its sizes, or leave it out")
    return result


def _values(b: Builder, node: OnnxNode, index: int, name: str) -> Any:
    if node.has(index):
        node.need(node.input(index) in b.known, f"its {name} must be constant: export the model with fixed sizes")
        return b.known[node.input(index)].ravel()
    return node.attr(name, None)


def positions(node: OnnxNode, axis: _Axis) -> Array:
    """Where each output element lies along the input's dimension, in elements: ONNX's coordinate transformations."""
    i, scale = np.arange(axis.after, dtype=np.float64), axis.scale
    default = "half_pixel" if node.op == "Resize" and node.version >= 11 else "asymmetric"
    kind = node.attr("coordinate_transformation_mode", default)
    if axis.before == axis.after and scale == 1:
        return i
    if kind == "asymmetric":
        return i / scale
    if kind == "align_corners":
        whole = abs(scale * axis.before - axis.after) < 1e-4
        node.need(whole, "align_corners with a scale that gives no whole size is ambiguous: give sizes instead")
        return i * (axis.before - 1) / (axis.after - 1) if axis.after > 1 else i * 0
    if kind == "tf_half_pixel_for_nn":
        return (i + 0.5) / scale
    if kind == "half_pixel_symmetric":
        middle = axis.before / 2 * (1 - axis.after / (scale * axis.before))
        return np.asarray(middle + (i + 0.5) / scale - 0.5)
    if kind == "pytorch_half_pixel" and axis.after == 1:
        return i * 0
    node.need(
        kind in ("half_pixel", "pytorch_half_pixel"),
        f"coordinate_transformation_mode {kind} is not supported: use half_pixel, align_corners or asymmetric",
    )
    return (i + 0.5) / scale - 0.5


def nearest(node: OnnxNode, where: Array, size: int) -> Array:
    """The index of the nearest element, by the node's rule for halves."""
    default = "round_prefer_floor" if node.op == "Resize" and node.version >= 11 else "floor"
    kind = node.attr("nearest_mode", default)
    rules: dict[str, Callable[[Array], Array]] = {
        "round_prefer_floor": lambda p: np.ceil(p - 0.5),
        "round_prefer_ceil": lambda p: np.floor(p + 0.5),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    node.need(
        kind in rules, f"nearest_mode {kind} is unknown: use round_prefer_floor, round_prefer_ceil, floor or ceil"
    )
    return np.asarray(np.clip(rules[kind](where), 0, size - 1)).astype(np.int64)


def _nearest(b: Builder, node: OnnxNode, x: str, axes: list[_Axis], indices: list[Array]) -> str:
    """RESIZE_NEAREST_NEIGHBOR where it picks the same pixels, else a GATHER along each dimension."""
    spatial = axes[2:]
    if b.rank(x) in (3, 4) and all(
        np.array_equal(i, np.arange(a.before)) for i, a in zip(indices[:2], axes, strict=False)
    ):
        for convention in _CONVENTIONS:
            attrs = NearestAttrs(*convention)
            if all(
                np.array_equal(sources(a.before, a.after, attrs), i) for a, i in zip(spatial, indices[2:], strict=True)
            ):
                size = b.integers([1, spatial[0].after] if b.rank(x) == 3 else [a.after for a in spatial])
                result = b.emit("RESIZE_NEAREST_NEIGHBOR", [to_nhwc(b, x), size], attrs)
                return from_nhwc(b, result, b.rank(x))
    for axis, index in enumerate(indices):
        if not np.array_equal(index, np.arange(axes[axis].before)):
            x = gather(b, x, index, axis)
    return x


def _linear(b: Builder, node: OnnxNode, x: str, axes: list[_Axis], where: list[Array]) -> str:
    spatial = axes[2:]
    for align, half in _CONVENTIONS:
        if all(_same(a, p, align, half) for a, p in zip(spatial, where[2:], strict=True)):
            size = b.integers([1, spatial[0].after] if b.rank(x) == 3 else [a.after for a in spatial])
            result = b.emit("RESIZE_BILINEAR", [to_nhwc(b, x), size], BilinearAttrs(align, half))
            return from_nhwc(b, result, b.rank(x))
    raise node.refusal(
        "its sizes and coordinates are not TFLite's: give sizes that are whole multiples, or mode nearest"
    )


def _same(axis: _Axis, where: Array, align: bool, half: bool) -> bool:
    """Whether TFLite's convention gives the same positions, within the image."""
    i: Array = np.arange(axis.after)
    ratio = axis.before / axis.after
    if align and axis.after > 1:
        exact: Array = i * (axis.before - 1) / (axis.after - 1)
    else:
        exact = (i + 0.5) * ratio - 0.5 if half else i * ratio
    return bool(np.allclose(np.clip(exact, 0, axis.before - 1), np.clip(where, 0, axis.before - 1), atol=1e-6))


@handles("DepthToSpace")
def depth_to_space(b: Builder, node: OnnxNode) -> str:
    """Mode CRD keeps the pixels of a channel together, DCR (TFLite's) the channels of a pixel."""
    size, image = int(node.attr("blocksize", 1)), to_nhwc(b, node.input(0))
    if node.attr("mode", "DCR") == "CRD":
        channels = np.arange(b.shape(image)[3]).reshape(-1, size * size)
        image = gather(b, image, channels.T.ravel(), 3)
    return from_nhwc(b, b.emit("DEPTH_TO_SPACE", [image], BlockAttrs(size)), 4)


@handles("SpaceToDepth")
def space_to_depth(b: Builder, node: OnnxNode) -> str:
    size = int(node.attr("blocksize", 1))
    image = b.emit("SPACE_TO_DEPTH", [to_nhwc(b, node.input(0))], BlockAttrs(size))
    if node.attr("mode", "DCR") == "CRD":
        channels = np.arange(b.shape(image)[3]).reshape(size * size, -1)
        image = gather(b, image, channels.T.ravel(), 3)
    return from_nhwc(b, image, 4)
