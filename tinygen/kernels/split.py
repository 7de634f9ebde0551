# SPDX-License-Identifier: Apache-2.0
"""Requantization by two products of 32 bits, exact for every sum that a layer can have (``common/split.c.j2``).

Outputs rise with the sum, one step at each threshold. A line with a multiplier in two halves, and an offset, takes the
same steps: for each channel they are chosen such that it lies above each threshold, and below it one sum earlier. That
is checked at every threshold that can be reached, so nothing has to be rounded as TFLite does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.ops.base import Call
from tinygen.ops.convolution import limits_of, multipliers_of

#: How many multipliers on each side of the nearest one are tried.
NEAR = 16
_FAR = 2**62


def split_params(
    call: Call[Any], lowest: Array, highest: Array, added: Array, both: bool = False
) -> dict[str, int | Array] | None:
    """The fields of `split_t` for a member called ``split``, or None where no line takes a channel's steps.

    `lowest`, `highest` int64 [channels]: between which a channel's sums lie, bias included; `added` int64 [channels]:
    what the kernel's sums lack of these. `both`: whether the kernel can do with outputs on both sides of zero.
    """
    multipliers, shifts = (np.broadcast_to(v, lowest.shape).astype(np.int64) for v in multipliers_of(call))
    if np.any((shifts > 0) & (multipliers > 0)):
        return None
    low, high = limits_of(call)
    zero = call.output.q.zero_point
    outputs = np.arange(low + 1, high + 1) - zero
    steps = thresholds(multipliers, -shifts, outputs)
    below, inside = steps <= lowest[:, None], (steps > lowest[:, None]) & (steps <= highest[:, None])
    lower = inside & (outputs <= 0) & (shifts < 0)[:, None]
    bent = lower.any(axis=1) & (inside & (outputs > 0)).any(axis=1)
    if bent.any() and not both:
        return None
    base = np.where(multipliers > 0, low + below.sum(axis=1), np.clip(zero, low, high))
    first = np.where(inside, steps, _FAR).min(axis=1, initial=_FAR) - 1
    first = np.where(inside.any(axis=1), first, lowest)
    most = np.where(inside, steps - first[:, None], 0).max(axis=1, initial=0)
    if max(np.abs(added - first).max(), np.abs(lowest - first).max(), np.abs(highest - first).max()) >= 2**31:
        return None
    widths = np.where(inside.any(axis=1), 2.0 ** (31 - shifts) / np.maximum(multipliers, 1), np.inf)
    right = int(min(24, 16 + np.floor(np.log2(min(widths.min(), 256.0)))))
    fine = min(16, 32 - int(most.max()).bit_length())
    if right < 0 or fine < 0 or np.any(right + shifts[bent] < 0):
        return None
    drops = np.where(bent, 1 << np.maximum(right + shifts, 0), 0)
    levels = np.where(inside, inside.cumsum(axis=1) << right, 0) + np.where(lower, drops[:, None], 0)
    slopes = 2.0 ** (right + fine) / widths
    found = _lines(steps - first[:, None], inside, most, slopes, levels << fine, drops << fine, fine, right)
    if found is None:
        return None
    factors, offsets = found
    offsets += (base & 255) << right
    fields: tuple[Array, ...] = (added - first, most, offsets, (factors >> fine) << 16 | factors & (1 << fine) - 1)
    if bent.any():
        zeros = -(2**30 // np.maximum(multipliers, 1)) - first
        fields = (*fields, np.where(bent, np.maximum(zeros, 0), 0), drops)
    return {"split.fine": fine, "split.right": right, "split.words": len(fields), "split.channels": _words(fields)}


def thresholds(multipliers: Array, right: Array, outputs: Array) -> Array:
    """The least sums int64 [channels, outputs] that are requantized to `outputs` (less the zero point), or more.

    Multipliers of 31 bits, right shifts of 0 or more: halves up, then halves away from zero, as TFLite rounds. Far away
    where no sum of 32 bits is.
    """
    half = (1 << right) >> 1
    high = (outputs << right[:, None]) - half[:, None] + ((outputs <= 0) & (right > 0)[:, None])
    numerators = np.clip(high, -(2**31), 2**31) * 2**31 - 2**30
    return np.asarray(-(-numerators // np.maximum(multipliers, 1)[:, None]))


def _lines(
    at: Array, inside: Array, most: Array, slopes: Array, levels: Array, drops: Array, fine: int, right: int
) -> tuple[Array, Array] | None:
    """For each channel a factor and an offset, int64: a line that reaches `levels` at `at`, where `inside`.

    The line is (x * factor >> fine) + offset, of levels without their lower `fine` bits; it may be lower by `drops`.
    """
    last = ((inside.sum(axis=1) + 1) << (right + fine)) - 1
    factors, offsets, done = (np.zeros(len(at), np.int64) for _ in range(3))
    for near in sorted(range(-NEAR, NEAR + 1), key=abs):
        if np.all(done):
            break
        trial = np.maximum(np.round(slopes).astype(np.int64) + near, 0)
        rises = levels - np.where(inside, at, 0) * trial[:, None]
        least = np.maximum(np.where(inside, rises, 0).max(axis=1, initial=0), drops)
        greatest = np.where(inside, rises + trial[:, None] - 1, _FAR).min(axis=1, initial=_FAR)
        offset = np.minimum(greatest, last - most * trial) >> fine
        fits = (offset << fine >= least) & (trial >> fine < 2**16) & (done == 0)
        factors, offsets, done = np.where(fits, trial, factors), np.where(fits, offset, offsets), done + fits
    return (factors, offsets) if np.all(done) else None


def _words(fields: tuple[Array, ...]) -> Array:
    """Fields int64 [channels] as words of 32 bits, those of a channel side by side: uint32 [channels * fields]."""
    return np.stack([np.asarray(field) % 2**32 for field in fields], axis=1).astype(np.uint32).ravel()
