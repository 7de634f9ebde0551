# SPDX-License-Identifier: Apache-2.0
"""The budget search: of all ways to compress a model, that which fits and loses least."""

from __future__ import annotations

from tinygen.search.base import EFFORTS, Candidate, Cost, Effort, Found, Goal, Problem, Progress, Study, effort_of
from tinygen.search.run import search

__all__ = [
    "EFFORTS",
    "Candidate",
    "Cost",
    "Effort",
    "Found",
    "Goal",
    "Problem",
    "Progress",
    "Study",
    "effort_of",
    "search",
]
