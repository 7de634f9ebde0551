# SPDX-License-Identifier: Apache-2.0
"""`blocks` of weights with vectors (MVE): a load gathers four blocks of inputs, by the places of four stored blocks.

Four rows of inputs, or windows, share the loads of places and weights, so that 64 products take 11 instructions, where
int8 weights take nine, zeros included. So do four units of a dense layer that have their blocks in the same places;
where they do not, 16 products take five. A core may take more cycles for a gathering load than for others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels import mve
from tinygen.kernels.base import Kernel, Launch, apart
from tinygen.kernels.channels import folded_bias
from tinygen.kernels.conv_2d import is_matrix_product
from tinygen.kernels.overlap import four_units, in_bands, units_of_blocks
from tinygen.kernels.sparse import BLOCKS, stores
from tinygen.kernels.sparse_layouts import BLOCK
from tinygen.kernels.stored import rows_of
from tinygen.ops.base import Call
from tinygen.ops.convolution import ConvAttrs

#: Rows of inputs at a time, and blocks that a vector holds.
FOUR = 4
#: The longest filter whose places fit bytes.
LONGEST = 256 * BLOCK
#: Filters at a time, at most; bytes of scratch memory for each of them and one more, with pointers of 8 bytes.
PART, FILTER_BYTES = 64, 40


def packed(rows: Array) -> tuple[Array, Array]:
    """The blocks of `rows` [filters, size] as words of ``mve_blocks_t``, and their numbers."""
    blocks = np.ascontiguousarray(rows).view("<i4")
    words, counts = [np.zeros(0, np.int32)], []
    for row in blocks:
        (places,) = np.nonzero(row)
        counts.append(len(places))
        for start in range(0, len(places), FOUR):
            four = places[start : start + FOUR].astype(np.uint8)
            words += [np.pad(four, (0, FOUR - len(four))).view("<i4"), row[four]]
    return np.concatenate(words).astype(np.int32), np.array(counts, np.uint16)


def blocks_params(call: Call[Any]) -> mve.Params:
    """The fields of ``mve_blocks_t``, of a member called ``matrix``."""
    rows = rows_of(call)
    words, counts = packed(rows)
    filters, size = rows.shape
    params = {"filters": filters, "size": size, "part": min(filters, PART), "blocks": words, "counts": counts}
    bias = folded_bias(call, rows.astype(np.int64))
    return {**{f"matrix.{name}": v for name, v in params.items()}, **mve.output_params(call, bias, "matrix.output")}


def room(call: Call[Any]) -> int:
    """Bytes of scratch memory for filters, a multiple of 8."""
    return FILTER_BYTES * (min(len(rows_of(call)), PART) + 1)


def fits(call: Call[Any]) -> bool:
    return stores(BLOCKS, False, call) and mve.rounds_down(call) and rows_of(call).shape[1] <= LONGEST


def matrix_accepts(call: Call[Any]) -> bool:
    return fits(call) and (call.op == "FULLY_CONNECTED" or is_matrix_product(call))


def matrix_launch(call: Call[Any]) -> Sequence[Launch]:
    rows = call.input(0).elements // call.input(1).shape[-1]
    return (Launch((0,), (0,), {"rows": rows, **blocks_params(call)}, scratch=room(call)),)


def accepts(call: Call[ConvAttrs]) -> bool:
    return fits(call) and mve.accepts(call)


def launch(call: Call[ConvAttrs]) -> Sequence[Launch]:
    windows = mve.windows_params(call, FOUR)
    scratch = room(call) + int(windows["band"]) * rows_of(call).shape[1]
    return (Launch((0,), (0,), {**windows, **blocks_params(call)}, scratch=scratch),)


def groups(rows: Array) -> int:
    """Groups of four blocks, each filter's last one filled up."""
    return int((-(-packed(rows)[1].astype(np.int64) // FOUR)).sum())


def matrix_speed(call: Call[Any]) -> float:
    """Groups of four blocks, outputs, and what is done once for each filter, for each weight."""
    rows, pixels = rows_of(call), call.output.elements // len(rows_of(call))
    fours = -(-pixels // FOUR)
    return float((fours * (11 * groups(rows) + 17 * len(rows)) + 25 * len(rows)) / (pixels * rows.size))


def speed(call: Call[ConvAttrs]) -> float:
    """`matrix_speed` and windows."""
    rows = rows_of(call)
    return float(matrix_speed(call) + (12 * call.input(1).shape[1] + rows.shape[1] / 5) / rows.size)


def dense_accepts(call: Call[Any]) -> bool:
    return fits(call) and call.op == "FULLY_CONNECTED"


def dense_launch(call: Call[Any]) -> Sequence[Launch]:
    rows = call.input(0).elements // call.input(1).shape[-1]
    return (Launch((0,), (0,), {"rows": rows, **blocks_params(call)}),)


def dense_speed(call: Call[Any]) -> float:
    """Groups of four blocks, what is done once for each of them, and outputs."""
    rows = rows_of(call)
    return (5 * groups(rows) + 20 * len(rows)) / rows.size


def tiles(rows: Array) -> Array:
    """The numbers of blocks that are not all 0 in one of four units: bool [units / 4, size / 4]."""
    blocks = rows.reshape(len(rows), -1, BLOCK).any(axis=2)
    fours = np.pad(blocks, ((0, -len(rows) % FOUR), (0, 0))).reshape(-1, FOUR, blocks.shape[1])
    return np.asarray(fours.any(axis=1))


def packed_tiles(rows: Array) -> tuple[Array, Array]:
    """The blocks of `rows` [units, size] as words of ``fully_connected_mve_tiles_t``, and their groups of four."""
    blocks = np.pad(rows, ((0, -len(rows) % FOUR), (0, 0)), mode="edge").view("<i4")
    words, counts = [np.zeros(0, np.int32)], []
    for kept, units in zip(tiles(rows), blocks.reshape(-1, FOUR, blocks.shape[1]), strict=True):
        (places,) = np.nonzero(kept)
        stored = np.pad(units[:, places], ((0, 0), (0, -len(places) % FOUR))).reshape(FOUR, -1, FOUR)
        bytes_of = np.pad(places.astype(np.uint8), (0, -len(places) % FOUR)).view("<i4")
        words.append(np.column_stack([bytes_of, stored.transpose(1, 0, 2).reshape(-1, FOUR * FOUR)]).ravel())
        counts.append(len(bytes_of))
    return np.concatenate(words).astype(np.int32), np.array(counts, np.uint16)


def tiles_accept(call: Call[Any]) -> bool:
    return dense_accepts(call) and bool(tiles(rows_of(call)).mean() <= BLOCKS.limit)


def tiles_launch(call: Call[Any]) -> Sequence[Launch]:
    rows = rows_of(call)
    words, counts = packed_tiles(rows)
    units, depth = rows.shape
    params: mve.Params = {
        "rows": call.input(0).elements // depth,
        "depth": depth,
        "units": units,
        "tiles": words,
        "groups": counts,
        **mve.output_params(call, folded_bias(call, rows.astype(np.int64)), "output"),
    }
    return (Launch((0,), (0,), params),)


def tiles_speed(call: Call[Any]) -> float:
    """Groups of four tiles, and outputs."""
    kept, rows = tiles(rows_of(call)), rows_of(call)
    fours = -(-np.count_nonzero(kept, axis=1) // FOUR)
    return float((11 * fours.sum() + 27 * len(kept)) / rows.size)


USES = (*mve.VECTORS, "common/mve_blocks", "common/mve_blocks_rows")
of_blocks = partial(Kernel, requires=frozenset({"mve"}), form=BLOCKS.name)
KERNELS = (
    of_blocks(
        op=("CONV_2D", "FULLY_CONNECTED"),
        template="sparse/mve_blocks",
        launch=matrix_launch,
        accepts=matrix_accepts,
        uses=USES,
        overlap=apart,
        speed=matrix_speed,
        code=350,
        per_call=100,
    ),
    of_blocks(
        op=("CONV_2D",),
        template="conv_2d/mve_in_blocks",
        launch=launch,
        accepts=accepts,
        uses=(*USES, "common/mve_copy", "common/mve_windows"),
        overlap=in_bands,
        speed=speed,
        code=500,
        per_call=150,
    ),
    of_blocks(
        op=("FULLY_CONNECTED",),
        template="fully_connected/mve_tiles",
        launch=tiles_launch,
        accepts=tiles_accept,
        uses=(*mve.VECTORS, "common/mve_channels", "common/mve_tiles"),
        overlap=four_units,
        speed=tiles_speed,
        code=200,
        per_call=50,
    ),
    of_blocks(
        op=("FULLY_CONNECTED",),
        template="fully_connected/mve_in_blocks",
        launch=dense_launch,
        accepts=dense_accepts,
        uses=(*mve.VECTORS, "common/mve_channels", "common/mve_blocks", "common/mve_blocks_dot"),
        overlap=units_of_blocks,
        speed=dense_speed,
        code=300,
        per_call=50,
    ),
)
