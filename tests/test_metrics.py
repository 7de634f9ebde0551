# SPDX-License-Identifier: Apache-2.0
"""Figures of merit against cases worked out by hand, and against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.evaluation import metrics


def test_top_k_counts_the_right_label_among_the_k_largest() -> None:
    outputs = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])
    labels = np.array([1, 2, 0])
    assert [metrics.top(outputs, labels, k) for k in (1, 2, 3)] == [pytest.approx(1 / 3), pytest.approx(1 / 3), 1.0]


def test_of_equal_outputs_the_first_wins() -> None:
    outputs = np.array([[1.0, 1.0, 0.0]] * 2)
    assert metrics.top(outputs, np.array([0, 1]), 1) == 0.5
    assert metrics.top(outputs, np.array([0, 1]), 2) == 1.0


@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=1, max_size=9))
def test_top_1_is_argmax(rows: list[list[int]]) -> None:
    outputs = np.array(rows, np.float64)
    labels = np.arange(len(rows)) % 4
    assert metrics.top(outputs, labels, 1) == np.mean(outputs.argmax(axis=1) == labels)


@pytest.mark.parametrize(
    "scores, positive, expected",
    [
        ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 0.75),
        ([1, 2, 3], [0, 0, 1], 1.0),
        ([1, 2, 3], [1, 0, 0], 0.0),
        ([5, 5, 5, 5], [0, 1, 1, 0], 0.5),
        ([1, 2, 2, 3], [0, 0, 1, 1], 0.875),
    ],
)
def test_area_under_the_curve(scores: list[float], positive: list[int], expected: float) -> None:
    assert metrics.auc(np.array(scores, np.float64), np.array(positive, bool)) == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_area_under_the_curve_counts_pairs(samples: list[tuple[int, bool]]) -> None:
    high, low = [s for s, p in samples if p], [s for s, p in samples if not p]
    if high and low:
        wins = sum((a > b) + 0.5 * (a == b) for a in high for b in low) / (len(high) * len(low))
        scores, positive = zip(*samples, strict=True)
        assert metrics.auc(np.array(scores, np.float64), np.array(positive)) == pytest.approx(wins)


def test_errors_and_agreement() -> None:
    a, b = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[1.0, 4.0], [3.0, 2.0]])
    assert metrics.mse(a, b) == (4 + 9) / 4
    assert metrics.mae(a, b) == 5 / 4
    assert metrics.agreement(a, b) == 0.5
