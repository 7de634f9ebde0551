# SPDX-License-Identifier: Apache-2.0
"""Parameters that the kernels of convolution-like operators share (``templates/kernels/common/channels.j2``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels.base import int8, int32, int64
from tinygen.ops.base import Call
from tinygen.ops.convolution import bias_of, input_of, limits_of, multipliers_of, rounds_once
from tinygen.ops.wide import reduced


def output_params(call: Call[Any], bias: Array) -> dict[str, int | float | Array]:
    """The fields of the macro `fields`: `bias` (one for each output channel), requantization, clamp."""
    multipliers, shifts = requantization(call)
    low, high = limits_of(call)
    return {
        "output_offset": call.output.q.zero_point,
        "low": low,
        "high": high,
        "channel_step": int(len(multipliers) > 1),
        "bias": int32(bias),
        "multipliers": int32(multipliers),
        "shifts": int8(shifts),
    }


def requantization(call: Call[Any]) -> tuple[Array, Array]:
    """Multipliers and shifts, one for each output channel; one of each where all channels have the same."""
    multipliers, shifts = multipliers_of(call)
    same = bool(np.all(multipliers == multipliers[0]) and np.all(shifts == shifts[0]))
    return (multipliers[:1], shifts[:1]) if same else (multipliers, shifts)


def wide_params(call: Call[Any], channels: int) -> dict[str, int | float | Array]:
    """The fields of the macro `wide_fields`: as `output_params`, with sums of 64 bits and one rounding or two."""
    multipliers, shifts = requantization(call)
    low, high = limits_of(call)
    once = rounds_once(call)
    return {
        "low": low,
        "high": high,
        "once": int(once),
        "channel_step": int(len(multipliers) > 1),
        "bias": int64(plain_bias(call, channels)),
        "multipliers": int32(reduced(multipliers) if once else multipliers),
        "shifts": int8(15 - shifts if once else shifts),
    }


def plain_bias(call: Call[Any], channels: int) -> Array:
    """The bias of each of `channels` output channels, zeros where there is none; int64."""
    return np.broadcast_to(bias_of(call), (channels,))


def folded_bias(call: Call[Any], weights: Array) -> Array:
    """bias - input zero point * (sum of a channel's weights), for `weights` [channels, ...] less their zero point."""
    sums = weights.reshape(len(weights), -1).sum(axis=1, dtype=np.int64)
    return np.asarray(plain_bias(call, len(weights)) - input_of(call).q.zero_point * sums)
