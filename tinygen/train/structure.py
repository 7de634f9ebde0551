# SPDX-License-Identifier: Apache-2.0
"""What compression made of a layer's weights, read off the int8 values themselves, so that training can keep it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.ir.types import Array

#: Tensors with a larger share of weights that are not 0 count as dense, as in `compress.fitting.solve`; so do those
#: with fewer zeros than so many times the ones or minus ones: few bits round many weights to 0.
DENSE, PEAK = 0.8, 2
#: The most values of a codebook; up to this magnitude, values are steps of a grid of few bits.
ENTRIES, SMALL = 64, 63
#: Integers that weights lie within: TFLite's specification leaves out -128.
TOP = 127


@dataclass(frozen=True)
class Structure:
    """What new weights have to keep.

    They lie within `low` to `high`; where `kept` (a mask of the weights' shape) is False, they are 0 (None: anywhere
    anything). There are at most as many values as `book` [entries] has, which is sorted (None: any number of them).
    """

    low: int
    high: int
    book: Array | None
    kept: Array | None

    def allows(self, values: Array) -> bool:
        """Whether int8 `values` have this structure."""
        within = self.low <= int(values.min()) and int(values.max()) <= self.high
        zeros = self.kept is None or not values[~self.kept].any()
        return within and zeros and (self.book is None or len(np.unique(values)) <= len(self.book))

    @property
    def is_grid_of_few(self) -> bool:
        """Whether the codebook's values are small integers, which leave no room to move them."""
        return self.book is not None and max(-self.low, self.high) <= SMALL

    def __str__(self) -> str:
        zeros = "" if self.kept is None else f", {np.mean(~self.kept):.0%} zeros"
        if self.book is not None:
            return f"{len(self.book)} values{zeros}"
        return f"{_width(self.low, self.high)} bits{zeros}"


def structure_of(values: Array) -> Structure:
    """The structure of int8 `values`.

    Few values are a codebook if an index takes fewer bits than the values do, and the codebook less than that saves;
    otherwise they are all the integers of an interval.
    """
    book = np.unique(values).astype(np.int64)
    low, high = int(book[0]), int(book[-1])
    bits, width = max(1, (len(book) - 1).bit_length()), _width(low, high)
    coded = len(book) <= ENTRIES and bits < width and values.size * (width - bits) > 8 * len(book)
    if max(-low, high) > SMALL:
        low, high = min(low, -TOP), TOP
    kept, beside = values != 0, np.mean(np.abs(values.astype(np.int64)) == 1) / 2
    sparse = kept.mean() <= DENSE and np.mean(~kept) >= PEAK * beside
    return Structure(low, high, book if coded else None, kept if sparse else None)


def _width(low: int, high: int) -> int:
    """Bits of two's complement that hold `low` to `high`."""
    return max(high, -low - 1).bit_length() + 1
