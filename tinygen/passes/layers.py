# SPDX-License-Identifier: Apache-2.0
"""Convolutions and dense layers as sums over taps: what each weight multiplies, and which taps lie inside the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.ops.base import Call
from tinygen.ops.convolution import ConvAttrs
from tinygen.passes.channels import channels_of

#: Positions of a window, times its taps along that axis, that are looked at one by one.
MAX_PLACES = 1 << 20


@dataclass(frozen=True)
class Layer:
    """A CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED with constant weights.

    `weights` are less their zero point, int64 (float64 in a float model) [filters, taps, depth]; `reads` is the input
    channel that each of them multiplies, int64 [filters, depth] (a dense layer has one tap, and reads a channel once
    for each pixel). `rows` tells for each kind of output row (at the top, inside, …) which rows of taps lie inside the
    image, bool [kinds, kernel height], `columns` the same across; all other taps multiply padding, which is 0. Where
    `complete` is False, there may be more kinds.
    """

    weights: Array
    reads: Array
    rows: Array
    columns: Array
    complete: bool = True

    @property
    def always(self) -> Array:
        """The taps that lie inside the image at every position, bool [taps]."""
        return np.asarray(np.outer(self.rows.all(axis=0), self.columns.all(axis=0)).ravel())

    @property
    def sometimes(self) -> Array:
        """The taps that lie inside the image at some positions, and outside at others, bool [taps]."""
        return np.outer(self.rows.any(axis=0), self.columns.any(axis=0)).ravel() & ~self.always

    @property
    def kinds(self) -> int:
        """How many kinds of position there are."""
        return len(self.rows) * len(self.columns)

    def sums(self, taps: Array) -> Array:
        """`taps` [taps, filters] added up for each kind of position, [kinds, filters]."""
        window = taps.reshape(self.rows.shape[1], self.columns.shape[1], -1)
        across = np.einsum("xl,klf->xkf", self.columns.astype(taps.dtype), window)
        both = np.einsum("yk,xkf->yxf", self.rows.astype(taps.dtype), across)
        return np.asarray(both.reshape(-1, taps.shape[1]))


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
    rows, columns = (_inside(call, axis, kernel) for axis, kernel in ((0, height), (1, width)))
    taps = _wide(weights).reshape(filters, height * width, depth)
    return Layer(taps, reads, rows[0], columns[0], rows[1] and columns[1])


def _dense(call: Call[Any]) -> Layer | None:
    (units, depth), channels = call.input(1).shape, channels_of(call.input(0))
    if depth % channels:
        return None
    quant = call.input(1).quant
    weights = _wide(call.constant(1)) - (quant.zero_points[0] if quant else 0)
    reads = np.broadcast_to(np.arange(depth) % channels, (units, depth))
    always = np.ones((1, 1), np.bool_)
    return Layer(weights[:, None, :], reads, always, always)


def _wide(weights: Array) -> Array:
    return weights.astype(np.float64 if weights.dtype.kind == "f" else np.int64)


def _inside(call: Call[ConvAttrs], axis: int, kernel: int) -> tuple[Array, bool]:
    """`Layer.rows` (axis 0) or `columns` (1), and whether they are complete; if not, any tap may lie outside."""
    size, count, attrs = call.input(0).shape[1 + axis], call.output.shape[1 + axis], call.attrs
    if count * kernel > MAX_PLACES:
        return np.repeat([[False], [True]], kernel, axis=1), False
    before = np.arange(count)[:, None] * attrs.stride[axis] - attrs.padding[2 * axis]
    places = before + np.arange(kernel) * attrs.dilation[axis]
    return np.unique((places >= 0) & (places < size), axis=0), True
