# SPDX-License-Identifier: Apache-2.0
"""The last candidates, trained: recovery by `tinygen.compress.recover`, where TensorFlow is installed."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from tinygen.errors import TinygenError
from tinygen.search.base import Candidate
from tinygen.search.bases import Base
from tinygen.search.engine import Search
from tinygen.search.ranking import rank
from tinygen.search.ways import Entry, unstored

#: How candidates are trained: with more samples than there are, and with what layers inside of the teacher answer.
TRAINING: Mapping[str, Any] = {"copies": 8, "hints": 1.0}


def recovered(made: Search) -> None:
    """Train the best candidates of as many bases as may be, then the best of the others."""
    if importlib.util.find_spec("tensorflow") is None or not made.effort.finalists:
        return
    chosen = finalists(list(made.candidates.values()), made)[: made.effort.finalists]
    made.begin("recovery", len(chosen))
    for candidate in chosen:
        with suppress(TinygenError):  # what cannot be trained stays as it is
            _trained(made, candidate)


def finalists(candidates: Sequence[Candidate], made: Search) -> list[Candidate]:
    """Candidates that lost something and are worth training, by rank: first the best of every base."""
    ranked = sorted((c for c in candidates if c.loss > 0), key=lambda c: rank(made.goal, c))
    first = list({json.dumps(_structure(c)): c for c in reversed(ranked)}.values())
    first.sort(key=lambda c: rank(made.goal, c))
    return [*first, *(c for c in ranked if c not in first)]


def _structure(candidate: Candidate) -> list[Entry]:
    return [entry for entry in candidate.recipe["technique"] if entry["name"] in ("prune", "low-rank", "branches")]


def _trained(made: Search, candidate: Candidate) -> None:
    """What training makes of `candidate`, whose weights are coded only after that."""
    recipe = tuple(candidate.recipe["technique"])
    graph, steps = made.graph_of(candidate)
    bare = tuple(unstored(recipe))
    if len(bare) < len(recipe):
        steps = steps[: len(bare)]
        graph = steps[-1].graph if steps else made.plain
    training: Entry = {"name": "recover", "steps": made.effort.steps, **TRAINING}
    made.candidate([training, *recipe[len(bare) :]], "recovery", Base(bare, steps, graph, 0.0))
