# SPDX-License-Identifier: Apache-2.0
"""`blocks` of weights for Armv6-M: a filter's blocks times the windows of two pixels, packed as in v6m.py.

The blocks of one filter are widened for a band of windows, each beside the way to its inputs, so that a block times
two pixels, 8 products, takes 21 instructions. In a dense layer, the pairs of a block's weights and of its inputs are
packed 16 bits apart, so that a multiplication has the sum of two products in the middle: two blocks take 39
instructions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels import v6m
from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.channels import folded_bias, output_params
from tinygen.kernels.overlap import in_bands, rows_copied
from tinygen.kernels.sparse import BLOCKS, UNPACKING, stores
from tinygen.kernels.sparse_dsp import blocks_params
from tinygen.kernels.sparse_layouts import BLOCK, FARTHEST
from tinygen.kernels.stored import rows_of
from tinygen.ops.base import Call
from tinygen.ops.convolution import ConvAttrs

#: Bytes of packed windows, roughly: the more windows there are, the more share the widening of filters.
BANDS = (1024, 2048, 4096, 8192)


def accepts(coded: bool, line: bool, call: Call[ConvAttrs]) -> bool:
    return stores(BLOCKS, coded, call) and (v6m.line_accepts if line else v6m.accepts)(call)


def band_of(call: Call[ConvAttrs], most: int) -> int:
    """Output pixels at a time, an even number, whose packed windows take `most` bytes at most, or two."""
    _, out_h, out_w, _ = call.output.shape
    return 2 * max(1, min(most // (4 * int(call.constant(1)[0].size)), -(-out_h * out_w // 2)))


def launch(coded: bool, line: bool, most: int, call: Call[ConvAttrs]) -> Sequence[Launch]:
    (one,) = (v6m.line_launch if line else v6m.launch)(call)
    rows, band = rows_of(call), band_of(call, most)
    blocks, unpacked = blocks_params(coded, rows)
    longest = max(1, int(np.max(blocks["blocks.counts"])) // BLOCK)
    plain = {f"plain.{name}": value for name, value in one.params.items() if name != "weights"}
    scratch = 2 * band * rows.shape[1] + 20 * longest + 4 * band + unpacked + call.input(0).shape[3]
    return (Launch((0,), (0,), {**plain, **blocks, "band": band, "longest": longest}, scratch=scratch),)


def speed(coded: bool, line: bool, most: int, call: Call[ConvAttrs]) -> float:
    """Products, widened blocks (shared by a band), packed windows (shared by the filters), and outputs."""
    rows, band = rows_of(call), band_of(call, most)
    share = BLOCKS.share(rows)
    widened = (100 / rows.shape[1] + (4.5 + v6m.PLAIN_C * UNPACKING * coded) * share) / band
    return float((2.7 * share + widened + 4 / len(rows) + (40 if line else 65) / rows.shape[1]) / v6m.PLAIN_C)


def packed(rows: Array) -> tuple[Array, Array, Array]:
    """Blocks of `rows` [units, depth] as uint32, each weight 128 more, ways between them, and how many."""
    words, ways, counts = list[int](), list[int](), list[int]()
    for row in np.ascontiguousarray(rows).view("<u4").tolist():
        at, before = 0, len(words)
        for place in (place for place, word in enumerate(row) if word):
            while place - at > FARTHEST:
                words.append(0)
                ways.append(FARTHEST)
                at += FARTHEST + 1
            words.append(row[place])
            ways.append(place - at)
            at = place + 1
        fill = 2 if len(words) == before else (len(words) - before) % 2
        words += [0] * fill
        ways += [0] * fill
        counts.append(len(words) - before)
    nibbles = np.array(ways, np.uint8).reshape(-1, 2)
    biased = np.array(words, np.uint32) ^ np.uint32(0x80808080)
    return biased, nibbles[:, 0] | nibbles[:, 1] << 4, np.array(counts, np.uint16)


def dense_accepts(call: Call[Any]) -> bool:
    """No two weights of a block whose products are added in int16 both are -128."""
    if call.op != "FULLY_CONNECTED" or not stores(BLOCKS, False, call):
        return False
    lowest = rows_of(call).reshape(-1, 2, 2) == -128
    return not bool(lowest.all(axis=1).any())


def dense_launch(call: Call[Any]) -> Sequence[Launch]:
    rows = rows_of(call)
    words, gaps, counts = packed(rows)
    units, depth = rows.shape
    params: dict[str, int | float | Array] = {
        "rows": call.input(0).elements // depth,
        "depth": depth,
        "units": units,
        "blocks": words,
        "gaps": gaps,
        "counts": counts,
        **output_params(call, folded_bias(call, rows.astype(np.int64))),
    }
    return (Launch((0,), (0,), params, scratch=4 * depth + 16),)


def dense_speed(call: Call[Any]) -> float:
    """Products, the packed row (shared by the units), and outputs."""
    rows = rows_of(call)
    return float((5 * BLOCKS.share(rows) + 6 / len(rows) + 100 / rows.shape[1]) / v6m.PLAIN_C)


DENSE = Kernel(
    op=("FULLY_CONNECTED",),
    template="fully_connected/v6m_in_blocks",
    launch=dense_launch,
    accepts=dense_accepts,
    uses=("common/requantize", "common/v6m_blocks_dot"),
    requires=frozenset({"v6m"}),
    overlap=rows_copied,
    speed=dense_speed,
    form=BLOCKS.name,
    code=250,
    per_call=50,
)
CONVOLUTIONS = tuple(
    Kernel(
        op=("CONV_2D",),
        template="conv_2d/v6m_in_blocks",
        launch=partial(launch, coded, line, most),
        accepts=partial(accepts, coded, line),
        uses=(
            "common/requantize",
            "common/indices",
            "common/split",
            "common/v6m",
            "conv_2d/v6m",
            "common/blocks",
            "common/v6m_blocks",
        ),
        requires=frozenset({"v6m"}),
        overlap=in_bands,
        speed=partial(speed, coded, line, most),
        form=BLOCKS.name,
        code=450,
        per_call=100,
    )
    for coded in (False, True)
    for line in (True, False)
    for most in BANDS
)
KERNELS = (*CONVOLUTIONS, DENSE)
