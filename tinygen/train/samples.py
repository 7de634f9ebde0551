# SPDX-License-Identifier: Apache-2.0
"""Samples for training with what the teacher says of them; some are held back to judge by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinygen.ir.types import Array, Real
from tinygen.train.moves import Moves, moves_of
from tinygen.train.network import Network
from tinygen.train.options import Options
from tinygen.train.teacher import Teacher

#: One sample of so many is held back, where there are at least `FEWEST`.
HELD_BACK, FEWEST = 5, 10
#: What keeps logarithms of shares finite.
TINY = 1e-12


@dataclass(frozen=True)
class Lot:
    """Samples, what they should be answered with [samples, elements] in real numbers, and labels as one-hot rows.

    Without labels, these are zeros.
    """

    samples: Sequence[Sequence[Array]]
    wanted: Real
    labels: Real

    def batch(self, network: Network, indices: Array) -> tuple[Array, Array, list[Array]]:
        """What is wanted, labels, and inputs as `network` takes them, of some samples."""
        wanted, labels = (v[indices].astype(np.float32) for v in (self.wanted, self.labels))
        return wanted, labels, network.inputs([self.samples[int(i)] for i in indices])

    def pieces(self, network: Network, size: int) -> Iterator[tuple[Array, Array, list[Array]]]:
        """All of them, `size` at a time."""
        for start in range(0, len(self.samples), size):
            yield self.batch(network, np.arange(start, min(start + size, len(self.samples))))

    def moved(self, moves: Moves, copies: int, rng: np.random.Generator) -> Lot:
        """With `copies` of each sample, moved, for which the same is wanted."""
        made = [moves.draw(sample, rng) for _ in range(copies) for sample in self.samples]
        wanted, labels = (np.concatenate([v] * (copies + 1)) for v in (self.wanted, self.labels))
        return Lot([*self.samples, *made], wanted, labels)

    def blended(self, count: int, rng: np.random.Generator) -> Lot:
        """With `count` blends of two samples, of what is wanted for them, and of their labels (H. Zhang et al., mixup,
        2018), in the types of inputs."""
        ones, others = rng.integers(0, len(self.samples), (2, count))
        parts = rng.beta(1.0, 1.0, count)
        made = [
            [_blend(a, b, part) for a, b in zip(self.samples[one], self.samples[other], strict=True)]
            for one, other, part in zip(ones, others, parts, strict=True)
        ]
        wanted, labels = (
            np.concatenate([v, parts[:, None] * v[ones] + (1 - parts[:, None]) * v[others]])
            for v in (self.wanted, self.labels)
        )
        return Lot([*self.samples, *made], wanted, labels)


def lots(
    teacher: Teacher, samples: Sequence[Sequence[Array]], labels: Array | None, options: Options
) -> tuple[Lot, Lot]:
    """Samples to train with, more made of them, and samples that are held back; with few, all are both.

    Where answers should be steady, there is a moved one and a blend for each that is held back, too.
    """
    held = np.arange(len(samples)) % HELD_BACK == HELD_BACK - 1
    fit = ~held if len(samples) >= FEWEST else np.ones(len(samples), bool)
    held = held if len(samples) >= FEWEST else fit
    chosen = [[samples[int(i)] for i in np.flatnonzero(mask)] for mask in (fit, held)]
    shares = [_shares(labels, mask, teacher.classes) for mask in (fit, held)]
    asked = [
        Lot(some, _softened(teacher, teacher(some), options), share) for some, share in zip(chosen, shares, strict=True)
    ]
    moves = moves_of(chosen[0], teacher.winners) if options.copies and teacher.known else Moves()
    copies, rng = options.copies if moves != Moves() else 0, np.random.default_rng(options.seed)
    train = asked[0].moved(moves, copies, rng).blended(options.mixes * len(chosen[0]), rng)
    judge = asked[1]
    if options.steady:
        judge = judge.moved(moves, min(copies, 1), rng).blended(min(options.mixes, 1) * len(chosen[1]), rng)
    return _settled(teacher, train, options), _settled(teacher, judge, options)


def _shares(labels: Array | None, mask: Array, classes: int) -> Real:
    if labels is None:
        return np.zeros((int(mask.sum()), classes))
    return np.asarray(np.eye(classes)[np.asarray(labels).astype(np.int64)[mask]])


def _softened(teacher: Teacher, answers: Real, options: Options) -> Real:
    """Logits as shares of classes, which can be blended; numbers as they are."""
    if not teacher.known:
        return answers
    powers = np.exp((answers - answers.max(axis=1, keepdims=True)) / options.temperature)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _settled(teacher: Teacher, lot: Lot, options: Options) -> Lot:
    """`lot`, in place of shares of classes with logits: the teacher's own, and where those should be steady, both."""
    own = teacher(lot.samples)
    if not options.steady:
        return replace(lot, wanted=own)
    both = (1 - options.steady) * _softened(teacher, own, options) + options.steady * lot.wanted
    return replace(lot, wanted=options.temperature * np.log(both + TINY) if teacher.known else both)


def _blend(one: Array, other: Array, weight: float) -> Array:
    mixed = weight * one.astype(np.float64) + (1 - weight) * other.astype(np.float64)
    return (np.rint(mixed) if one.dtype.kind in "iu" else mixed).astype(one.dtype)


def drawn(count: int, batch: int, steps: int, seed: int) -> Iterator[Array]:
    """Indices of `steps` batches: every sample once, in an order of chance, before any comes again."""
    rng, left = np.random.default_rng(seed), np.zeros(0, np.int64)
    for _ in range(steps):
        while len(left) < min(batch, count):
            left = np.concatenate([left, rng.permutation(count)])
        yield left[: min(batch, count)]
        left = left[min(batch, count) :]
