# SPDX-License-Identifier: Apache-2.0
"""Uniform settings: the same for every layer, as one tries by hand. What is found is never worse than these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tinygen.search.engine import Search
from tinygen.search.ways import STORED, Entry

#: Settings of each kind, in the order in which they are tried.
VALUES, BITS, RATIOS = (16, 4, 8, 32, 6, 64), (4, 3, 5, 2, 6), (0.25, 0.5, 0.125, 0.75)
#: Shares of zeros, and values of the codebooks for what is left.
SPARSE = ((0.5, 16), (0.8, 16), (0.7, 8), (0.6, 32), (0.9, 8))


def settings(count: int) -> Iterator[Sequence[Entry]]:
    """Recipes with one setting for all layers, at most `count` of each kind, and half as many where that takes long."""
    for values in VALUES[:count]:
        yield {"name": "share", "values": values, "scale": "tensor"}, *STORED
    for bits in BITS[:count]:
        yield {"name": "bits", "bits": bits}, *STORED
    for zeros, values in SPARSE[: (count + 1) // 2]:
        yield {"name": "sparsity", "ratio": zeros}, {"name": "share", "values": values, "scale": "tensor"}, *STORED
    for ratio in RATIOS[: (count + 1) // 2]:
        yield ({"name": "prune", "ratio": ratio, "spread": "uniform"},)


def uniform(made: Search) -> None:
    """Candidates with the same setting for every layer."""
    recipes = list(settings(made.effort.alike))
    made.begin("uniform", len(recipes))
    for recipe in recipes:
        made.candidate(recipe, "uniform")
