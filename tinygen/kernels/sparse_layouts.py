# SPDX-License-Identifier: Apache-2.0
"""Which weights of a matrix [filters, depth] are stored, and how their places are: see templates/kernels/sparse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels import indices

#: The longest distance that four bits tell.
FARTHEST = 15
#: Neighbouring weights of a block (`blocks`), and of a group of which some are stored (`n_of_m`).
BLOCK, GROUP = 4, 4


@dataclass(frozen=True)
class Stored:
    """`values` int8, filter after filter; `counts` of each filter; the kernel's fields that say where they stand."""

    values: Array
    counts: Array
    fields: Mapping[str, int | float | Array]


def bitmap(rows: Array) -> Stored:
    """The weights that are not 0."""
    kept = rows != 0
    mask = np.packbits(kept, axis=1, bitorder="little")
    counts = kept.sum(axis=1)
    return Stored(rows[kept], counts, {"mask_bytes": mask.shape[1], "mask": mask.ravel(), "counts": _counts(counts)})


def gaps(rows: Array, block: int = 1) -> Stored:
    """Blocks that are not all 0, with their distances; blocks of zeros where distances are too long or one is odd."""
    blocks = rows.reshape(len(rows), -1, block)
    values, nibbles = [], []
    for row in blocks:
        places = _places(np.flatnonzero(row.any(axis=1)))
        nibbles.append(np.diff(places, prepend=0))
        # a place that is named twice: the block itself comes last
        repeated = np.append(places[1:] == places[:-1], False)
        values.append(np.where(repeated[:, None], 0, row[places]))
    counts = np.array([len(v) for v in values]) * block
    flat = np.concatenate(nibbles).astype(np.uint8).reshape(-1, 2)
    packed = flat[:, 0] | flat[:, 1] << 4
    return Stored(np.concatenate(values).ravel(), counts, {"gaps": packed, "counts": _counts(counts)})


def _places(kept: Array) -> Array:
    """`kept`, indices that grow, with others between them so that none is farther than `FARTHEST`; an even number.

    Where the number was odd, the last is there twice.
    """
    distances = np.diff(kept, prepend=0)
    extra = np.maximum(distances - 1, 0) // FARTHEST
    steps = [[FARTHEST] * n + [d - FARTHEST * n] for d, n in zip(distances.tolist(), extra.tolist(), strict=True)]
    places = np.cumsum(np.array([s for some in steps for s in some], np.int64))
    return np.append(places, places[-1:]) if len(places) % 2 else places


def blocks(rows: Array) -> Stored:
    """As `gaps`, of `BLOCK` neighbours each."""
    return gaps(rows, BLOCK)


def n_of_m(rows: Array) -> Stored:
    """Of each `GROUP` neighbours, as many as the group with most has; zeros fill the others."""
    groups = in_groups(rows)
    n = most(rows)
    places = np.argsort(groups == 0, axis=2, kind="stable")[:, :, :n]
    values = np.take_along_axis(groups, places, axis=2).reshape(len(rows), -1)
    places = np.where(values == 0, 0, places.reshape(values.shape)).astype(np.uint8)
    count = values.shape[1]
    four = np.pad(places, ((0, 0), (0, -count % 4))).reshape(len(rows), -1, 4)
    packed = four[..., 0] | four[..., 1] << 2 | four[..., 2] << 4 | four[..., 3] << 6
    fields: dict[str, int | float | Array] = {"count": count, "hop": GROUP if n == 1 else 0, "places": packed.ravel()}
    return Stored(values.ravel(), np.full(len(rows), count), fields)


def coded(stored: Stored) -> dict[str, int | Array]:
    """The fields of values as indices into a table, in the order of the filters."""
    table, codes = np.unique(stored.values, return_inverse=True)
    stream = indices.pack(codes.ravel(), max(1, len(table)))
    return {**{f"codes.{name}": value for name, value in stream.items()}, "values": table.astype(np.int8)}


def density(rows: Array) -> float:
    """The share of weights that are not 0."""
    return np.count_nonzero(rows) / rows.size


def density_of_blocks(rows: Array) -> float:
    """The share of blocks that are not all 0; 1 where blocks are not whole."""
    return 1.0 if rows.shape[1] % BLOCK else float(rows.reshape(-1, BLOCK).any(axis=1).mean())


def share_of_groups(rows: Array) -> float:
    """The share of weights that `n_of_m` stores."""
    return most(rows) / GROUP


def in_groups(rows: Array) -> Array:
    """`rows` as [filters, groups, GROUP]; zeros fill the last group."""
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % GROUP))).reshape(len(rows), -1, GROUP)


def most(rows: Array) -> int:
    """How many of `GROUP` neighbours are not 0, at most, and at least 1."""
    return max(1, int((in_groups(rows) != 0).sum(axis=2).max()))


def _counts(counts: Array) -> Array:
    if counts.max(initial=0) >= 2**16:
        raise OverflowError("a filter has too many weights")
    return counts.astype(np.uint16)
