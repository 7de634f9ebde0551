# SPDX-License-Identifier: Apache-2.0
"""FULLY_CONNECTED with vectors (MVE) and up to 16 values of weights, also on a grid: they are gathered from a table.

A byte holds the numbers of two weights, 16 apart; four units share a load of the input, so that 128 products take 31
instructions, where int8 weights take 20. A core may take more cycles for a gathering load than for others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels import codebook, mve, packed
from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.channels import folded_bias
from tinygen.kernels.numbers_dsp import FOUR, tables
from tinygen.kernels.overlap import rows_copied
from tinygen.kernels.stored import Form
from tinygen.ops.base import Call

#: Weights of a unit at a time, and of each half of the bytes that hold them.
STEP, HALF = 32, 16


def accepts(form: Form, call: Call[Any]) -> bool:
    return mve.dense_accepts(call) and form.of(call) is not None and tables(call.constant(1)) is not None


def by_steps(numbers: Array) -> Array:
    """`numbers` uint8 [units, depth] as bytes [units / 4, steps, 4, 16]; the last unit fills up four."""
    units, depth = numbers.shape
    padded = np.pad(np.pad(numbers, ((0, -units % FOUR), (0, 0)), mode="edge"), ((0, 0), (0, -depth % STEP)))
    halves = padded.reshape(len(padded) // FOUR, FOUR, -1, 2, HALF).transpose(3, 0, 2, 1, 4).astype(np.uint8)
    return np.asarray(halves[0] | halves[1] << 4)


def launch(call: Call[Any]) -> Sequence[Launch]:
    weights = call.constant(1)
    units, depth = weights.shape
    found = tables(weights)
    assert found is not None, "only what is accepted is launched"
    group, values, numbers = found
    stream = by_steps(numbers)
    params: mve.Params = {
        "rows": call.input(0).elements // depth,
        "depth": depth,
        "units": units,
        "group": group,
        "levels": values.shape[1],
        "steps": stream.shape[1],
        "weights": stream.ravel(),
        "tables": values.ravel(),
        **mve.output_params(call, folded_bias(call, weights.astype(np.int64)), "output"),
    }
    return (Launch((0,), (0,), params, scratch=STEP * stream.shape[1]),)


def speed(call: Call[Any]) -> float:
    units, depth = call.input(1).shape
    return float(31 / 128 + 30 / (FOUR * depth) + 0.3 / units)


KERNELS = tuple(
    Kernel(
        op=("FULLY_CONNECTED",),
        template="fully_connected/mve_gathered",
        function="fully_connected_mve_gathered",
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
