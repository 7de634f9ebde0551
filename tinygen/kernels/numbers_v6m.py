# SPDX-License-Identifier: Apache-2.0
"""FULLY_CONNECTED for Armv6-M with up to 16 values of weights, also on a grid: they are looked up in two tables.

A byte holds the numbers of two neighbouring weights. In scratch memory, one table has, for each byte, the first weight,
another the second, so that two products take seven instructions; four units share the loads of activations.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels import codebook, numbers, packed, v6m
from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.channels import output_params
from tinygen.kernels.overlap import rows_copied
from tinygen.kernels.stored import Form
from tinygen.ops.base import Call

#: Weights of a unit at a time.
STEP = 8


def accepts(form: Form, call: Call[Any]) -> bool:
    return v6m.dense_accepts(call) and form.of(call) is not None and numbers.tables(call.constant(1)) is not None


def in_pairs(of_weights: Array) -> Array:
    """Numbers uint8 [units, depth] as bytes [units / 4, depth / 2, 4], of neighbours the first in the lower half."""
    four = numbers.in_fours(of_weights, STEP)
    pairs = four.reshape(len(four), numbers.FOUR, -1, 2).transpose(3, 0, 2, 1)
    return np.asarray(pairs[0] | pairs[1] << 4)


def launch(call: Call[Any]) -> Sequence[Launch]:
    eights = -(-call.input(1).shape[1] // STEP) * STEP
    params = {
        **numbers.dense_params(call, in_pairs),
        "eights": eights,
        **output_params(call, v6m.dense_bias(call)),
    }
    return (Launch((0,), (0,), params, scratch=numbers.TABLES + eights),)


def speed(call: Call[Any]) -> float:
    """Of the 45 instructions for each value of a table, all units share one or a few."""
    return float((3.9 + 45 * numbers.of_dense(call)[1].size / call.constant(1).size) / v6m.PLAIN_C)


KERNELS = tuple(
    Kernel(
        op=("FULLY_CONNECTED",),
        template="fully_connected/v6m_gathered",
        launch=launch,
        accepts=partial(accepts, form),
        uses=("common/requantize", "common/v6m_gathered"),
        requires=frozenset({"v6m"}),
        overlap=rows_copied,
        speed=speed,
        form=form.name,
        code=250,
        per_call=form.per_call,
    )
    for form in (codebook.FORM, packed.FORM)
)
