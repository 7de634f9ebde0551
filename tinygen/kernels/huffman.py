# SPDX-License-Identifier: Apache-2.0
"""Canonical Huffman codes of bounded length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.ir.types import Array

#: The longest word, in bits, that the C decoder reads.
LIMIT = 16


@dataclass(frozen=True)
class Code:
    """A canonical code: `symbols` in the order of their words, and `lengths`, the bits of each word, shortest first."""

    symbols: Array
    lengths: Array

    @property
    def shortest(self) -> int:
        """Bits of the shortest word; 1 where there is none."""
        return int(self.lengths[0]) if len(self.lengths) else 1

    @property
    def counts(self) -> Array:
        """How many words have `shortest` bits, one more, and so on."""
        return np.bincount(self.lengths)[self.shortest :]

    @property
    def words(self) -> Array:
        """The words as integers, each one more than the one before, and longer by zeros where its length is."""
        ends = np.cumsum(1 << (LIMIT - self.lengths))
        starts = np.concatenate([[0], ends[:-1]])
        return np.asarray(starts >> (LIMIT - self.lengths))

    @property
    def table_bytes(self) -> int:
        return len(self.counts) + len(self.symbols)


def code_of(symbols: Array, counts: Array) -> Code:
    """The shortest code for `symbols` (at least one, at most 2^16) that occur so often, each at least once."""
    lengths = lengths_of(counts)
    order = np.lexsort((symbols, lengths))
    return Code(symbols[order], lengths[order])


def lengths_of(counts: Array) -> Array:
    """The word lengths of an optimal code with no word longer than `LIMIT`, and none of no bits.

    Package-merge (Larmore and Hirschberg, "A fast algorithm for optimal length-limited Huffman codes", 1990).
    """
    if len(counts) == 1:
        return np.ones(1, np.int64)
    leaves = [(int(count), index) for index, count in enumerate(counts)]
    singles = [(count, np.eye(1, len(counts), index, dtype=np.int64)[0]) for count, index in sorted(leaves)]
    merged = singles
    for _ in range(LIMIT - 1):
        pairs = zip(merged[::2], merged[1::2], strict=False)
        packages = [(a + b, of_a + of_b) for (a, of_a), (b, of_b) in pairs]
        merged = sorted([*singles, *packages], key=lambda item: item[0])
    return np.asarray(sum(used for _, used in merged[: 2 * len(counts) - 2]))


def encode(words: Array, lengths: Array) -> Array:
    """The words one after the other, from the highest bit of each byte on, as uint8."""
    ends = np.cumsum(lengths)
    behind = np.repeat(ends, lengths) - np.arange(ends[-1] if len(ends) else 0) - 1
    return np.packbits((np.repeat(words, lengths) >> behind & 1).astype(np.uint8))
