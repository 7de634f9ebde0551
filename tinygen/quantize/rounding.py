# SPDX-License-Identifier: Apache-2.0
"""Integers for the weights of a layer that make its outputs, not the weights themselves, come out closest.

For inputs x with second moments H, weights w and what stands for them, v, the layer is wrong by (v - w)' H (v - w) on
average. A `Fit` holds that quadratic form for a layer; the functions here minimise it over v = integers * scales:

- `fitted_scales`: by channel, the scale with the least error, at which some weights may be clipped (as in R. Banner et
  al., Post training 4-bit quantization, 2019, with H in place of the identity).
- `by_columns`: one input after the other, each to its nearest, the error made good in those that follow (GPTQ;
  E. Frantar et al., 2022).
- `descend`: from any integers to a local minimum, by exact steps along single weights. This is AdaRound's objective
  (M. Nagel et al., Up or Down?, 2020), whose relaxation it makes superfluous: the form is quadratic, so that the best
  integer for one weight is known (coordinate descent, as in K. Behdin et al., QuantEase, 2023).

Arrays are [groups, filters, depth] for weights, [groups, filters] for scales, [groups, depth, depth] for H.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.ir.types import Real

#: Share of the mean squared input that is added to every input's.
DAMPING = 0.01
#: Integers of symmetric weights.
LIMIT = 127
#: Scales that are tried, as shares of the one at which no weight is clipped.
SHARES = (1.0, 0.97, 0.94, 0.91, 0.88, 0.84, 0.8, 0.75, 0.7, 0.6, 0.5)
#: Rounds of the descent over all weights of a filter.
SWEEPS = 6


@dataclass(frozen=True)
class Fit:
    """What weights should be (`weights`), how errors in them add up (`moments`: H, positive definite), and steps."""

    weights: Real
    moments: Real
    scales: Real

    @classmethod
    def of(cls, weights: Real, covariance: Real, scales: Real) -> Fit:
        """For inputs with such a covariance, damped so that few samples move weights little."""
        depth = weights.shape[-1]
        power = np.einsum("gii->g", covariance) / depth
        return cls(weights, covariance + np.eye(depth) * (DAMPING * power + 1e-12)[:, None, None], scales)

    def cost(self, values: Real) -> Real:
        """(values - weights)' H (values - weights) for each filter: [groups, filters]."""
        error = values - self.weights
        return np.asarray(np.sum((error @ self.moments) * error, axis=-1))

    def nearest(self, scales: Real | None = None) -> Real:
        """Each weight's nearest integer."""
        steps = self.scales if scales is None else scales
        return np.clip(np.rint(self.weights / steps[:, :, None]), -LIMIT, LIMIT)


def fitted_scales(fit: Fit, floor: Real) -> Real:
    """The scale with the least cost for each filter, none below `floor` [groups, filters] (float32 values)."""
    best, least = fit.scales, fit.cost(fit.nearest() * fit.scales[:, :, None])
    for share in SHARES[1:]:
        scales = np.maximum(fit.scales * share, floor).astype(np.float32).astype(np.float64)
        cost = fit.cost(fit.nearest(scales) * scales[:, :, None])
        best, least = np.where(cost < least, scales, best), np.minimum(cost, least)
    return np.asarray(best)


def by_columns(fit: Fit) -> Real:
    """Integers of weights rounded one input after the other, from the largest moment to the smallest."""
    order = np.argsort(-np.einsum("gii->gi", fit.moments).mean(axis=0), kind="stable")
    left, step = fit.weights[:, :, order].copy(), fit.scales
    inverse = np.linalg.inv(fit.moments[:, order][:, :, order])
    upper = np.linalg.cholesky((inverse + inverse.transpose(0, 2, 1)) / 2).transpose(0, 2, 1)
    result = np.empty_like(left)
    for i in range(left.shape[-1]):
        result[:, :, i] = np.clip(np.rint(left[:, :, i] / step), -LIMIT, LIMIT)
        cost = (left[:, :, i] - result[:, :, i] * step) / upper[:, None, i, i]
        left[:, :, i + 1 :] -= cost[:, :, None] * upper[:, None, i, i + 1 :]
    unsorted = np.empty_like(result)
    unsorted[:, :, order] = result
    return unsorted


def descend(fit: Fit, integers: Real) -> Real:
    """`integers` after moves of single weights that each lower the cost, until there is none left (or `SWEEPS`)."""
    found = integers.copy()
    slope = (found * fit.scales[:, :, None] - fit.weights) @ fit.moments
    for _ in range(SWEEPS):
        moved = 0
        for i in range(found.shape[-1]):
            curve = fit.moments[:, i, i, None] * fit.scales
            move = np.clip(np.rint(found[:, :, i] - slope[:, :, i] / curve), -LIMIT, LIMIT) - found[:, :, i]
            group, filters = np.nonzero(move)
            if len(group):
                steps = (move * fit.scales)[group, filters]
                found[group, filters, i] += move[group, filters]
                slope[group, filters] += steps[:, None] * fit.moments[group, i]
                moved += len(group)
        if not moved:
            break
    return found
