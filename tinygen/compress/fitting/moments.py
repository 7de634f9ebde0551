# SPDX-License-Identifier: Apache-2.0
"""What a layer's inputs do together: the second moments that say how much each change of a weight costs.

With inputs of covariance H, the filter w (a row) that becomes q changes its output by (w - q) H (w - q)' in the mean
square; means do not count, since the bias makes them good.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tinygen.ir.types import Array, Real

#: Deeper layers are taken in pieces of at most so many inputs, as if pieces were independent of each other.
MAX_DEPTH = 2048
#: Shares of the mean squared input that are added to every input's: one always, the other for each input per row, since
#: few rows say little about many inputs.
DAMPING, DOUBT = 0.01, 0.2
#: Rows that are multiplied at once.
CHUNK = 2048


@dataclass(frozen=True)
class Hessian:
    """Damped covariances of a layer's inputs, by pieces of its depth: each a slice and [groups, size, size]."""

    parts: tuple[tuple[slice, Real], ...]

    @cached_property
    def diagonal(self) -> Real:
        """[groups, depth], all above 0."""
        return np.concatenate([np.einsum("gii->gi", matrix) for _, matrix in self.parts], axis=1)

    def times(self, rows: Real) -> Real:
        """`rows` [groups, filters, depth] times the matrix."""
        return np.concatenate([rows[:, :, part] @ matrix for part, matrix in self.parts], axis=2)

    def power(self, rows: Real) -> Real:
        """The mean square of what each of `rows` [groups, filters, depth] makes of the inputs: [groups, filters]."""
        return np.asarray(np.einsum("gfd,gfd->gf", self.times(rows), rows))


@dataclass(frozen=True)
class Moments:
    """A layer's inputs in two networks: means [groups, depth] in the original and now, and the moments now.

    `drift`: for each piece of the Hessian, the covariance of the original inputs with those of now less the covariance
    of the latter, [groups, size, size]; None where the inputs are the same.
    """

    original: Real
    mean: Real
    hessian: Hessian
    drift: tuple[Real, ...] | None

    def adjusted(self, weights: Real) -> Real:
        """The weights [groups, filters, depth] that do with the inputs of now nearest to what `weights` did before.

        Least squares, with the Hessian's damping towards `weights` themselves.
        """
        if self.drift is None:
            return weights
        pieces = []
        for (part, matrix), drift in zip(self.hessian.parts, self.drift, strict=True):
            pieces.append(
                weights[:, :, part]
                + np.linalg.solve(matrix, (weights[:, :, part] @ drift).swapaxes(1, 2)).swapaxes(1, 2)
            )
        return np.concatenate(pieces, axis=2)


def moments(pairs: Iterable[tuple[Array, Array | None]]) -> Moments:
    """The moments of pairs of original inputs and those of now, each [pixels, groups, depth]; None: the same ones."""
    sums = _Sums()
    for original, now in _chunks(pairs):
        sums.add(original, now)
    return sums.moments()


def _chunks(pairs: Iterable[tuple[Array, Array | None]]) -> Iterator[tuple[Array, Array | None]]:
    """The same rows in larger pieces: one product for many pixels is much faster than many products."""
    waiting: list[tuple[Array, Array | None]] = []
    for pair in pairs:
        waiting.append(pair)
        if sum(len(original) for original, _ in waiting) >= CHUNK:
            yield _joined(waiting)
            waiting = []
    if waiting:
        yield _joined(waiting)


def _joined(pairs: Sequence[tuple[Array, Array | None]]) -> tuple[Array, Array | None]:
    now = [b for _, b in pairs if b is not None]
    return np.concatenate([a for a, _ in pairs]), np.concatenate(now) if now else None


class _Sums:
    """Sums over rows, less the first rows' mean: so that covariances lose no digits to it."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, original: Array, now: Array | None) -> None:
        same = now is None
        fresh = np.asarray(original if now is None else now, np.float64)
        if not self.count:
            _, groups, depth = fresh.shape
            self.base, self.base_original = fresh.mean(axis=0), np.asarray(original, np.float64).mean(axis=0)
            self.mean, self.mean_original = np.zeros((groups, depth)), np.zeros((groups, depth))
            self.parts = [slice(i, min(i + MAX_DEPTH, depth)) for i in range(0, depth, MAX_DEPTH)]
            self.squares = [np.zeros((groups, *[p.stop - p.start] * 2)) for p in self.parts]
            self.crosses = None if same else [np.zeros_like(s) for s in self.squares]
        centred, before = fresh - self.base, np.asarray(original, np.float64) - self.base_original
        self.count += len(fresh)
        self.mean += centred.sum(axis=0)
        self.mean_original += before.sum(axis=0)
        for index, part in enumerate(self.parts):
            right = np.ascontiguousarray(centred[:, :, part].transpose(1, 0, 2))
            self.squares[index] += right.swapaxes(1, 2) @ right
            if self.crosses is not None:
                self.crosses[index] += before[:, :, part].transpose(1, 2, 0) @ right

    def moments(self) -> Moments:
        mean, original = self.mean / self.count, self.mean_original / self.count
        parts, drift = [], []
        for index, part in enumerate(self.parts):
            m, o = mean[:, part], original[:, part]
            square = self.squares[index] / self.count - m[:, :, None] * m[:, None, :]
            if self.crosses is not None:
                drift.append(self.crosses[index] / self.count - o[:, :, None] * m[:, None, :] - square)
            power = np.einsum("gii->gi", square).mean(axis=1)
            damping = DAMPING + DOUBT * m.shape[1] / self.count
            parts.append((part, square + np.eye(m.shape[1]) * (damping * power + 1e-12)[:, None, None]))
        drifted = tuple(drift) if self.crosses is not None else None
        return Moments(original + self.base_original, mean + self.base, Hessian(tuple(parts)), drifted)
