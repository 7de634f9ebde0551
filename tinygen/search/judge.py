# SPDX-License-Identifier: Apache-2.0
"""How good a candidate is: measured on samples that were held back, as many as it takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.batch import run_samples
from tinygen.compress.base import Sample
from tinygen.compress.fitting.mixture import deciding
from tinygen.compress.runner import Quality, quality
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array, Real
from tinygen.search.base import Problem

#: Samples that every candidate sees at most, evenly spread; and those that tell which ones are worth the others.
MOST, FIRST = 620, 62


class Judge:
    """Compares graphs with the plain one of a problem, on held-back samples or else on those for fitting."""

    def __init__(self, problem: Problem, plain: Graph) -> None:
        evidence = problem.evidence
        samples = evidence.held_back or evidence.samples
        chosen = np.linspace(0, len(samples) - 1, min(len(samples), MOST)).round().astype(int)
        self.samples: list[Sample] = [samples[i] for i in chosen]
        self.labels = evidence.labels[chosen] if evidence.labels is not None and evidence.held_back else None
        self.plain = plain
        decided, answers = self._run(plain, self.samples)
        truth = evidence.truth if evidence.held_back else None
        self.truth = [truth[i] for i in chosen] if truth is not None else answers
        self.decided = decided
        self.power = float(np.mean((decided - decided.mean(axis=0)) ** 2)) + 1e-30
        self.start = self._quality(answers)

    def loss(self, graph: Graph, limit: float = np.inf) -> float:
        """The noise in what `graph` decides by, as a share of its power; of few samples only, if above `limit`."""
        count = min(FIRST, len(self.samples))
        first = self._noise(graph, slice(0, None, max(len(self.samples) // count, 1)))
        if first > limit or len(self.samples) <= 2 * count:
            return first
        return self._noise(graph, slice(None))

    def judged(self, graph: Graph) -> tuple[Quality, float, float]:
        """The quality of `graph`, points below the plain one, and its loss, on all samples."""
        decided, answers = self._run(graph, self.samples)
        found = self._quality(answers)
        return found, points(self.start) - points(found), float(np.mean((decided - self.decided) ** 2)) / self.power

    def _noise(self, graph: Graph, some: slice) -> float:
        decided, _ = self._run(graph, self.samples[some])
        return float(np.mean((decided - self.decided[some]) ** 2)) / self.power

    def _quality(self, answers: Sequence[Real]) -> Quality:
        return quality(self.truth, answers, self.labels)

    @staticmethod
    def _run(graph: Graph, samples: Sequence[Sample]) -> tuple[Array, list[Real]]:
        """What `graph` decides by [samples, elements], and its first output, in real numbers."""
        inner, name = deciding(graph), graph.outputs[0]
        found = run_samples(graph, samples, tuple(dict.fromkeys((inner, name))))
        decided = [graph.types[inner].dequantize(values[inner]).ravel() for values in found]
        return np.stack(decided), [graph.types[name].dequantize(values[name]) for values in found]


def points(quality: Quality) -> float:
    """Percent of labels met, or without labels of samples on which the original is agreed with."""
    return 100 * (quality.agreement if quality.accuracy is None else quality.accuracy)
