# SPDX-License-Identifier: Apache-2.0
"""Weights by least squares: what comes nearest to given outputs on given inputs, and to weights one has already.

All arrays are by group of channels, as `tinygen.quantize.layers.rows` and `columns` have them: inputs [rows, groups,
depth], outputs [rows, groups, filters], weights [groups, filters, depth].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.ir.types import Array, Real

#: How strongly weights are held where they were, in shares of the inputs' mean square: what is tried.
DAMPINGS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
#: What is taken where there are too few samples to try.
DAMPING = 1e-2
#: Every `FOLD`-th sample is for trying, if there are `FEWEST`.
FOLD, FEWEST = 4, 16
#: Rows that are multiplied at once: one large product is much faster than many small ones.
CHUNK = 1024


@dataclass(frozen=True)
class Sums:
    """Sums over rows of inputs x and outputs y: of each, and of the products that least squares needs."""

    count: int
    x: Real
    y: Real
    xx: Real
    xy: Real
    yy: Real

    @classmethod
    def of(cls, x: Array, y: Array) -> Sums:
        left = x.transpose(1, 2, 0)
        products = left @ x.transpose(1, 0, 2), left @ y.transpose(1, 0, 2)
        return cls(len(x), x.sum(axis=0), y.sum(axis=0), *products, np.asarray((y**2).sum(axis=0)))

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    @property
    def mean(self) -> Real:
        """Of the inputs: [groups, depth]."""
        return self.x / self.count

    @property
    def covariance(self) -> Real:
        """Of the inputs: [groups, depth, depth]."""
        return np.asarray(self.xx / self.count - self.mean[:, :, None] * self.mean[:, None, :])

    @property
    def cross(self) -> Real:
        """The covariance of inputs with outputs: [groups, depth, filters]."""
        return np.asarray(self.xy / self.count - self.mean[:, :, None] * (self.y / self.count)[:, None, :])

    @property
    def variance(self) -> Real:
        """Of the outputs: [groups, filters]."""
        return np.asarray(self.yy / self.count - (self.y / self.count) ** 2)

    def error(self, weights: Real) -> float:
        """What the best bias leaves of the mean squared error, summed over filters."""
        explained = np.einsum("gfd,gdf->", weights, self.cross)
        return float(self.variance.sum() - 2 * explained + np.einsum("gfd,gfd->", weights @ self.covariance, weights))

    def bias(self, weights: Real) -> Real:
        """The best bias for `weights`: [groups, filters]."""
        return np.asarray(self.y / self.count - np.einsum("gfd,gd->gf", weights, self.mean))


class Halves:
    """Sums over rows of samples for fitting, and of samples for trying."""

    def __init__(self) -> None:
        self._waiting: tuple[list[tuple[Array, Array]], ...] = ([], [])
        self._sums: list[Sums | None] = [None, None]

    @staticmethod
    def halves(count: int) -> tuple[Array, ...]:
        """Which of `count` samples are for fitting, and which for trying, if there are enough."""
        numbers = np.arange(count)
        tried = numbers % FOLD == FOLD - 1
        return (numbers[~tried], numbers[tried]) if count >= FEWEST else (numbers,)

    def add(self, half: int, x: Array, y: Array) -> None:
        self._waiting[half].append((x, y))
        if sum(len(x) for x, _ in self._waiting[half]) >= CHUNK:
            self._flush(half)

    def _flush(self, half: int) -> None:
        if self._waiting[half]:
            new = Sums.of(*(np.concatenate(part) for part in zip(*self._waiting[half], strict=True)))
            old = self._sums[half]
            self._sums[half] = new if old is None else old + new
            self._waiting[half].clear()

    @property
    def parts(self) -> Sequence[Sums]:
        """The sums for fitting and those for trying, if there are any."""
        self._flush(0)
        self._flush(1)
        return [s for s in self._sums if s is not None]

    @property
    def all(self) -> Sums:
        first, *rest = self.parts
        return sum(rest, start=first)


def damped(covariance: Real, share: float = DAMPING) -> Real:
    """`covariance` [groups, depth, depth] and `share` of its mean power on the diagonal."""
    power = np.einsum("gii->gi", covariance).mean(axis=1)
    return np.asarray(covariance + np.eye(covariance.shape[-1]) * (share * power + 1e-12)[:, None, None])


def nearest(sums: Sums, prior: Real, share: float) -> Real:
    """The weights of least squared error, held with `share` of the inputs' power where `prior` is."""
    matrix = damped(sums.covariance, share)
    right = sums.cross - sums.covariance @ prior.transpose(0, 2, 1)
    return np.asarray(prior + np.linalg.solve(matrix, right).transpose(0, 2, 1))


def fit(seen: Halves, prior: Real) -> Real:
    """The weights of least squared error, held where `prior` is as strongly as serves samples that were not used."""
    parts, share = seen.parts, DAMPING
    if len(parts) > 1:
        share = min(DAMPINGS, key=lambda s: parts[1].error(nearest(parts[0], prior, s)))
    return nearest(seen.all, prior, share)
