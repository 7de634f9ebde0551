# SPDX-License-Identifier: Apache-2.0
"""What a study samples, and what becomes of its best trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tinygen.search.aiming import fitting
from tinygen.search.base import Candidate
from tinygen.search.engine import Search, Start
from tinygen.search.knapsack import Knapsack, total_bytes
from tinygen.search.study import Kept
from tinygen.search.ways import Way, entries

#: Bytes of weights that are sampled, as shares of those that meet the goal; factors of noise are 2 to the power of at
#: most this.
SIZES, GAIN = (0.75, 1.05), 2.0
#: Trials at most that are made candidates for the frontier's sake, beside those for the goal's.
SHOWN = 6


def sampled(made: Search, starts: Sequence[Start], kept: Kept) -> None:
    """Trials around the knapsack's solutions, and candidates of the best of them."""
    low, high = _sizes(made, starts)
    made.begin("study", made.effort.trials)

    def trial(asked: Any) -> tuple[float, float]:
        start = starts[asked.suggest_categorical("base", list(range(len(starts))))]
        size = asked.suggest_float("size", low, high, log=True)
        gains = {name: 2 ** asked.suggest_float(f"gain:{name}", -GAIN, GAIN) for name in start.curves}
        options = Knapsack.of(start.curves, gains).solve(size)
        graph = made.walked(start.base, options)
        cost = made.costs.of(graph)
        asked.set_user_attr("ways", {name: vars(option.way) for name, option in options.items()})
        asked.set_user_attr("fits", made.goal.excess(cost) == 0)
        made.step()
        return float(cost.flash), made.judge.loss(graph)

    plain = {"base": 0, "size": (low * high) ** 0.5, **{f"gain:{name}": 0.0 for name in starts[0].curves}}
    kept.sample(trial, made.effort.trials, plain)
    for done in _best(kept.done(), made.effort.tries):
        _candidate(made, starts, done)


def _sizes(made: Search, starts: Sequence[Start]) -> tuple[float, float]:
    """The bytes of weights between which trials lie: around the goal, if there is one for flash."""
    if made.goal == made.goal.shaped:
        return float(max(min(start.knapsack.smallest for start in starts), 1)), float(starts[0].knapsack.largest)
    aimed = total_bytes(fitting(made, starts[0], made.goal).options)
    return SIZES[0] * aimed, SIZES[1] * aimed


def _best(trials: Sequence[Any], count: int) -> list[Any]:
    """The `count` trials that fit and lose least, and some that no other beats, by rising flash."""
    fitting = sorted((t for t in trials if t.user_attrs.get("fits")), key=lambda t: (t.values[1], t.number))
    front, least = list[Any](), float("inf")
    for trial in sorted(trials, key=lambda t: (t.values[0], t.values[1], t.number)):
        if trial.values[1] < least:
            front.append(trial)
            least = trial.values[1]
    shown = front[:: max(len(front) // SHOWN, 1)]
    return list({trial.number: trial for trial in (*fitting[:count], *shown)}.values())


def _candidate(made: Search, starts: Sequence[Start], trial: Any) -> Candidate:
    """The candidate that the techniques make of what a trial tried."""
    ways: Mapping[str, Way] = {name: Way(**way) for name, way in trial.user_attrs["ways"].items()}
    return made.candidate(entries(ways), "study", starts[trial.params["base"]].base)
