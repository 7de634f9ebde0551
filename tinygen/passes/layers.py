"""Convolutions and dense layers as sums over taps: what each weight multiplies, and which taps lie inside the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.ops.base import Call
from tinygen.ops.convolution import ConvAttrs
from tinygen.passes.channels import channels_of


@dataclass(frozen=True)
class Layer:
    """A CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED with constant weights.

    `weights` are less their zero point, int64 (float64 in a float model) [filters, taps, depth]; `reads` is the input
    channel that each of them multiplies, int64 [filters, depth] (a dense layer has one tap, and reads a channel once
    for each pixel). `seen` tells for each kind of output position (inside, at an edge, in a corner) which taps lie
    inside the image, bool [kinds, taps]; the others multiply padding, which is 0.
    """

    weights: Array
    reads: Array
    seen: Array

    @property
    def always(self) -> Array:
        """The taps that lie inside the image at every position, bool [taps]."""
        return np.asarray(self.seen.all(axis=0))

    @property
    def sometimes(self) -> Array:
        """The taps that lie inside the image at some positions, and outside at others, bool [taps]."""
        return np.asarray(self.seen.any(axis=0)) & ~self.always


def layer_of(call: Call[Any]) -> Layer | None:
    """The node as a `Layer`; None if it is of another kind, or its weights are not constant."""
    if call.op == "FULLY_CONNECTED" and call.constants[1] is not None:
        return _dense(call)
    if call.op not in ("CONV_2D", "DEPTHWISE_CONV_2D") or call.constants[1] is None:
        return None
    depthwise = call.op == "DEPTHWISE_CONV_2D"
    weights = call.constant(1).transpose(3, 1, 2, 0) if depthwise else call.constant(1)
    filters, height, width, depth = weights.shape
    groups = channels_of(call.input(0)) // depth
    reads = np.arange(filters)[:, None] // (filters // groups) * depth + np.arange(depth)
    return Layer(_wide(weights).reshape(filters, height * width, depth), reads, _seen(call, height, width))


def _dense(call: Call[Any]) -> Layer | None:
    (units, depth), channels = call.input(1).shape, channels_of(call.input(0))
    if depth % channels:
        return None
    quant = call.input(1).quant
    weights = _wide(call.constant(1)) - (quant.zero_points[0] if quant else 0)
    reads = np.broadcast_to(np.arange(depth) % channels, (units, depth))
    return Layer(weights[:, None, :], reads, np.ones((1, 1), np.bool_))


def _wide(weights: Array) -> Array:
    return weights.astype(np.float64 if weights.dtype.kind == "f" else np.int64)


def _seen(call: Call[ConvAttrs], kernel_h: int, kernel_w: int) -> Array:
    """`Layer.seen`: every combination of a kind of row with a kind of column occurs."""
    (_, height, width, _), (_, out_h, out_w, _), attrs = call.input(0).shape, call.output.shape, call.attrs
    rows = _inside(height, out_h, kernel_h, attrs.stride[0], attrs.dilation[0], attrs.padding[0])
    columns = _inside(width, out_w, kernel_w, attrs.stride[1], attrs.dilation[1], attrs.padding[2])
    both = rows[:, None, :, None] & columns[None, :, None, :]
    return both.reshape(-1, kernel_h * kernel_w)


def _inside(size: int, count: int, kernel: int, stride: int, dilation: int, before: int) -> Array:
    """Along one axis of `size` pixels, which taps of the window lie inside, for each kind of its `count` positions."""
    places = np.arange(count)[:, None] * stride - before + np.arange(kernel) * dilation
    return np.unique((places >= 0) & (places < size), axis=0)
