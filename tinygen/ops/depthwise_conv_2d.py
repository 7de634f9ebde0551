# SPDX-License-Identifier: Apache-2.0
"""DEPTHWISE_CONV_2D: each input channel convolved with its own filters (reference/integer_ops/depthwise_conv.h).

Input NHWC int8, weights [1, kernel_h, kernel_w, channels * multiplier] int8 (symmetric), bias int32 or absent, output
NHWC int8; output channel c * multiplier + m comes from input channel c. The multiplier is what the shapes say; the
file's redundant option is not read.
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
    constant_weights,
    four_dimensions,
    int8_weights,
    int32_bias,
    real_taps,
    rule_of,
    scales_by_channel,
    sums_fit,
    symmetric_weights,
    window_fits,
    window_shape,
)
from tinygen.ops.rows import conv_windows
from tinygen.ops.sums import centred, kind_of, requantize, windows


def whole_multiplier(call: Call[Any]) -> bool:
    """The weights must be [1, height, width, a multiple of the input's channels]."""
    return call.input(1).shape[0] == 1 and call.input(1).shape[3] % call.input(0).shape[3] == 0


def infer(call: Call[ConvAttrs]) -> Sequence[Signature]:
    return (((call.input(0).shape[0], *window_shape(call), call.input(1).shape[3]), call.input(0).dtype),)


def real(call: Call[ConvAttrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    values, weights = given(inputs[0]), given(inputs[1])
    multiplier = weights.shape[3] // values.shape[3]
    taps = real_taps(call, values).items()
    sums = sum((np.repeat(tap, multiplier, axis=3) * weights[0, ky, kx] for (ky, kx), tap in taps), np.float64(0))
    return activated(call, inputs, np.asarray(sums))


def reference(call: Call[ConvAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    """Tap after tap, in floats that hold all sums exactly."""
    values, weights = given(inputs[0]), given(inputs[1])
    kind, (_, kernel_h, kernel_w, _) = kind_of(call, weights), weights.shape
    filters = weights.astype(kind).reshape(kernel_h, kernel_w, values.shape[3], -1)
    taps = windows(call, centred(call, values, kind))[..., None]
    sums = np.zeros((*call.output.shape[:3], *filters.shape[2:]), kind)
    products = np.empty_like(sums)
    for y, x in product(range(kernel_h), range(kernel_w)):
        sums += np.multiply(taps[:, :, :, y, x], filters[y, x], out=products)
    sums = sums.reshape(call.output.shape)
    sums += bias_of(call).astype(kind)
    return (requantize(call, sums),)


def macs(call: Call[ConvAttrs]) -> int:
    _, kernel_h, kernel_w, _ = call.input(1).shape
    return call.output.elements * kernel_h * kernel_w


OP = Op(
    name="DEPTHWISE_CONV_2D",
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
        whole_multiplier,
        window_fits,
        sums_fit,
    ),
    quantize=rule_of("DEPTHWISE_CONV_2D"),
    macs=macs,
    bound=bound,
    rows=conv_windows,
)
