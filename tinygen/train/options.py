# SPDX-License-Identifier: Apache-2.0
"""How to train: what `compress.recover` takes as settings and `train.loop` works by, without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to train, whatever the number of steps.

    `rate`: the learning rate at the start, relative to how large weights are. `temperature` and `labels` (their share):
    see `teacher.Loss`. `scales`: weight scales are trained, too. `codebook`: whether weights keep their place in a
    codebook (``fixed``) or move to its nearest value (``nearest``). `copies`: for each sample, so many shifted (and
    mirrored) ones as more inputs, where the network knows such: see `train.moves`. `mixes`: for each sample, so many
    blends of two of all these. `steady`: for these, how much the teacher's answers to the samples that they are made of
    count, beside its answers to them (Q. Xie et al., Unsupervised Data Augmentation for Consistency Training, 2020).
    `hints`: the weight of what layers inside of the teacher answer: see `teacher.Hints`.
    """

    rate: float = 0.01
    batch: int = 64
    temperature: float = 2.0
    labels: float = 0.3
    scales: bool = True
    codebook: str = "fixed"
    copies: int = 0
    mixes: int = 0
    steady: float = 0.0
    hints: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise `UsageError` for what makes no sense."""
        if self.codebook not in ("fixed", "nearest"):
            raise UsageError(f"codebook {self.codebook!r} is unknown; give 'fixed' or 'nearest'")
        shares = 0 <= self.labels <= 1 and 0 <= self.steady <= 1
        if not (self.rate > 0 and self.temperature > 0 and self.hints >= 0 and shares):
            raise UsageError(
                "expected a rate and a temperature above 0, hints of 0 or more, and labels and steady from 0 to 1"
            )
        counts = (self.batch, self.copies, self.mixes)
        if any(type(count) is not int for count in counts) or self.batch < 1 or min(counts) < 0:
            raise UsageError("expected a batch of at least 1 sample, and copies and mixes of 0 or more")


DEFAULT = Options()
