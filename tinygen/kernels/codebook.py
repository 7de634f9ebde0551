# SPDX-License-Identifier: Apache-2.0
"""Weights that have few distinct values: indices into a table of them, one table for each group of output channels.

Han et al., "Deep Compression" (2016), section 3; a table holds what values there are, and may be of any size up to 64.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels import indices
from tinygen.kernels.decoding import indexed
from tinygen.kernels.stored import Fields, Form, unpacked

#: The most values in one table: beyond, an index takes 7 bits.
LEVELS = 64


def pack(rows: Array) -> Fields | None:
    """The fields of ``codebook_t`` with the number of tables that takes fewest bytes."""
    best: tuple[int, int, Array] | None = None
    for size, used in used_by_groups(rows):
        levels = int(used.sum(axis=1).max())
        total = indices.stream_bytes(levels, rows.size) + len(used) * levels
        if levels <= LEVELS and (best is None or total < best[0]):
            best = total, size, used
    return _fields(rows, best[1], best[2]) if best else None


def _fields(rows: Array, group: int, used: Array) -> Fields:
    """The fields for a table for each `group` rows; `used` [groups, 256] says which values, from -128 on, they have."""
    tables, numbers = looked_up(rows, group, used)
    stream = indices.pack(numbers.ravel(), tables.shape[1])
    return {
        **{f"indices.{name}": value for name, value in stream.items()},
        "tables": tables.ravel(),
        "levels": tables.shape[1],
        "group": group,
    }


def looked_up(rows: Array, group: int, used: Array) -> tuple[Array, Array]:
    """Tables int8 [groups, levels], and `rows` as numbers of their values."""
    tables = np.zeros((len(used), int(used.sum(axis=1).max())), np.int8)
    for table, values in zip(tables, used, strict=True):
        table[: values.sum()] = np.flatnonzero(values) - 128
    places = (np.cumsum(used, axis=1) - 1)[np.arange(len(rows)) // group]
    return tables, np.take_along_axis(places, rows.astype(np.int64) + 128, axis=1)


def used_by_groups(rows: Array) -> Iterator[tuple[int, Array]]:
    """Each size of groups of rows, the largest first, and which values, from -128 on, they have: [groups, 256]."""
    present = np.zeros((len(rows), 256), bool)
    np.put_along_axis(present, rows.astype(np.int64) + 128, True, axis=1)
    for size in indices.group_sizes(len(rows)):
        yield size, np.logical_or.reduceat(present, np.arange(0, len(rows), size))


FORM = Form(
    name="codebook",
    pack=pack,
    uses=("common/indices",),
    code={
        "conv_2d": 170,
        "fully_connected": 210,
        "fully_connected_dot": 120,
        "depthwise_conv_2d": 100,
        "transpose_conv": 210,
    },
)
KERNELS = (*unpacked(FORM), *indexed(FORM))
