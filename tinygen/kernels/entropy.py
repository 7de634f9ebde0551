# SPDX-License-Identifier: Apache-2.0
"""Weights in Huffman codes, with runs of the most common value where that is shorter: for sparse and peaked weights.

Huffman, "A method for the construction of minimum-redundancy codes" (1952); runs and codes for pruned and shared
weights: Han et al., "Deep Compression" (2016), section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels import huffman
from tinygen.kernels.decoding import decoding
from tinygen.kernels.huffman import Code
from tinygen.kernels.stored import Fields, Form, rows_of, unpacked
from tinygen.ops.base import Call

#: Lengths of the longest run that are tried; 0 stands for no runs.
LONGEST = (0, 1, 3, 7, 15, 31, 63, 127)
#: What the decoder spends on each bit, roughly, where it multiplies as it decodes.
INSTRUCTIONS_PER_BIT = 12.0
#: Bytes behind the last word, which the decoder may read.
TAIL = 2


@dataclass(frozen=True)
class Tokens:
    """Weights as the decoder meets them: `runs` of `common` (none if `longest` is 0), and the other `values`.

    `follows` says of each run whether a value follows.
    """

    common: int
    longest: int
    runs: Array
    follows: Array
    values: Array


def tokens(weights: Array, longest: int) -> Tokens:
    """`weights` (flat, int64) with runs of at most `longest` of their most common value."""
    common = int(np.bincount(weights + 128).argmax()) - 128
    if not longest:
        return Tokens(common, 0, np.zeros(0, np.int64), np.zeros(0, bool), weights)
    places = np.flatnonzero(weights != common)
    gaps = np.diff(places, prepend=-1) - 1
    tail = len(weights) - 1 - (places[-1] if len(places) else -1)
    full, rest = np.append(gaps // longest, -(-tail // longest)), np.append(gaps % longest, 0)
    ends = np.cumsum(full + 1) - 1  # the place of each gap's last run, which a value follows
    runs = np.full(ends[-1] + 1, longest)
    runs[ends] = rest
    follows = np.zeros(len(runs), bool)
    follows[ends] = True
    return Tokens(common, longest, runs[:-1], follows[:-1], weights[places])


def pack(rows: Array) -> Fields | None:
    """The fields of ``entropy_t`` with the longest run that takes fewest bytes; None where a table overflows."""
    weights = rows.astype(np.int64).ravel()
    found = [(some, _code(some.runs), _code(some.values)) for some in (tokens(weights, n) for n in LONGEST)]
    some, runs, values = min(found, key=lambda f: _bytes(f[0].runs, f[1]) + _bytes(f[0].values, f[2]))
    if max(runs.counts.max(initial=0), values.counts.max(initial=0)) > 255:
        return None
    stream = np.concatenate([_stream(some, runs, values), np.zeros(TAIL, np.uint8)])
    return {
        "bytes": stream,
        **_table("runs", runs),
        **_table("values", values),
        "common": some.common,
        "longest": some.longest,
    }


def _table(name: str, code: Code) -> dict[str, int | Array]:
    """The fields of ``huffman_t``."""
    return {
        f"{name}.counts": code.counts.astype(np.uint8),
        f"{name}.symbols": code.symbols.astype(np.int8),
        f"{name}.shortest": code.shortest,
    }


def _code(symbols: Array) -> Code:
    """The code for what occurs in `symbols`; one without words where nothing does."""
    distinct, counts = np.unique(symbols, return_counts=True)
    if not len(distinct):
        return Code(np.zeros(0, np.int64), np.zeros(0, np.int64))
    return huffman.code_of(distinct, counts)


def _bytes(symbols: Array, code: Code) -> float:
    """What `symbols` take in `code`, with its table."""
    return float(_lengths(symbols, code).sum()) / 8 + code.table_bytes


def _lengths(symbols: Array, code: Code) -> Array:
    return _looked_up(symbols, code, code.lengths)


def _looked_up(symbols: Array, code: Code, of_code: Array) -> Array:
    """For each of `symbols` its value in `of_code`, which has one for each symbol of the code."""
    table = np.zeros(256, np.int64)
    table[code.symbols + 128] = of_code
    return np.asarray(table[symbols + 128])


def _stream(some: Tokens, runs: Code, values: Code) -> Array:
    """Each run's word, then that of the value which follows it; without runs, the values' words."""
    words, lengths = _looked_up(some.values, values, values.words), _lengths(some.values, values)
    if some.longest:
        at_value = np.zeros(len(some.runs) + len(some.values), bool)
        at_value[np.flatnonzero(some.follows) + 1 + np.arange(len(some.values))] = True
        words, lengths = (
            _interleaved(at_value, of_run, of_value)
            for of_run, of_value in (
                (_looked_up(some.runs, runs, runs.words), words),
                (_lengths(some.runs, runs), lengths),
            )
        )
    return huffman.encode(words, lengths)


def _interleaved(at_value: Array, of_runs: Array, of_values: Array) -> Array:
    """`of_values` where `at_value` says so, `of_runs` elsewhere."""
    mixed = np.zeros(len(at_value), np.int64)
    mixed[at_value], mixed[~at_value] = of_values, of_runs
    return mixed


FORM = Form(
    name="entropy",
    pack=pack,
    code={
        "conv_2d": 340,
        "fully_connected": 310,
        "fully_connected_dot": 220,
        "depthwise_conv_2d": 300,
        "transpose_conv": 360,
    },
    per_call=60,
    unpacking=30.0,
    asked=True,
)


def sparse(stored: Fields, depth: int) -> bool:
    """Whether there are runs of zeros, which a product passes over."""
    return stored["common"] == 0 and int(stored["longest"]) > 0


def speed(call: Call[Any]) -> float:
    """Instructions for each weight, by the bits that it takes."""
    stored = FORM.of(call)
    assert stored is not None, "only what is accepted is asked for its speed"
    return 8.0 * np.size(stored["bytes"]) * INSTRUCTIONS_PER_BIT / rows_of(call).size


KERNELS = (*unpacked(FORM), *decoding(FORM, sparse, speed, "dot", "common/entropy_dot"))
