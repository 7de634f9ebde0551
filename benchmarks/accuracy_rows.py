# SPDX-License-Identifier: Apache-2.0
"""What the comparison of quantizers found: a row for each model, and what counts as at least as good."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

#: On this share of the models tinygen must be at least as good as each of the others.
SHARE = 0.8
#: Where chance explains a difference of accuracies at least this often, it tells nothing.
SIGNIFICANT = 0.05
PEERS = {"tflite": "TFLite converter", "onnxruntime": "onnxruntime"}


@dataclass(frozen=True)
class Row:
    """A model's scores by who made them: float, tinygen, tflite, onnxruntime (those that there are).

    The `metric` is ``accuracy`` in percent for labelled data, else ``sqnr``: signal to quantization noise in dB of the
    worst output, against float. Everything is the mean over the splits of the data; counts are those of one split.
    """

    model: str
    metric: str
    limit: float | None
    data: str
    calibration: int
    tests: int
    scores: dict[str, float]
    notes: tuple[str, ...] = ()
    #: The signal to noise ratio of each int8 model, whatever the metric.
    noise: dict[str, float] = field(default_factory=dict)
    #: On how many labelled samples tinygen alone is right, and how many the other alone.
    apart: dict[str, tuple[float, float]] = field(default_factory=dict)
    #: Answers like float's, in percent.
    agreement: dict[str, float] = field(default_factory=dict)
    #: In how many ways the data were split.
    splits: int = 1
    #: The largest loss of any split in points of accuracy, where that is more than that of the mean.
    worst: float | None = None

    @property
    def lost(self) -> float:
        """Points of accuracy below float, on the split where they are most."""
        return self.scores["float"] - self.scores["tinygen"] if self.worst is None else self.worst

    @property
    def ok(self) -> bool:
        # the scores are shares of some thousand samples: what remains after rounding is no difference
        return self.limit is None or self.lost <= self.limit + 1e-9

    def beats(self, peer: str) -> bool:
        """Whether tinygen is at least as good as `peer`."""
        return self.scores["tinygen"] >= self.scores[peer] - 1e-9

    def soundly(self, peer: str) -> bool:
        """The same, but by nearness to float where chance explains the difference of the scores."""
        return self.nearer(peer) if self.by_chance(peer) else self.beats(peer)

    def by_chance(self, peer: str) -> bool:
        """Whether accuracies differ by no more than chance explains (`sign_test`): in either's favour."""
        return self.metric == "accuracy" and sign_test(*self.apart[peer]) > SIGNIFICANT

    def nearer(self, peer: str) -> bool:
        """Whether tinygen's outputs are at least as near to float as those of `peer`."""
        return self.noise["tinygen"] >= self.noise[peer]

    @property
    def best(self) -> list[str]:
        """Who has the best int8 score."""
        integers = {who: score for who, score in self.scores.items() if who != "float"}
        return [who for who, score in integers.items() if score >= max(integers.values()) - 1e-9]


def sign_test(first: float, second: float) -> float:
    """How probable it is that fair coins fall as unevenly as `first` to `second`, or more so (McNemar's exact test)."""
    few, total = round(min(first, second)), round(first) + round(second)
    return min(1.0, 2 * sum(math.comb(total, k) for k in range(few + 1)) / 2**total)


@dataclass(frozen=True)
class Findings:
    """All rows, and why tinygen refuses the other models."""

    rows: Sequence[Row]
    refused: dict[str, str]

    def count(self, peer: str) -> tuple[int, int]:
        """On how many models tinygen is at least as good as `peer`, and of how many."""
        both = [row for row in self.rows if peer in row.scores]
        return sum(row.beats(peer) for row in both), len(both)

    def soundly(self, peer: str) -> tuple[int, int]:
        """The same by nearness to float where chance explains the difference."""
        both = [row for row in self.rows if peer in row.scores]
        return sum(row.soundly(peer) for row in both), len(both)

    def nearer(self, peer: str) -> tuple[int, int]:
        """On how many models tinygen's outputs are at least as near to float as those of `peer`, and of how many."""
        both = [row for row in self.rows if peer in row.noise]
        return sum(row.nearer(peer) for row in both), len(both)

    @property
    def ok(self) -> bool:
        counts = [self.soundly(peer) for peer in PEERS]
        return all(row.ok for row in self.rows) and all(won >= SHARE * of for won, of in counts)

    def as_dict(self) -> dict[str, Any]:
        models = [{**vars(row), "ok": row.ok, "best": row.best} for row in self.rows]
        counts = {peer: dict(zip(("won", "of"), self.count(peer), strict=True)) for peer in PEERS}
        nearer = {peer: dict(zip(("won", "of"), self.nearer(peer), strict=True)) for peer in PEERS}
        sound = {peer: dict(zip(("won", "of"), self.soundly(peer), strict=True)) for peer in PEERS}
        return {
            "ok": self.ok,
            "counts": counts,
            "sound": sound,
            "nearer": nearer,
            "models": models,
            "refused": self.refused,
        }
