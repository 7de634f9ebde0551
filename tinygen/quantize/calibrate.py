"""What values the tensors of a float graph take on the user's samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.errors import ModelError, UsageError
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array, Real
from tinygen.quantize.groups import Groups
from tinygen.reference import run_real

#: No number in a model that is of use is larger; products of three such still fit float32.
LARGEST = 1e12
#: Bins of the histograms.
BINS = 2048


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


def calibrate(groups: Groups, samples: Sequence[Sequence[Array]]) -> Mapping[str, Statistics]:
    """Statistics of each group over all `samples`, which run twice: for the extremes, then for the histograms.

    One sample's tensors are held at a time. Raises `UsageError` where a sample gives no finite numbers.
    """
    graph = groups.graph
    names = [n for n in groups.of if n not in graph.constants]
    limits: dict[str, tuple[float, float]] = {}
    for index, sample in enumerate(samples):
        values = run_real(graph, sample)
        for name in names:
            low, high = float(values[name].min()), float(values[name].max())
            if not max(abs(low), abs(high)) <= LARGEST:
                raise UsageError(
                    f"calibration sample {index} gives numbers that are not finite, or beyond {LARGEST:g}, at tensor "
                    f"'{name}': check the sample, and the model's weights"
                )
            before = limits.get(groups.of[name], (low, high))
            limits[groups.of[name]] = (min(low, before[0]), max(high, before[1]))
    counts = {group: np.zeros(BINS) for group in limits}
    for sample in samples:
        values = run_real(graph, sample)
        for name in names:
            group = groups.of[name]
            counts[group] += np.histogram(values[name], BINS, _apart(*limits[group]))[0]
    return {group: Statistics(*_apart(*limits[group]), counts[group]) for group in limits}


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
