# SPDX-License-Identifier: Apache-2.0
"""Convolutions and matrix products for Armv6-M (Cortex-M0, M0+), whose products have 32 bits and take a cycle.

Two activations packed 16 bits apart make two products in one multiplication. Two taps of them are added before the low
sum is taken out of the word, so that eight products take 21 instructions. In a matrix product it is the weights of two
units that share a multiplication, four taps at a time: 16 products take 41 instructions. The few large weights whose
products would not fit stand in a list; where they are many, eight units share the load of an activation instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels.base import Kernel, Launch, int8, int16
from tinygen.kernels.channels import folded_bias, output_params, plain_bias
from tinygen.kernels.conv_2d import spatial_params
from tinygen.kernels.overlap import in_twos, rows_copied, rows_copied_but_rest
from tinygen.kernels.split import split_params
from tinygen.ops.base import Call
from tinygen.ops.convolution import ConvAttrs, input_of, weights_of

#: The most that the magnitudes of four weights may sum up to: with int8 activations, their products then fit int16.
MOST_OF_FOUR = 255
#: Activations that are unpacked at a time.
FOUR_BAND = 128
#: How many times the instructions that kernels in plain C say they take, on a Cortex-M4, they take on Armv6-M, roughly.
PLAIN_C = 2.0
#: What `split_t` stands for.
OUTPUT_FIELDS = frozenset({"low", "high", "output_offset", "channel_step", "bias", "multipliers", "shifts"})


def accepts(call: Call[Any]) -> bool:
    weights = call.constant(1)
    return weights.shape[3] == call.input(0).shape[3] and not overflows(weights.reshape(len(weights), -1))


def overflows(weights: Array) -> bool:
    """Whether two weights of a filter [filters, size] whose products are added in int16 both are -128."""
    lowest = weights == -128
    return bool(np.any(lowest[:, : lowest.shape[1] // 2 * 2 : 2] & lowest[:, 1::2]))


def requantization(call: Call[ConvAttrs]) -> dict[str, int | Array] | None:
    """The fields of `split_t`; None where outputs are no line (`tinygen.kernels.split`)."""
    weights, zero = call.constant(1).astype(np.int64).reshape(call.input(1).shape[0], -1), input_of(call).q.zero_point
    positive, negative = np.maximum(weights, 0).sum(axis=1), np.minimum(weights, 0).sum(axis=1)
    bias = plain_bias(call, len(weights))
    least = bias + positive * (-128 - zero) + negative * (127 - zero)
    most = bias + positive * (127 - zero) + negative * (-128 - zero)
    return split_params(call, least, most, folded_bias(call, weights), both=True)


def line_accepts(call: Call[Any]) -> bool:
    return accepts(call) and requantization(call) is not None


def line_launch(call: Call[ConvAttrs]) -> Sequence[Launch]:
    """With requantization by two products of 32 bits."""
    (one,), line = launch(call), requantization(call)
    assert line is not None, "only what is accepted is launched"
    return (replace(one, params={k: v for k, v in one.params.items() if k not in OUTPUT_FIELDS} | line),)


def launch(call: Call[ConvAttrs]) -> Sequence[Launch]:
    filters, kernel_h, kernel_w, depth = call.input(1).shape
    _, out_h, out_w, _ = call.output.shape
    size = kernel_h * kernel_w * depth
    fours, weights = -(-size // 4) * 4, call.constant(1).reshape(filters, -1)
    spatial = spatial_params(call, kernel_h, kernel_w)
    del spatial["out_h"]
    params: dict[str, int | float | Array] = {
        **spatial,
        "depth": depth,
        "filters": filters,
        "kernel_w": kernel_w,
        "zero_point": input_of(call).q.zero_point,
        "pixels": out_h * out_w,
        "size": size,
        "fours": fours,
        "weights": np.pad(int8(weights), (0, fours - size)),
        **output_params(call, folded_bias(call, weights.astype(np.int64))),
    }
    return (Launch((0,), (0,), params, scratch=4 * fours + depth),)


def dense_accepts(call: Call[Any]) -> bool:
    if call.constants[1] is None or any(weights_of(call).q.zero_points):
        return False
    units, depth = call.input(1).shape
    return units >= 4 and depth <= 4096 and bool(np.all(np.abs(dense_bias(call)) < 2**30))


def dense_bias(call: Call[Any]) -> Array:
    """The bias for activations of which each is 128 more."""
    weights = call.constant(1).astype(np.int64)
    return np.asarray(folded_bias(call, weights) - 128 * weights.sum(axis=1))


def dense_launch(call: Call[Any]) -> Sequence[Launch]:
    weights = call.constant(1).astype(np.int64)
    units, depth = weights.shape
    eights = np.pad(weights + 128, ((0, -units % 8), (0, -depth % 4)))
    params: dict[str, int | float | Array] = {
        "rows": call.input(0).elements // depth,
        "depth": depth,
        "fours": eights.shape[1],
        "units": units,
        "weights": eights.reshape(-1, 8, eights.shape[1]).transpose(0, 2, 1).astype(np.uint8).ravel(),
        **output_params(call, dense_bias(call)),
    }
    return (Launch((0,), (0,), params, scratch=eights.shape[1]),)


def four_accepts(call: Call[Any]) -> bool:
    if call.constants[1] is None or any(weights_of(call).q.zero_points):
        return False
    units, depth = call.input(1).shape
    if units < 4 or units >= 2**15 - 4 or depth > 4096:
        return False
    return int((held(call.constant(1)) != call.constant(1)).sum()) <= units * depth // 128


def held(weights: Array) -> Array:
    """`weights` [units, depth] nearer to 0, so that no four neighbours sum up to more than `MOST_OF_FOUR`; int64."""
    units, depth = weights.shape
    fours = np.pad(weights.astype(np.int64), ((0, 0), (0, -depth % 4))).reshape(-1, 4)
    for _ in range(3):
        excess = np.maximum(np.abs(fours).sum(axis=1) - MOST_OF_FOUR, 0)
        rows, largest = np.arange(len(fours)), np.abs(fours).argmax(axis=1)
        most = fours[rows, largest]
        fours[rows, largest] = np.sign(most) * (np.abs(most) - np.minimum(np.abs(most), excess))
    return fours.reshape(units, -1)[:, :depth]


def four_launch(call: Call[Any]) -> Sequence[Launch]:
    weights = call.constant(1).astype(np.int64)
    units, depth = weights.shape
    main = held(weights)
    rest_units, rest_inputs = np.nonzero(main != weights)
    padded = np.pad(main, ((0, -units % 4), (0, -depth % 8))) + 128
    fours, eights = padded.shape
    band = min(FOUR_BAND, eights)
    params: dict[str, int | float | Array] = {
        "rows": call.input(0).elements // depth,
        "depth": depth,
        "eights": eights,
        "band": band,
        "units": units,
        "fours": fours,
        "weights": padded.reshape(-1, 4, eights).transpose(0, 2, 1).astype(np.uint8).copy().view("<i4").ravel(),
        "rest_units": int16(np.append(rest_units, units + 4)),
        "rest_inputs": int16(np.append(rest_inputs, 0)),
        "rest_weights": int8(np.append((weights - main)[rest_units, rest_inputs], 0)),
        **output_params(call, folded_bias(call, weights)),
    }
    return (Launch((0,), (0,), params, scratch=5 * band + 4 * fours * (band < eights)),)


def convolution(
    launch: Callable[[Call[Any]], Sequence[Launch]], accepts: Callable[[Call[Any]], bool], speed: float
) -> Kernel:
    return Kernel(
        op=("CONV_2D",),
        template="conv_2d/v6m",
        launch=launch,
        accepts=accepts,
        uses=("common/requantize", "common/split", "common/v6m"),
        requires=frozenset({"v6m"}),
        overlap=in_twos,
        speed=speed,
    )


#: The convolution for any layer, with fewest constants.
CONVOLUTION = convolution(launch, accepts, 3.6 / PLAIN_C)
KERNELS = (
    Kernel(
        op=("FULLY_CONNECTED",),
        template="fully_connected/v6m_four",
        launch=four_launch,
        accepts=four_accepts,
        uses=("common/requantize", "common/v6m_four"),
        requires=frozenset({"v6m"}),
        overlap=rows_copied_but_rest,
        speed=2.6 / PLAIN_C,
    ),
    Kernel(
        op=("FULLY_CONNECTED",),
        template="fully_connected/v6m",
        launch=dense_launch,
        accepts=dense_accepts,
        uses=("common/requantize", "common/v6m_eight"),
        requires=frozenset({"v6m"}),
        overlap=rows_copied,
        speed=3.5 / PLAIN_C,
    ),
    convolution(line_launch, line_accepts, 3.3 / PLAIN_C),
    CONVOLUTION,
)
