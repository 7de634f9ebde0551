# SPDX-License-Identifier: Apache-2.0
"""CONV_2D and FULLY_CONNECTED with the DSP extension where weights are small numbers.

A codebook of up to 16 values: a byte holds the numbers of two weights, and a table in scratch memory has, for each
byte, both weights as a pair of int16. In a dense layer, two loads and one SMLAD make two products, where int8 weights
take two and a half instructions. A convolution takes the pairs of two filters out of the table for each band of windows
(dsp.py), instead of widening int8 weights.

Numbers of 4 or 2 bits on a grid, in dense layers: AND takes pairs of them out of a word, and the grid's lowest value
and step are applied to the sums, so that nothing is looked up at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels import codebook, dsp, packed
from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.numbers import FOUR, dense_params, of_dense, tables
from tinygen.kernels.overlap import in_bands, rows_copied
from tinygen.kernels.stored import Form, rows_of
from tinygen.ops import all_ops
from tinygen.ops.base import Call
from tinygen.ops.convolution import ConvAttrs

#: Weights for each table, at least: fewer do not pay for making it.
WEIGHTS = 2048
Params = dict[str, int | float | Array]


def in_pairs(numbers: Array, bits: int, word: int, least: int = 8) -> Array:
    """`numbers` uint8 [units, depth] as words of `word` bits: [units, words].

    Each half of a word holds one number of each pair, in the order of `widen` (``templates/kernels/common/dsp.c.j2``):
    0 and 2, 1 and 3, 4 and 6 … Zeros fill up each unit to a multiple of `least` weights, and of a word.
    """
    each = max(least, word // bits)
    padded = np.pad(numbers, ((0, 0), (0, -numbers.shape[1] % each)))
    low, high = np.moveaxis(padded.reshape(len(numbers), -1, 2, 2), 2, 0).reshape(2, len(numbers), -1)
    halves = np.stack([some.reshape(len(numbers), -1, word // 2 // bits) for some in (low, high)])
    shifted = halves.astype(np.uint64) << (bits * np.arange(halves.shape[-1])).astype(np.uint64)
    low, high = shifted.sum(axis=-1, dtype=np.uint64)
    return np.asarray(low | high << np.uint64(word // 2))


def accepts(call: Call[Any]) -> bool:
    if not dsp.dense_accepts(call):
        return False
    found = tables(call.constant(1))
    return found is not None and len(found[1]) * WEIGHTS <= call.constant(1).size


def launch(call: Call[Any]) -> Sequence[Launch]:
    def pairs(numbers: Array) -> Array:
        return in_pairs(numbers, 4, 8).astype(np.uint8)

    stream = pairs(of_dense(call)[2]).shape[1]
    params = {**dense_params(call, pairs), "bytes": stream, **dsp.down_params(call, call.constant(1))}
    return (Launch((0,), (0,), params, scratch=4 * 256 + 4 * stream),)


def speed(call: Call[Any]) -> float:
    values = of_dense(call)[1]
    return float(1.75 + 5 * values.shape[1] * values.size / call.constant(1).size)


def conv_accepts(form: Form, call: Call[ConvAttrs]) -> bool:
    """One table serves all filters; no run of a window is filled up, as no number stands for 0."""
    if not dsp.accepts(call) or form.of(call) is None or dsp.windows_params(call)["excess"]:
        return False
    found = tables(rows_of(call))
    return found is not None and len(found[1]) == 1 and call.constant(1).size >= WEIGHTS


def conv_launch(most: int, call: Call[ConvAttrs]) -> Sequence[Launch]:
    (one,), rows, windows = dsp.launch(call, most), rows_of(call), dsp.windows_params(call)
    found = tables(rows)
    assert found is not None, "only what is accepted is launched"
    _, values, numbers = found
    runs = numbers.reshape(-1, windows["taps"] * windows["depth"])
    stream = in_pairs(runs, 4, 8, least=FOUR).astype(np.uint8).reshape(len(rows), -1)
    params: Params = {
        **{f"plain.{name}": value for name, value in one.params.items() if name != "weights"},
        "levels": values.shape[1],
        "bytes": stream.shape[1],
        "weights": stream.ravel(),
        "table": values.ravel(),
    }
    return (Launch((0,), (0,), params, scratch=one.scratch + 4 * 256),)


def conv_speed(most: int, call: Call[ConvAttrs]) -> float:
    return dsp.speed(call, most) + 1200 / all_ops()[call.op].macs(call)


def bits_of(weights: Array) -> int:
    """Bits of numbers on a grid for each unit; 0 where there is none of so few."""
    _, _, levels = packed.grids(weights.astype(np.int64), 1)
    return 2 if levels <= 4 else 4 if levels <= 16 else 0


def grid_accepts(call: Call[Any]) -> bool:
    """An even number of units, and sums of numbers times steps that fit int32."""
    if not dsp.dense_accepts(call):
        return False
    units, depth = call.input(1).shape
    return units % 2 == 0 and depth <= 2**15 and bits_of(call.constant(1)) > 0


def grid_launch(call: Call[Any]) -> Sequence[Launch]:
    weights = call.constant(1)
    units, depth = weights.shape
    bits = bits_of(weights)
    low, step, _ = packed.grids(weights.astype(np.int64), 1)
    words = in_pairs((weights - low[:, None]) // step[:, None], bits, 32)
    params: Params = {
        "rows": call.input(0).elements // depth,
        "depth": depth,
        "units": units,
        "bits": bits,
        "words": words.shape[1],
        "weights": words.astype(np.uint32).ravel(),
        **grid_params(low, step),
        **dsp.down_params(call, weights),
    }
    return (Launch((0,), (0,), params, scratch=64 * words.shape[1] // bits),)


def grid_params(low: Array, step: Array) -> Params:
    """The grids, of which one is enough where all are alike."""
    same = len(np.unique(low)) == len(np.unique(step)) == 1
    count = 1 if same else len(low)
    return {"grid_step": int(not same), "low": low[:count].astype(np.int8), "step": step[:count].astype(np.uint8)}


USES = ("common/requantize", "common/dsp", "common/down")


def convolution(form: Form, most: int) -> Kernel:
    """CONV_2D with about `most` bytes of widened windows."""
    return Kernel(
        op=("CONV_2D",),
        template="conv_2d/dsp_pairs",
        launch=partial(conv_launch, most),
        accepts=partial(conv_accepts, form),
        uses=(*dsp.USES, "conv_2d/dsp", "common/dsp_pairs"),
        requires=frozenset({"dsp"}),
        overlap=in_bands,
        speed=partial(conv_speed, most),
        form=form.name,
        code=250,
        per_call=form.per_call,
    )


KERNELS = (
    *(convolution(form, most) for form in (codebook.FORM, packed.FORM) for most in dsp.BANDS),
    Kernel(
        op=("FULLY_CONNECTED",),
        template="fully_connected/dsp_codebook",
        launch=launch,
        accepts=accepts,
        uses=(*USES, "common/dsp_pairs", "common/dsp_codebook_rows"),
        requires=frozenset({"dsp"}),
        overlap=rows_copied,
        speed=speed,
        form=codebook.FORM.name,
        code=200,
        per_call=codebook.FORM.per_call,
    ),
    Kernel(
        op=("FULLY_CONNECTED",),
        template="fully_connected/dsp_packed",
        launch=grid_launch,
        accepts=grid_accepts,
        uses=(*USES, "common/dsp_packed_rows"),
        requires=frozenset({"dsp"}),
        overlap=rows_copied,
        speed=1.5,
        form=packed.FORM.name,
        code=250,
        per_call=packed.FORM.per_call,
    ),
)
