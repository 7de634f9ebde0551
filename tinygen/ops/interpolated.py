# SPDX-License-Identifier: Apache-2.0
"""TFLite's functions of an int16 value: tables of which two neighbours are interpolated."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinygen.ir.types import Array
from tinygen.ops.numerics import round_half_away

#: Intervals of a table of the whole int16 range.
STEPS = 512


def table_of_function(scale: float, zero_point: int, output_scale: float, function: Callable[[Array], Array]) -> Array:
    """`function` at 513 points from -32768 to 32767, int64: LUTPopulate for int16 of common.h, in float32.

    Each entry gives half of the interpolation's error in the middle of its interval back, so that both ends share it.
    """
    one = np.float32
    low, high = (one(scale) * one(limit - zero_point) for limit in (-32768, 32767))
    step = (high - low) / one(STEPS)
    inverse = one(65536) / (one(output_scale) * one(32767) - one(output_scale) * one(-32768))
    points = low + np.arange(STEPS, dtype=np.float32) * step
    nexts = low + np.arange(1, STEPS + 1, dtype=np.float32) * step
    here = round_half_away(_float32(function, points) * inverse)
    middle = round_half_away(_float32(function, points + step / one(2)) * inverse)
    between = round_half_away((_float32(function, nexts) * inverse + here) / one(2))
    entries = here - round_half_away((between - middle) / one(2))
    last = round_half_away(_float32(function, np.asarray([high])) * inverse)
    return np.asarray(np.clip(np.concatenate([entries, last]), -32768, 32767), np.int64)


def _float32(function: Callable[[Array], Array], points: Array) -> Array:
    """`function` in float64, rounded to float32."""
    return np.asarray(function(points.astype(np.float64)), np.float32)


def look_up_between(table: Array, values: Array) -> Array:
    """The table's entry for the upper 9 bits of int16 `values` and, for the lower 7, a part of the step to the next."""
    wide = np.asarray(values, np.int64)
    index = 256 + (wide >> 7)
    slope = table[index + 1] - table[index]
    return np.asarray(table[index] + ((slope * (wide & 127) + 64) >> 7))


def sigmoid_table() -> Array:
    """65536 / (1 + exp(-i / 24)) for i in 0..255, int64: sigmoid_table_uint16 of common.h.

    As in the other tables, half of the interpolation's error in the middle of the next interval is added.
    """
    points = np.arange(256) / 24
    exact, middle, after = (1 / (1 + np.exp(-points - shift / 24)) for shift in (0, 0.5, 1))
    table = np.rint(65536 * (exact + (middle - (exact + after) / 2) / 2)).astype(np.int64)
    table[255] = 65535
    return np.asarray(table)


def sigmoid_input(scale: float, shifts: tuple[int, ...]) -> tuple[int, int]:
    """(multiplier, right shift) from steps of `scale` to steps of 1 / 12288: TanhPrepare and LogisticPrepare.

    Scales near 2^-12 times 2^n, n among `shifts`, count as just that; other multipliers are cut to 15 bits.
    """
    logarithm = math.log2(scale)
    if round(logarithm) + 12 in shifts and abs(logarithm - round(logarithm)) < 1e-3:
        return 3 << (round(logarithm) + 12), 0
    multiplier, right = scale * 4096.0 * 3.0, 0
    while multiplier <= 32767.0 / 2.0 and right <= 30:
        multiplier, right = multiplier * 2.0, right + 1
    return int(multiplier), right


def input_error(scale: float, shifts: tuple[int, ...]) -> float:
    """How far the rule of `sigmoid_input` is off its scale, as a share of it."""
    multiplier, right = sigmoid_input(scale, shifts)
    return abs(multiplier / 2.0**right / (scale * 12288) - 1)


def sigmoid_of(values: Array, rule: tuple[int, int], bits: int, largest: int) -> tuple[Array, Array]:
    """The sigmoid of the magnitude of int16 `values`, with `bits` more than 16 bits, and where they are negative.

    `rule` (of `sigmoid_input`) brings them to steps of 1 / (24 * 2^bits); beyond the table the sigmoid is `largest`.
    """
    (multiplier, right), table = rule, sigmoid_table()
    scaled = (values.astype(np.int64) * multiplier + ((1 << right) >> 1)) >> right
    magnitude = np.abs(scaled)
    index = np.minimum(magnitude >> bits, 254)
    part = magnitude & ((1 << bits) - 1)
    between = (table[index] << bits) + part * (table[index + 1] - table[index])
    return np.where(magnitude >> bits >= 255, largest, between), scaled < 0
