# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies that operator tests share."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

#: For tests that compile C: each example is a batch of models, one compilation. A failure is not shrunk: each step of
#: that would compile again.
FEW = settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)
#: For tests that run only numpy and TFLM.
MANY = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def scales(low: float = 1e-3, high: float = 0.5) -> st.SearchStrategy[float]:
    """Positive scales that float32 holds exactly."""
    return st.floats(low, high).map(lambda s: float(np.float32(s)))


def quants(low: float = 1e-3, high: float = 0.5) -> st.SearchStrategy[tuple[float, int]]:
    """(scale, zero point) of an int8 tensor."""
    return st.tuples(scales(low, high), st.integers(-128, 127))


def shapes(min_rank: int = 1, max_rank: int = 4, max_side: int = 6) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of up to a few hundred elements."""
    return st.lists(st.integers(1, max_side), min_size=min_rank, max_size=max_rank).map(tuple)
