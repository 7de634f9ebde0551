# SPDX-License-Identifier: Apache-2.0
"""In which order channels can best go, and what each costs the layers that read them.

Optimal Brain Surgeon for blocks of weights (B. Hassibi and D. Stork, 1992; E. Frantar and D. Alistarh, Optimal Brain
Compression, 2022): with the inverse covariance H of a layer's inputs, going without the inputs u costs
w_u (H_uu)^-1 w_u' in each filter w if all others make up for it, and the others move by -w_u (H_uu)^-1 H_u.. The
channel that costs least goes first, and the rest are looked at again, as in ThiNet (J.-H. Luo et al., 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.ir.types import Array, Real


@dataclass
class Reader:
    """A layer that reads the channels in question.

    `weights` [filters, depth] in real numbers; `inverse` [depth, depth] of the inputs' damped covariance; `columns`
    [channels, m] are the inputs that belong to each channel; `worth` is what a unit of squared output error costs.
    """

    weights: Real
    inverse: Real
    columns: Array
    worth: float

    def costs(self, channels: Array) -> Real:
        """What going without each of `channels` costs, alone: [channels]."""
        places = self.columns[channels]
        blocks = self.inverse[places[:, :, None], places[:, None, :]]
        held = self.weights[:, places].transpose(1, 2, 0)
        return self.worth * np.asarray(np.einsum("cmf,cmf->c", held, np.linalg.solve(blocks, held)))

    def remove(self, channel: int) -> None:
        """Let the other inputs make up for those of `channel`."""
        places = self.columns[channel]
        factor = np.linalg.solve(self.inverse[np.ix_(places, places)], self.inverse[places])
        self.weights = self.weights - self.weights[:, places] @ factor
        self.inverse = self.inverse - self.inverse[:, places] @ factor
        self.weights[:, places] = 0.0


@dataclass(frozen=True)
class Order:
    """Channels in the order in which they go, and what each of them costs when it is its turn."""

    channels: tuple[int, ...]
    costs: tuple[float, ...]


def order(readers: Sequence[Reader], count: int, weight: Real, floor: int) -> Order:
    """`count` channels in the order in which they go until `floor` are left; costs times each channel's `weight`."""
    left, gone, costs = np.arange(count), list[int](), list[float]()
    while len(left) > floor:
        cost = sum((reader.costs(left) for reader in readers), np.zeros(len(left))) * weight[left]
        place = int(np.argmin(cost))
        for reader in readers:
            reader.remove(int(left[place]))
        gone.append(int(left[place]))
        costs.append(max(float(cost[place]), 0.0))
        left = np.delete(left, place)
    return Order(tuple(gone), tuple(costs))


def by_magnitude(weight: Real, floor: int) -> Order:
    """Channels by rising order of their filters' magnitudes alone (H. Li et al., 2017)."""
    sequence = np.argsort(weight, kind="stable")[: max(len(weight) - floor, 0)]
    return Order(tuple(map(int, sequence)), tuple(map(float, weight[sequence])))
