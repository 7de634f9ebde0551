# SPDX-License-Identifier: Apache-2.0
"""FULLY_CONNECTED with vectors (MVE) and up to 16 values of weights, also on a grid: they are gathered from tables.

A byte holds the numbers of two weights, 16 apart. In scratch memory, one table has, for each byte, the first weight,
another the second; four units share a load of the input, so that 128 products take 23 instructions, where int8 weights
take 20. A core may take more cycles for a gathering load than for others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels import codebook, mve, numbers, packed
from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.channels import folded_bias
from tinygen.kernels.overlap import rows_copied
from tinygen.kernels.stored import Form
from tinygen.ops.base import Call

#: Weights of a unit at a time, and of each half of the bytes that hold them.
STEP, HALF = 32, 16


def accepts(form: Form, call: Call[Any]) -> bool:
    return mve.dense_accepts(call) and form.of(call) is not None and numbers.tables(call.constant(1)) is not None


def by_steps(of_weights: Array) -> Array:
    """Numbers uint8 [units, depth] as bytes [units / 4, steps, 4, 16]."""
    four = numbers.in_fours(of_weights, STEP)
    halves = four.reshape(*four.shape[:3], 2, HALF).transpose(3, 0, 2, 1, 4)
    return np.asarray(halves[0] | halves[1] << 4)


def launch(call: Call[Any]) -> Sequence[Launch]:
    weights = call.constant(1)
    steps = -(-weights.shape[1] // STEP)
    params = {
        **numbers.dense_params(call, by_steps),
        "steps": steps,
        **mve.output_params(call, folded_bias(call, weights.astype(np.int64)), "output"),
    }
    return (Launch((0,), (0,), params, scratch=numbers.TABLES + STEP * steps),)


def speed(call: Call[Any]) -> float:
    """A step of four units, their outputs, and 14 instructions for each value of a table."""
    units, depth = call.input(1).shape
    made = 14 * numbers.of_dense(call)[1].size / (units * depth)
    return float(23 / 128 + 30 / (numbers.FOUR * depth) + 0.3 / units + made)


KERNELS = tuple(
    Kernel(
        op=("FULLY_CONNECTED",),
        template="fully_connected/mve_gathered",
        launch=launch,
        accepts=partial(accepts, form),
        uses=(*mve.VECTORS, "common/mve_channels", "common/mve_copy", "common/mve_gathered"),
        requires=frozenset({"mve"}),
        overlap=rows_copied,
        speed=speed,
        form=form.name,
        code=200,
        per_call=form.per_call,
    )
    for form in (codebook.FORM, packed.FORM)
)
