# SPDX-License-Identifier: Apache-2.0
"""More samples out of those at hand: shifted and mirrored, as far as the original network gives the same answers.

Which of these a network was made for, its answers tell without labels: a keyword stays itself when it comes earlier,
but not when its spectrum moves; a digit stays itself one pixel further, but not in a mirror.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.ir.types import Array

#: Answers of so many samples are looked at; this share of them has to stay the same.
PROBED, SAME = 128, 0.85
#: How far samples are tried to be shifted.
SHIFTS = (1, 2, 4, 8)

Sample = Sequence[Array]


@dataclass(frozen=True)
class Moves:
    """How far the first input may be shifted along each axis, both ways, and along which it may be mirrored."""

    shifts: tuple[tuple[int, int], ...] = ()
    mirrors: tuple[int, ...] = ()

    def draw(self, sample: Sample, rng: np.random.Generator) -> list[Array]:
        """`sample` after moves of chance."""
        value = sample[0]
        for axis, most in self.shifts:
            value = shifted(value, axis, int(rng.integers(-most, most + 1)))
        for axis in self.mirrors:
            value = np.flip(value, axis) if rng.integers(2) else value
        return [np.ascontiguousarray(value), *sample[1:]]


def shifted(value: Array, axis: int, steps: int) -> Array:
    """`value` moved on by `steps` along `axis`; what comes in repeats the edge."""
    places = np.clip(np.arange(value.shape[axis]) - steps, 0, value.shape[axis] - 1)
    return np.take(value, places, axis)


def moves_of(samples: Sequence[Sample], winners: Callable[[Sequence[Sample]], Array]) -> Moves:
    """The moves of one input [batch, …, channels] under which `winners` (largest answers of samples) mostly stay."""
    if len(samples[0]) != 1 or samples[0][0].ndim < 3:
        return Moves()
    some = samples[:PROBED]
    now = winners(some)

    def stays(change: Callable[[Array], Array]) -> bool:
        return bool(np.mean(winners([[change(sample[0])] for sample in some]) == now) >= SAME)

    axes = [axis for axis in range(1, some[0][0].ndim - 1) if some[0][0].shape[axis] > 1]
    shifts = list[tuple[int, int]]()
    for axis in axes:
        for most in SHIFTS:
            if 2 * most > some[0][0].shape[axis] or not all(
                stays(lambda v, axis=axis, by=by: shifted(v, axis, by))  # type: ignore[misc]  # bound at once
                for by in (most, -most)
            ):
                break
            shifts = [*(s for s in shifts if s[0] != axis), (axis, most)]
    return Moves(tuple(shifts), tuple(axis for axis in axes if stays(lambda v, axis=axis: np.flip(v, axis))))  # type: ignore[misc]
