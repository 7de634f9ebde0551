"""CONV_2D: 2-D convolution (reference/integer_ops/conv.h).

Input NHWC int8, weights OHWI int8 (symmetric), bias int32 or absent, output NHWC int8. Groups are implied where the
weights' input channels divide the input's.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Op, Signature, given
from tinygen.ops.convolution import (
    ConvAttrs,
    activated,
    bias_of,
    bound,
    centred,
    constant_weights,
    four_dimensions,
    int8_weights,
    int32_bias,
    real_taps,
    requantize,
    rule_of,
    scales_by_channel,
    sums_fit,
    symmetric_weights,
    window_fits,
    window_shape,
    windows,
)

#: Elements of the windows that the reference copies at a time (32 MiB).
PIECE = 1 << 22


def whole_groups(call: Call[Any]) -> bool:
    """The weights' input channels must divide the input's channels, and the groups the output channels."""
    (*_, channels), (filters, *_, depth) = call.input(0).shape, call.input(1).shape
    return channels % depth == 0 and filters % (channels // depth) == 0


def infer(call: Call[ConvAttrs]) -> Sequence[Signature]:
    return (((call.input(0).shape[0], *window_shape(call), call.input(1).shape[0]), call.input(0).dtype),)


def real(call: Call[ConvAttrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    values, weights = given(inputs[0]), given(inputs[1])
    filters, _, _, depth = weights.shape
    groups = values.shape[-1] // depth
    sums = np.zeros((*call.output.shape[:3], groups, filters // groups))
    for (ky, kx), tap in real_taps(call, values).items():
        matrices = weights[:, ky, kx].reshape(groups, filters // groups, depth)
        sums += np.einsum("nyxgd,gfd->nyxgf", tap.reshape(*tap.shape[:3], groups, depth), matrices, optimize=True)
    return activated(call, inputs, sums.reshape(call.output.shape))


def reference(call: Call[ConvAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    """Pieces of output rows, as matrix products in float64, which are exact below 2^53."""
    values, weights = given(inputs[0]), given(inputs[1])
    (batch, out_h, out_w, filters), depth = call.output.shape, weights.shape[-1]
    padded = centred(call, values).astype(np.float64)
    groups = values.shape[-1] // depth
    matrices = weights.astype(np.float64).reshape(groups, filters // groups, -1)
    sums = np.empty((batch, out_h, out_w, groups, filters // groups))
    piece = max(1, PIECE // (batch * matrices.shape[2]))
    for row, x, g in product(range(out_h), range(0, out_w, piece), range(groups)):
        view = windows(call, padded, row)[:, x : x + piece, ..., g * depth : (g + 1) * depth]
        block = view.reshape(-1, matrices.shape[2]) @ matrices[g].T
        sums[:, row, x : x + piece, g] = block.reshape(batch, -1, block.shape[1])
    return (requantize(call, sums.astype(np.int64).reshape(call.output.shape) + bias_of(call)),)


def macs(call: Call[ConvAttrs]) -> int:
    return call.output.elements * (call.input(1).elements // call.input(1).shape[0])


OP = Op(
    name="CONV_2D",
    attrs=ConvAttrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(
        four_dimensions,
        int8_weights,
        constant_weights,
        scales_by_channel,
        symmetric_weights,
        int32_bias,
        whole_groups,
        window_fits,
        sums_fit,
    ),
    quantize=rule_of("CONV_2D"),
    macs=macs,
    bound=bound,
)
