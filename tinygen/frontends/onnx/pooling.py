# SPDX-License-Identifier: Apache-2.0
"""MaxPool, AveragePool and their global forms."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.frontends.onnx.build import Builder
from tinygen.frontends.onnx.node import OnnxNode
from tinygen.frontends.onnx.registry import handles
from tinygen.frontends.onnx.spatial import Window, from_nhwc, image_rank, pair, to_nhwc, window_of
from tinygen.ops.pooling import PoolAttrs
from tinygen.ops.reduction import ReducerAttrs


@handles("MaxPool")
def max_pool(b: Builder, node: OnnxNode) -> str:
    node.single_output()
    return _pool(b, node, "MAX_POOL_2D")


@handles("AveragePool")
def average_pool(b: Builder, node: OnnxNode) -> str:
    return _pool(b, node, "AVERAGE_POOL_2D")


def _pool(b: Builder, node: OnnxNode, op: str) -> str:
    rank = image_rank(b, node)
    kernel: list[Any] = node.attr("kernel_shape", [])
    if len(kernel) != rank - 2:
        raise ValueError(f"kernel_shape {kernel} does not fit an input of {rank} dimensions")
    image = to_nhwc(b, node.input(0))
    window = window_of(b, node, pair(b.shape(image)[1:3]), kernel)
    node.need(window.dilation == (1, 1), "dilations other than 1 are not supported: use strides or a larger kernel")
    counts = window.outputs(pair(b.shape(image)[1:3]), bool(node.attr("ceil_mode", 0)))
    node.need(min(counts) >= 1, "the padded input is smaller than the kernel: use a smaller kernel or more padding")
    if node.attr("count_include_pad", 0) and any(window.sides):
        image, window = _padded(b, image, window)
    padding = window.after(pair(b.shape(image)[1:3]), counts)
    sides = (*padding[0], *padding[1])
    small = max(padding[0]) < window.kernel[0] and max(padding[1]) < window.kernel[1]
    node.need(small, "the padding must be smaller than the kernel: use Pad before it")
    return from_nhwc(b, b.emit(op, [image], PoolAttrs(window.kernel, window.stride, sides)), rank)


def _padded(b: Builder, image: str, window: Window) -> tuple[str, Window]:
    """The image with zeros around it, which count, and a window that needs no padding of its own."""
    sides = b.integers(np.array([(0, 0), *window.padding, (0, 0)]))
    return b.emit("PAD", [image, sides]), Window(window.kernel, window.stride, window.dilation, ((0, 0), (0, 0)))


@handles("GlobalAveragePool", "GlobalMaxPool")
def global_pool(b: Builder, node: OnnxNode) -> str:
    """A reduction over all dimensions but the first two."""
    axes = b.integers(range(2, b.rank(node.input(0))))
    op = "MEAN" if node.op == "GlobalAveragePool" else "REDUCE_MAX"
    return b.emit(op, [node.input(0), axes], ReducerAttrs(keep_dims=True))
