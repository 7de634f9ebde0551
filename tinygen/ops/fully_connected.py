# SPDX-License-Identifier: Apache-2.0
"""FULLY_CONNECTED: rows of the input times a matrix (reference/integer_ops/fully_connected.h).

Input int8 of any rank, taken as [rows, depth]; weights int8 [units, depth]; bias int32 [units] or absent; output int8
[rows, units] under any shape that ends in `units`. Weights per tensor may have a zero point, as old files do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Activation, Call, Op, Signature, given
from tinygen.ops.convolution import (
    activated,
    bias_of,
    bound,
    fits_int32,
    int8_weights,
    int32_bias,
    rule_of,
    scales_by_channel,
    symmetric_weights,
)
from tinygen.ops.convolution import sums_fit as constant_sums_fit
from tinygen.ops.sums import kind_of, requantize
from tinygen.ops.wide import is_wide


@dataclass(frozen=True)
class FullyConnectedAttrs(Attrs):
    """`keep_num_dims`: the output has the input's dimensions but the last; otherwise it is [rows, units].

    `weights_format`: 0 is the plain order, all others are shuffled for one machine's vector unit.
    """

    activation: Activation = Activation.NONE
    keep_num_dims: bool = False
    weights_format: int = 0


def plain_weights(call: Call[Any]) -> bool:
    """The weights must be a matrix [units, depth] in the plain order."""
    return len(call.input(1).shape) == 2 and call.attrs.weights_format == 0


def whole_rows(call: Call[Any]) -> bool:
    """The input's elements must be a multiple of the weights' depth."""
    return call.input(0).elements % call.input(1).shape[1] == 0


def zero_point_per_tensor(call: Call[Any]) -> bool:
    """Weights with one scale for each output channel, or with int16 activations, must be symmetric (zero point 0)."""
    return (call.input(1).q.axis is None and not is_wide(call)) or symmetric_weights(call)


def bias_with_constant_weights(call: Call[Any]) -> bool:
    """Weights that are computed at run time must have one scale, meet int8 activations, and have no bias added."""
    return call.constants[1] is not None or (call.input(1).q.axis is None and not call.has(2) and not is_wide(call))


def sums_fit(call: Call[Any]) -> bool:
    """The sum of products and bias, times the scale ratio where that is above 1, must fit 32 bits for every input (with
    int16 activations: 47 bits before, 32 bits after, and the ratio must be less than 64)."""
    if call.constants[1] is None:
        return fits_int32(call, call.input(1).shape[1] * 255 * 255)
    return constant_sums_fit(call)


def infer(call: Call[FullyConnectedAttrs]) -> Sequence[Signature]:
    units, depth = call.input(1).shape
    rows = call.input(0).elements // depth
    shape = (*call.input(0).shape[:-1], units) if call.attrs.keep_num_dims else (rows, units)
    declared = call.output.shape
    # files disagree about keep_num_dims; the order of the elements is the same in every shape
    same = declared[-1:] == (units,) and math.prod(declared) == rows * units
    return ((declared if same else shape, call.input(0).dtype),)


def real(call: Call[FullyConnectedAttrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    weights = given(inputs[1])
    sums = np.einsum("rd,ud->ru", given(inputs[0]).reshape(-1, weights.shape[1]), weights, optimize=True)
    return (activated(call, inputs, sums)[0].reshape(call.output.shape),)


def reference(call: Call[FullyConnectedAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    """A matrix product in floats that hold its sums exactly."""
    weights = given(inputs[1]).astype(np.int64) - call.input(1).q.zero_points[0]
    kind = kind_of(call, weights)
    rows = given(inputs[0]).reshape(-1, weights.shape[1]).astype(kind) - kind(call.input(0).q.zero_point)
    sums = rows @ weights.astype(kind).T
    sums += bias_of(call).astype(kind)
    return (requantize(call, sums).reshape(call.output.shape),)


def macs(call: Call[FullyConnectedAttrs]) -> int:
    return call.input(0).elements * call.input(1).shape[0]


OP = Op(
    name="FULLY_CONNECTED",
    attrs=FullyConnectedAttrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(
        int8_weights,
        plain_weights,
        whole_rows,
        scales_by_channel,
        zero_point_per_tensor,
        int32_bias,
        bias_with_constant_weights,
        sums_fit,
    ),
    quantize=rule_of("FULLY_CONNECTED"),
    macs=macs,
    bound=bound,
)
