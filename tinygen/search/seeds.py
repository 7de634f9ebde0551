# SPDX-License-Identifier: Apache-2.0
"""Techniques that find out by themselves what each layer bears, as one writes them by hand: with one number to fit."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.compress.fitting.layerwise import layers_of
from tinygen.search.aiming import unused
from tinygen.search.base import Candidate
from tinygen.search.engine import Search
from tinygen.search.ways import STORED, Entry

#: Shares of zeros that are tried, and how many of them; values of what is left.
LEAST, MOST, TRIES, VALUES = 0.1, 0.97, 3, 8
#: Zeros are worth it if those that are the same for all layers have at most so many times the noise of what is no
#: larger than they by a share of SLACK.
HOPE, SLACK = 2.0, 0.05


def zeros(share: float) -> Sequence[Entry]:
    """A share of all weights zero, where the network misses them least, and a codebook for the others."""
    spread = {"name": "sparsity", "ratio": round(share, 3), "spread": "global"}
    return spread, {"name": "share", "values": VALUES, "scale": "tensor"}, *STORED


def seeded(made: Search) -> None:
    """Candidates with zeros as the network as a whole bears them, so many that they just fit the goal's flash."""
    known = [c for c in made.candidates.values() if c.origin == "uniform" and "ratio" in _first(c)]
    sparse = next((c for c in known if _first(c)["name"] == "sparsity"), None)
    if sparse is None or made.goal == made.goal.shaped or not _hopeful(made, sparse):
        return
    most = min(size for size in (made.goal.flash, made.goal.weights) if size is not None)
    share, over = float(_first(sparse)["ratio"]), made.goal.over(sparse.cost) or 0
    slope = (most + over) / (1 - share)
    made.begin("knapsack", TRIES)
    for _ in range(TRIES):
        tried = min(max(share + (over + unused(made.goal) / 2) / slope, LEAST), MOST)
        now = made.goal.over(made.candidate(zeros(tried), "knapsack").cost) or 0
        if -unused(made.goal) <= now <= 0 or tried == share:
            break
        if (over - now) * (tried - share) > 0:
            slope = (over - now) / (tried - share)
        share, over = tried, now


def _first(candidate: Candidate) -> Entry:
    return next(iter(candidate.recipe["technique"]))


def _hopeful(made: Search, sparse: Candidate) -> bool:
    """Whether zeros come near to other candidates, so that it is worth the time to place them well.

    Networks of dense layers bear most zeros: half of their weights are in such.
    """
    sizes = {node.op: 0 for node in made.plain.nodes}
    for node in layers_of(made.plain):
        sizes[node.op] += made.plain.constants[node.inputs[1]].size
    if sizes.get("FULLY_CONNECTED", 0) >= sum(sizes.values()) / 2:
        return True
    size = sparse.cost.flash * (1 + SLACK)
    return sparse.loss <= HOPE * min(c.loss for c in made.candidates.values() if c.cost.flash <= size)
