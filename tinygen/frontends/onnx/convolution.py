# SPDX-License-Identifier: Apache-2.0
"""Conv and ConvTranspose."""

from __future__ import annotations

import numpy as np

from tinygen.frontends.onnx.build import Builder
from tinygen.frontends.onnx.elementwise import floating
from tinygen.frontends.onnx.node import OnnxNode
from tinygen.frontends.onnx.registry import handles
from tinygen.frontends.onnx.simplify import MAX_GROWN
from tinygen.frontends.onnx.spatial import Pair, from_nhwc, image_rank, pair, to_nhwc, window_of
from tinygen.ir.types import Array
from tinygen.ops.convolution import ConvAttrs
from tinygen.ops.transpose_conv import TransposeConvAttrs


def weights_of(b: Builder, node: OnnxNode, rank: int) -> Array:
    """The weights with two spatial dimensions; they and the bias must be constant."""
    floating(b, node)
    node.need(node.input(1) in b.known, "the weights must be constant: store them in the model, or use MatMul")
    node.need(
        not node.has(2) or node.input(2) in b.known,
        "the bias must be constant: store it in the model, or use Add after it",
    )
    weights = b.known[node.input(1)].astype(np.float32)
    if weights.ndim != rank:
        raise ValueError(f"weights {list(weights.shape)} do not fit an input of {rank} dimensions")
    return weights[:, :, None] if rank == 3 else weights


def bias_of(b: Builder, node: OnnxNode) -> list[str]:
    if not node.has(2):
        return []
    return [b.stored_as(b.floats(b.known[node.input(2)].reshape(-1)), node.input(2))]


@handles("Conv")
def conv(b: Builder, node: OnnxNode) -> str:
    """DEPTHWISE_CONV_2D where each group has one input channel of several, else CONV_2D, whose weights imply groups."""
    rank = image_rank(b, node)
    weights = weights_of(b, node, rank)
    image = to_nhwc(b, node.input(0))
    (_, *sizes, channels), groups = b.shape(image), int(node.attr("group", 1))
    filters, depth, *kernel = weights.shape
    if groups < 1 or depth * groups != channels or filters % groups:
        raise ValueError(f"weights {list(weights.shape)} in {groups} groups do not fit {channels} channels")
    window = window_of(b, node, pair(sizes), kernel[-(rank - 2) :])
    node.need(
        min(window.outputs(pair(sizes))) >= 1,
        "the padded input is smaller than the dilated kernel: use a smaller kernel or more padding",
    )
    attrs = ConvAttrs(window.stride, window.dilation, window.sides)
    depthwise = groups == channels > 1
    order = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
    constant = b.constant(np.ascontiguousarray(weights.transpose(order)), "weights")
    b.stored_as(constant, node.input(1), 3 if depthwise else 0)
    op = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    return from_nhwc(b, b.emit(op, [image, constant, *bias_of(b, node)], attrs), rank)


@handles("ConvTranspose")
def conv_transpose(b: Builder, node: OnnxNode) -> str:
    """Groups and dilations become zeros among the weights, which TRANSPOSE_CONV does without."""
    rank = image_rank(b, node)
    given, groups = weights_of(b, node, rank), int(node.attr("group", 1))
    dilation = pair(node.attr("dilations", [1] * (rank - 2)))
    sides = [(n - 1) * d + 1 for n, d in zip(given.shape[2:], dilation, strict=True)]
    node.need(
        given.shape[0] * given.shape[1] * groups * sides[0] * sides[1] <= MAX_GROWN,
        "its groups and dilations make its weights larger than any model for a microcontroller: use smaller ones",
    )
    weights = _dilated(_dense(given, groups), dilation)
    image = to_nhwc(b, node.input(0))
    batch, height, width, channels = b.shape(image)
    if weights.shape[0] != channels:
        raise ValueError(f"weights for {weights.shape[0]} channels do not fit {channels}")
    stride = pair(node.attr("strides", [1] * (rank - 2)))
    shape, (top, left) = _extent(node, (height, width), weights.shape, stride, rank)
    node.need(min(shape) >= 1, "its output would be empty: correct its sizes, or leave it out")
    attrs = TransposeConvAttrs(stride, (top, 0, left, 0))
    target = b.integers((batch, *shape, weights.shape[1]))
    constant = b.constant(np.ascontiguousarray(weights.transpose(1, 2, 3, 0)), "weights")
    b.stored_as(constant, node.input(1))
    result = b.emit("TRANSPOSE_CONV", [target, constant, image, *bias_of(b, node)], attrs, (batch, *shape, 1))
    return from_nhwc(b, result, rank)


def _dense(weights: Array, groups: int) -> Array:
    """Weights [channels, filters / groups, h, w] as [channels, filters, h, w]."""
    if groups == 1:
        return weights
    channels, filters, *kernel = weights.shape
    if groups < 1 or channels % groups:
        raise ValueError(f"{channels} channels are no {groups} groups")
    dense = np.zeros((channels, filters * groups, *kernel), np.float32)
    size = channels // groups
    for g in range(groups):
        dense[g * size : (g + 1) * size, g * filters : (g + 1) * filters] = weights[g * size : (g + 1) * size]
    return dense


def _dilated(weights: Array, dilation: Pair) -> Array:
    height, width = ((n - 1) * d + 1 for n, d in zip(weights.shape[2:], dilation, strict=True))
    spread = np.zeros((*weights.shape[:2], height, width), np.float32)
    spread[:, :, :: dilation[0], :: dilation[1]] = weights
    return spread


def _extent(node: OnnxNode, sizes: Pair, weights: tuple[int, ...], stride: Pair, rank: int) -> tuple[Pair, Pair]:
    """(height, width) of the output, and the padding that is cut off (top, left): ONNX's rules for ConvTranspose."""
    extra = pair(node.attr("output_padding", [0] * (rank - 2)), 0)
    full = [stride[i] * (sizes[i] - 1) + extra[i] + weights[2 + i] for i in (0, 1)]
    kind = node.attr("auto_pad", "NOTSET") or "NOTSET"
    wanted = node.attr("output_shape", None)
    if wanted is None and kind in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [sizes[i] * stride[i] for i in (0, 1)][-(rank - 2) :]
    if wanted is None:
        flat = [0] * 4 if kind == "VALID" else [int(v) for v in node.attr("pads", [0] * 2 * (rank - 2))]
        before, after = ((0, flat[0]), (0, flat[1])) if len(flat) == 2 else (flat[:2], flat[2:])
        return pair([full[i] - before[i] - after[i] for i in (0, 1)]), pair(before)
    target = pair(wanted)
    cut = [max(full[i] - target[i], 0) for i in (0, 1)]
    first = [n // 2 if kind == "SAME_UPPER" else n - n // 2 for n in cut]
    return target, pair(first)
