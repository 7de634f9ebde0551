# SPDX-License-Identifier: Apache-2.0
"""What values the tensors of a float graph take on the user's samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.batch import pieces
from tinygen.errors import ModelError, UsageError
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array, Real
from tinygen.quantize.groups import Groups

#: No number in a model that is of use is larger; products of three such still fit float32.
LARGEST = 1e12
#: Bins of the histograms, and values of a tensor that they count, over all samples.
BINS, COUNTED = 2048, 1 << 19


@dataclass(frozen=True)
class Statistics:
    """The values of a group of tensors: their extremes, and how many lie in each of `BINS` equal bins between them."""

    low: float
    high: float
    counts: Real

    @property
    def centres(self) -> Real:
        """The middle of each bin."""
        width = (self.high - self.low) / len(self.counts)
        return np.asarray(self.low + width * (np.arange(len(self.counts)) + 0.5), np.float64)


@dataclass(frozen=True)
class Seen:
    """What a group of tensors held on each sample: the extremes [samples], and some of the values [samples, values]."""

    low: Real
    high: Real
    values: Array

    def statistics(self, chosen: slice) -> Statistics:
        """Those over the `chosen` samples."""
        low, high = _apart(float(self.low[chosen].min()), float(self.high[chosen].max()))
        bins = ((self.values[chosen].ravel() - low) * (BINS / (high - low))).astype(np.int64)
        counts = np.bincount(np.clip(bins, 0, BINS - 1), minlength=BINS)
        return Statistics(low, high, counts.astype(np.float64))


def calibrate(groups: Groups, samples: Sequence[Sequence[Array]]) -> Mapping[str, Seen]:
    """What each group holds on `samples`, which run once; of large tensors, values at random places.

    Raises `UsageError` where a sample gives no finite numbers.
    """
    members: dict[str, list[list[Array]]] = {}
    names = [n for n in groups.of if n not in groups.graph.constants]
    rng, count = np.random.default_rng(0), max(16, COUNTED // len(samples))
    for first, values in pieces(groups.graph, samples):
        for name in names:
            flat = values[name].reshape(len(values[name]), -1)
            low, high = flat.min(axis=1), flat.max(axis=1)
            if not max(np.abs(low).max(), np.abs(high).max()) <= LARGEST:
                raise _not_finite(name, flat, first)
            if flat.shape[1] > count:
                flat = flat[:, rng.integers(flat.shape[1], size=count)]
            members.setdefault(name, []).append([low, high, flat.astype(np.float32)])
    found: dict[str, list[Array]] = {}
    for name in names:
        low, high, flat = (np.concatenate(parts) for parts in zip(*members.pop(name), strict=True))
        if (group := groups.of[name]) in found:
            before = found[group]
            low, high = np.minimum(low, before[0]), np.maximum(high, before[1])
            flat = np.concatenate([before[2], flat], axis=1)
        found[group] = [low, high, flat]
    return {group: Seen(*parts) for group, parts in found.items()}


def _not_finite(name: str, values: Array, first: int) -> UsageError:
    """`values` [samples, elements]; `first`: the number of the first sample."""
    wrong = [i for i, value in enumerate(values) if not np.all(np.abs(value) <= LARGEST)]
    return UsageError(
        f"calibration sample {first + wrong[0]} gives numbers that are not finite, or beyond {LARGEST:g}, at tensor "
        f"'{name}': check the sample, and the model's weights"
    )


def _apart(low: float, high: float) -> tuple[float, float]:
    """An interval of some width around constant values."""
    return (low, high) if high - low > 1e-9 * max(abs(low), abs(high), 1e-9) else (low - 1e-9, high + 1e-9)


def check_constants(graph: Graph) -> None:
    """Raise `ModelError` unless all float constants are finite, and none is beyond `LARGEST`."""
    for name, value in graph.constants.items():
        if value.dtype.kind == "f" and not np.all(np.abs(value) <= LARGEST):
            raise ModelError(f"tensor '{name}' holds weights that are not finite, or beyond {LARGEST:g}: train again")


def check_samples(graph: Graph, samples: Sequence[Sequence[Array]]) -> None:
    """Raise `UsageError` unless there are samples, each with an array of the right shape for each input of `graph`."""
    if not samples:
        raise UsageError("calibration: there are no samples; pass at least one, better a hundred")
    for index, sample in enumerate(samples):
        if len(sample) != len(graph.inputs):
            raise UsageError(
                f"calibration sample {index} has {len(sample)} arrays, the model {len(graph.inputs)} inputs"
            )
        for name, value in zip(graph.inputs, sample, strict=True):
            if np.shape(value) != graph.types[name].shape:
                raise UsageError(
                    f"calibration sample {index} has shape {list(np.shape(value))} for input '{name}', expected "
                    f"{list(graph.types[name].shape)}"
                )
