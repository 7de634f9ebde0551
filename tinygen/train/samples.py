# SPDX-License-Identifier: Apache-2.0
"""Samples for training with what the teacher says of them; some are held back to judge by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.ir.types import Array, Real
from tinygen.train.moves import Moves, moves_of
from tinygen.train.network import Network
from tinygen.train.options import Options
from tinygen.train.teacher import Teacher

#: One sample of so many is held back, where there are at least `FEWEST`.
HELD_BACK, FEWEST = 5, 10


@dataclass(frozen=True)
class Lot:
    """Samples, the teacher's answers [samples, elements] in real numbers, and labels as one-hot rows (or zeros)."""

    samples: Sequence[Sequence[Array]]
    wanted: Real
    labels: Real

    def batch(self, network: Network, indices: Array) -> tuple[Array, Array, list[Array]]:
        """The teacher's answers, labels, and inputs as `network` takes them, of some samples."""
        wanted, labels = (v[indices].astype(np.float32) for v in (self.wanted, self.labels))
        return wanted, labels, network.inputs([self.samples[int(i)] for i in indices])

    def pieces(self, network: Network, size: int) -> Iterator[tuple[Array, Array, list[Array]]]:
        """All of them, `size` at a time."""
        for start in range(0, len(self.samples), size):
            yield self.batch(network, np.arange(start, min(start + size, len(self.samples))))


def lots(
    teacher: Teacher, samples: Sequence[Sequence[Array]], labels: Array | None, options: Options
) -> tuple[Lot, Lot]:
    """Samples to train with, more made of them, and samples that are held back; with few, all are both."""
    held = np.arange(len(samples)) % HELD_BACK == HELD_BACK - 1
    fit = ~held if len(samples) >= FEWEST else np.ones(len(samples), bool)
    held = held if len(samples) >= FEWEST else fit
    chosen = [[samples[int(i)] for i in np.flatnonzero(mask)] for mask in (fit, held)]
    shares = [_shares(labels, mask, teacher.classes) for mask in (fit, held)]
    more, told = _more(teacher, chosen[0], shares[0], options)
    both = (([*chosen[0], *more], np.concatenate([shares[0], told])), (chosen[1], shares[1]))
    made = [Lot(some, teacher(some), share) for some, share in both]
    return made[0], made[1]


def _shares(labels: Array | None, mask: Array, classes: int) -> Real:
    if labels is None:
        return np.zeros((int(mask.sum()), classes))
    return np.asarray(np.eye(classes)[np.asarray(labels).astype(np.int64)[mask]])


def _more(
    teacher: Teacher, samples: Sequence[Sequence[Array]], shares: Real, options: Options
) -> tuple[list[list[Array]], Real]:
    """Moved copies of `samples` and blends of two, with their labels."""
    rng = np.random.default_rng(options.seed)
    moves = moves_of(samples, teacher.winners) if options.copies and teacher.known else Moves()
    copies = options.copies if moves != Moves() else 0
    moved = [moves.draw(sample, rng) for _ in range(copies) for sample in samples]
    blends, blended = _blends(samples, shares, options.mixes, options.seed)
    return [*moved, *blends], np.concatenate([*[shares] * copies, blended])


def _blends(samples: Sequence[Sequence[Array]], shares: Real, mixes: int, seed: int) -> tuple[list[list[Array]], Real]:
    """Blends of two samples each, and of their labels (H. Zhang et al., mixup, 2018), in the types of inputs."""
    rng, made, labels = np.random.default_rng(seed), list[list[Array]](), [shares[:0]]
    for _ in range(mixes):
        partners, weights = rng.permutation(len(samples)), rng.beta(1.0, 1.0, len(samples))
        for sample, other, weight in zip(samples, partners, weights, strict=True):
            made.append([_blend(a, b, weight) for a, b in zip(sample, samples[other], strict=True)])
        labels.append(weights[:, None] * shares + (1 - weights[:, None]) * shares[partners])
    return made, np.concatenate(labels)


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
