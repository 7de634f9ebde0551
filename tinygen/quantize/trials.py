# SPDX-License-Identifier: Apache-2.0
"""Which ranges, and whether equalized channels, bring the outputs nearest to float.

What is tried is judged on samples that its ranges do not know: half of the samples decide, the other half judges. Then
all of them make the ranges by the method that won.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinygen.batch import FEWEST, few
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array, Quant
from tinygen.quantize.assign import assign
from tinygen.quantize.calibrate import Statistics, calibrate
from tinygen.quantize.choose import choose, large_enough, least_harm
from tinygen.quantize.equalize import equalize
from tinygen.quantize.groups import Groups, group
from tinygen.quantize.options import Method, Options
from tinygen.quantize.refine import refine
from tinygen.quantize.report import closeness, outputs

Samples = Sequence[Sequence[Array]]

#: Samples that ways to quantize are compared on at most.
TRIED_ON = 32
#: How ranges are chosen where the user leaves it open: by tensor, or by one method for all.
TRIED: tuple[Method, ...] = ("auto", "minmax", "margin", "mse")


@dataclass(frozen=True)
class Trial:
    """A float graph in groups of tensors, what these hold, their ranges and the method of them.

    `closeness` (dB) is that of the outputs to float, with ranges by one half of the samples, on the other half.
    """

    groups: Groups
    statistics: Mapping[str, Statistics]
    quants: Mapping[str, Quant]
    method: Method
    closeness: float


def best_ranges(graph: Graph, samples: Samples, settings: Options) -> Trial:
    """Of what `settings` leave open for float `graph`, what comes closest to it with corrected biases."""
    methods: tuple[Method, ...] = TRIED if settings.ranges == "auto" else (settings.ranges,)
    best = _Start(graph, samples).best(methods)
    equal = equalize(graph, samples) if settings.equalize else graph
    if equal is graph:
        return best
    return max(best, _Start(equal, samples).best((best.method,)), key=lambda trial: trial.closeness)


class _Start:
    """A float graph, its groups of tensors and what they hold; samples to decide by, and others to judge on."""

    def __init__(self, graph: Graph, samples: Samples) -> None:
        self.groups = group(graph)
        self.seen = calibrate(self.groups, samples)
        self.known = slice(None, None, 2 if len(samples) >= FEWEST else 1)
        self.own = few(graph, samples[self.known], TRIED_ON)
        self.others = few(graph, samples[1::2] if len(samples) >= FEWEST else samples, TRIED_ON)

    def best(self, methods: Sequence[Method]) -> Trial:
        """That of `methods` which comes nearest to float, with ranges by all samples."""
        exact, partial = outputs(self.groups.graph, self.others), self._statistics(self.known)
        by_group = least_harm(self.groups, partial, self.others) if "auto" in methods else {}
        chosen = {m: by_group if m == "auto" else dict.fromkeys(self.seen, m) for m in methods}
        ratios = {m: self._closeness(choose(self.groups, partial, chosen[m]), exact) for m in methods}
        method, statistics = max(methods, key=lambda m: ratios[m]), self._statistics(slice(None))
        return Trial(self.groups, statistics, choose(self.groups, statistics, chosen[method]), method, ratios[method])

    def _statistics(self, known: slice) -> dict[str, Statistics]:
        """Those over some of the samples."""
        return {name: values.statistics(known) for name, values in self.seen.items()}

    def _closeness(self, quants: Mapping[str, Quant], exact: Mapping[str, Array]) -> float:
        """How near the outputs come with `quants` and corrected biases: those of any rounding will be."""
        made = assign(self.groups, large_enough(self.groups, quants))
        return closeness(exact, refine(self.groups.graph, made, self.own, Options(rounding="bias")), self.others)
