# SPDX-License-Identifier: Apache-2.0
"""`blocks` of weights with the DSP extension: a stored block is widened once, and multiplied with widened inputs.

In a convolution, the windows are those of the plain kernel (dsp.py), widened four by four. The blocks of one filter
are widened for a band of windows, each beside the way to its inputs: a block times four windows, 16 products, takes
12.5 instructions. In a dense layer, where a weight is used once, eight blocks take 57 instructions for 32 products.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels import dsp
from tinygen.kernels import sparse_layouts as layouts
from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.conv_2d import is_matrix_product
from tinygen.kernels.overlap import in_bands, rows_copied
from tinygen.kernels.sparse import BLOCKS, UNPACKING, stores
from tinygen.kernels.stored import rows_of
from tinygen.ops.base import Call
from tinygen.ops.convolution import ConvAttrs

#: Windows that are interleaved.
GROUP = 4
#: Bytes before the first distance, which the dense kernel may read.
BEFORE = 3
Params = dict[str, int | float | Array]


def blocks_params(coded: bool, rows: Array) -> tuple[Params, int]:
    """The fields of `blocks_t`, and the bytes of scratch memory for the weights of a row that are coded."""
    stored = layouts.blocks(rows)
    unpacked = max(8, -(-int(stored.counts.max()) // 8) * 8) if coded else 0
    weights = layouts.coded(stored) if coded else {"words": stored.values.view("<i4")}
    gaps = np.concatenate([np.zeros(BEFORE, np.uint8), np.asarray(stored.fields["gaps"])])
    params = {"coded": unpacked, **weights, "gaps": gaps, "counts": stored.fields["counts"]}
    return {f"blocks.{name}": value for name, value in params.items()}, unpacked


def accepts(coded: bool, call: Call[ConvAttrs]) -> bool:
    """No run of a window is filled up, so that blocks stand in it as they do in a filter."""
    return stores(BLOCKS, coded, call) and dsp.accepts(call) and dsp.windows_params(call)["excess"] == 0


def launch(coded: bool, most: int, call: Call[ConvAttrs]) -> Sequence[Launch]:
    (one,) = dsp.launch(call, most, GROUP)
    blocks, unpacked = blocks_params(coded, rows_of(call))
    plain = {f"plain.{name}": value for name, value in one.params.items() if name != "weights"}
    return (Launch((0,), (0,), {**plain, **blocks}, scratch=one.scratch + unpacked),)


def speed(coded: bool, most: int, call: Call[ConvAttrs]) -> float:
    """Products, widened blocks (shared by a band), widened windows (shared by the filters), and outputs."""
    rows, band = rows_of(call), dsp.band_of(call, most, GROUP)
    share = BLOCKS.share(rows)
    widened = (2.5 + UNPACKING * coded) * share + 50 / rows.shape[1]
    return float(0.79 * share + widened / band + 1.2 / len(rows) + 11 / rows.shape[1])


def dense_accepts(coded: bool, call: Call[Any]) -> bool:
    matrix = call.op == "FULLY_CONNECTED" or is_matrix_product(call)
    return matrix and stores(BLOCKS, coded, call) and dsp.rounds_down(call)


def dense_launch(coded: bool, call: Call[Any]) -> Sequence[Launch]:
    rows = rows_of(call)
    blocks, unpacked = blocks_params(coded, rows)
    units, depth = rows.shape
    params: Params = {
        "rows": call.input(0).elements // depth,
        "depth": depth,
        "units": units,
        **blocks,
        **dsp.down_params(call, rows),
    }
    return (Launch((0,), (0,), params, scratch=2 * depth + unpacked),)


def dense_speed(coded: bool, call: Call[Any]) -> float:
    rows = rows_of(call)
    return float((1.8 + UNPACKING * coded) * BLOCKS.share(rows) + 2 / len(rows) + 30 / rows.shape[1])


def convolution(coded: bool, most: int) -> Kernel:
    """CONV_2D with about `most` bytes of widened windows."""
    return Kernel(
        op=("CONV_2D",),
        template="conv_2d/dsp_blocks",
        launch=partial(launch, coded, most),
        accepts=partial(accepts, coded),
        uses=(
            *dsp.USES,
            "conv_2d/dsp",
            "common/indices",
            "common/blocks",
            "common/dsp_blocks_widen",
            "common/dsp_blocks",
        ),
        requires=frozenset({"dsp"}),
        overlap=in_bands,
        speed=partial(speed, coded, most),
        form=BLOCKS.name,
        code=450,
        per_call=150,
    )


KERNELS = tuple(
    kernel
    for coded in (False, True)
    for kernel in (
        *(convolution(coded, most) for most in dsp.BANDS),
        Kernel(
            op=("CONV_2D", "FULLY_CONNECTED"),
            template="sparse/dsp_blocks",
            launch=partial(dense_launch, coded),
            accepts=partial(dense_accepts, coded),
            uses=(
                "common/requantize",
                "common/indices",
                "common/dsp",
                "common/down",
                "common/blocks",
                "common/dsp_blocks_dot",
            ),
            requires=frozenset({"dsp"}),
            overlap=rows_copied,
            speed=partial(dense_speed, coded),
            form=BLOCKS.name,
            code=250,
            per_call=150,
        ),
    )
)
