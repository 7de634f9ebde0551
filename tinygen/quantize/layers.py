# SPDX-License-Identifier: Apache-2.0
"""Layers with weights seen as matrices: what they multiply, and their weights in the same order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, Real
from tinygen.ops import Call
from tinygen.ops.convolution import OPERANDS, weights_of

#: Layers whose weights can be fitted.
LAYERS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})
#: Layers with more inputs to an output than this are rounded to nearest, and only their bias corrected.
MAX_DEPTH = 2048
#: Output pixels that a layer is fitted on, and numbers they may consist of (32 MiB of float64).
PIXELS, NUMBERS = 1 << 13, 1 << 22


@dataclass(frozen=True)
class Moments:
    """What a layer multiplies, by group: means in the int8 network and in float, the covariance in the former.

    `mean`, `mean_in_float`: [groups, depth]; `covariance`: [groups, depth, depth], None where depth is large.
    """

    mean: Real
    mean_in_float: Real
    covariance: Real | None


def is_layer(graph: Graph, node: Node) -> bool:
    """Whether the weights of `node` can be fitted."""
    return node.op in LAYERS and node.inputs[OPERANDS[node.op].weights] in graph.constants


def rows(call: Call[Any], values: Real, most: int | None = None) -> Real:
    """What the weights of each group multiply, for each output pixel: [pixels, groups, depth].

    `values` are the layer's inputs, of one sample or of more side by side in the first dimension. `most`: that many
    pixels, or fewer of large ones; the choice is the same for the same shapes.
    """
    if call.op == "FULLY_CONNECTED":
        found = values.reshape(-1, 1, call.input(1).shape[1])
        return found[_chosen(len(found), found.shape[2], most)]
    top, bottom, left, right = call.attrs.padding
    _, height, width, _ = weights_of(call).shape
    dilation, stride = call.attrs.dilation, call.attrs.stride
    span = [(size - 1) * d + 1 for size, d in zip((height, width), dilation, strict=True)]
    padded = np.pad(values, ((0, 0), (top, bottom), (left, right), (0, 0)))
    view = np.lib.stride_tricks.sliding_window_view(padded, span, axis=(1, 2))
    view = view[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]
    count, channels = view.shape[0] * view.shape[1] * view.shape[2], view.shape[3]
    chosen = np.unravel_index(_chosen(count, channels * height * width, most), view.shape[:3])
    depth = 1 if call.op == "DEPTHWISE_CONV_2D" else call.input(1).shape[3]
    taps = view[chosen].reshape(-1, channels // depth, depth, height * width)
    return taps.transpose(0, 1, 3, 2).reshape(len(taps), channels // depth, -1)


def _chosen(count: int, size: int, most: int | None) -> Array:
    """Indices of at most `most` out of `count` pixels of `size` numbers each."""
    most = count if most is None else max(min(most, NUMBERS // size), 1)
    return np.arange(count) if count <= most else np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def moments(quantized: Real, exact: Real, deepest: int) -> Moments:
    """Means and covariances of `rows` in the int8 network and in float; only means if depth is above `deepest`."""
    mean, mean_in_float, count = quantized.mean(axis=0), exact.mean(axis=0), len(quantized)
    if quantized.shape[-1] > deepest:
        return Moments(mean, mean_in_float, None)
    centred = np.ascontiguousarray((quantized - mean).transpose(1, 0, 2))
    covariance = centred.transpose(0, 2, 1) @ centred / count
    return Moments(mean, mean_in_float, covariance)


def columns(op: str, weights: Array, groups: int) -> Array:
    """`weights` as [groups, filters of the group, depth], in the order of `rows`."""
    if op == "DEPTHWISE_CONV_2D":
        return weights.reshape(-1, groups, weights.shape[3] // groups).transpose(1, 2, 0)
    return weights.reshape(groups, weights.shape[0] // groups, -1)


def uncolumned(op: str, values: Array, shape: tuple[int, ...]) -> Array:
    """The weights of `shape` of which `values` are the `columns`."""
    return (values.transpose(2, 0, 1) if op == "DEPTHWISE_CONV_2D" else values).reshape(shape)
