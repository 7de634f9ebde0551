# SPDX-License-Identifier: Apache-2.0
"""Figures of merit of outputs, real numbers [N, elements]. Of equal outputs the first wins, as argmax has it."""

from __future__ import annotations

import numpy as np

from tinygen.ir.types import Array, Real


def top(outputs: Real, labels: Array, k: int) -> float:
    """The share of samples whose label (an index [N]) is among the `k` largest outputs."""
    index = np.arange(outputs.shape[1])
    chosen = np.take_along_axis(outputs, labels[:, None], axis=1)
    before = (outputs > chosen) | ((outputs == chosen) & (index < labels[:, None]))
    return float(np.mean(before.sum(axis=1) < k))


def auc(scores: Real, positive: Array) -> float:
    """The area under the ROC curve: how often a positive sample's score is above a negative one's; ties count half.

    `scores` [N], `positive` [N] booleans with both values in it. Mann and Whitney's U over the number of pairs.
    """
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    # the mean of the ranks 1 … N that equal scores share
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse.ravel()]
    ones = int(positive.sum())
    wins = float(ranks[positive].sum()) - ones * (ones + 1) / 2
    return wins / (ones * (len(scores) - ones))


def mse(outputs: Real, targets: Real) -> float:
    """Mean squared error over all elements."""
    return float(np.mean((outputs - targets) ** 2))


def mae(outputs: Real, targets: Real) -> float:
    """Mean absolute error over all elements."""
    return float(np.mean(np.abs(outputs - targets)))


def agreement(outputs: Real, others: Real) -> float:
    """The share of samples whose largest output is the same one."""
    return float(np.mean(outputs.argmax(axis=1) == others.argmax(axis=1)))
