# SPDX-License-Identifier: Apache-2.0
"""Which of many equivalent sets of latent values int8 holds best.

Between two linear layers stand latent values z, and R z with any invertible R does as well, if the second layer has the
inverse. int8 gives all of them one scale, and each row of weights one. An orthogonal R that spreads the variance evenly
over the latent values makes them, and the columns of the second layer, alike, and tames outliers (as rotations do in S.
Ashkboos et al., QuaRot, 2024).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinygen.ir.types import Quant, Real
from tinygen.quantize.ranges import fake, quant_of

#: Rotations that are tried, and shares of the range of latent values.
ROTATIONS, SHARES = 8, (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6)
#: What is left of the error of rounding the first layer's weights, once the second one is fitted to the result.
MADE_GOOD = 0.5


@dataclass(frozen=True)
class Latents:
    """The first layer's weights [rank, depth], and the quantization of what it computes."""

    basis: Real
    quant: Quant
    cost: float


def choose_latents(basis: Real, mix: Real, inputs: Real, per_tensor: bool) -> Latents:
    """The best of several mixtures of filters `basis` [rank, depth] that are to be mixed by `mix` [any, rank].

    `inputs` [rows, depth] are what the filters see; `per_tensor`: weights have one scale for all filters.
    """
    tried = (_judged(r @ basis, mix @ np.linalg.inv(r), inputs, per_tensor) for r in _mixtures(basis, mix, inputs))
    return min(tried, key=lambda latents: latents.cost)


def _mixtures(basis: Real, mix: Real, inputs: Real) -> Iterator[Real]:
    """Matrices [rank, rank]: as they are; of equal range; both of these turned."""
    rank, rng = len(basis), np.random.default_rng(0)
    peaks = np.abs((inputs - inputs.mean(axis=0)) @ basis.T).max(axis=0)
    used = np.linalg.norm(mix, axis=0)
    even = np.diag(np.sqrt(np.maximum(used, used.max() * 1e-3 + 1e-30) / np.maximum(peaks, peaks.max() * 1e-3 + 1e-30)))
    yield np.eye(rank)
    yield even
    for _ in range(ROTATIONS):
        turn, _ = np.linalg.qr(rng.standard_normal((rank, rank)))
        yield turn
        yield turn @ even


def _judged(basis: Real, mix: Real, inputs: Real, per_tensor: bool) -> Latents:
    """The expected squared error of rounding the latent values, and both layers' weights."""
    values = inputs @ basis.T
    quant, error = _rounded(values)
    power, used = float(np.sum(np.var(inputs, axis=0))), np.sum(mix**2, axis=0)
    first, second = (_steps(weights, per_tensor) for weights in (basis, mix))
    cost = np.sum(error * used) + MADE_GOOD * np.sum(first**2 * used) * power / 12
    return Latents(basis, quant, float(cost + np.sum(second**2) * np.sum(np.var(values, axis=0)) / 12))


def _rounded(values: Real) -> tuple[Quant, Real]:
    """The quantization of least error for latent `values` [rows, rank], and each one's mean squared error."""
    low, high = float(values.min()), float(values.max())
    tried = [quant_of(low * share, high * share) for share in SHARES]
    errors = [np.mean((fake(values, quant) - values) ** 2, axis=0) for quant in tried]
    best = int(np.argmin([e.sum() for e in errors]))
    return tried[best], np.asarray(errors[best])


def _steps(weights: Real, per_tensor: bool) -> Real:
    """The scale of each row of weights."""
    largest = np.abs(weights).max(axis=1) / 127
    return np.full_like(largest, largest.max()) if per_tensor else largest
