# SPDX-License-Identifier: Apache-2.0
"""ADD and SUB of tensors of one shape as a line in both values: two products of 32 bits for an output.

The line is one that gives, for each of the 2^16 pairs of values, what the operator's reference gives: all are compared
when the kernel is chosen. So the rounding of inputs to a common scale need not be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from tinygen.ir.types import DType
from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.overlap import broadcast
from tinygen.ops import add, sub
from tinygen.ops.base import Call
from tinygen.ops.binary import ActivationAttrs
from tinygen.ops.numerics import activation_range

REFERENCES = {"ADD": add.reference, "SUB": sub.reference}
#: Factors on each side of the nearest one that are tried.
NEAR = 2
_FAR = 2**62


@dataclass(frozen=True)
class Line:
    """(a * a_factor + b * b_factor + offset) >> right, which fits 32 bits, before it is clamped."""

    a_factor: int
    b_factor: int
    offset: int
    right: int


@lru_cache(maxsize=64)
def line_of(key: tuple[float, ...], low: int, high: int, outputs: bytes) -> Line | None:
    """The line of `outputs` int8 [256, 256], which are clamped to `low` and `high`; None if none gives all of them.

    `key`: what an output gains with each step of the first input and of the second, and its value where both are 0.
    """
    wanted = np.frombuffer(outputs, np.int8).reshape(256, 256).astype(np.int64)
    values = np.arange(-128, 128, dtype=np.int64)
    right = 30 - int(np.ceil(np.log2(128 * abs(key[0]) + 128 * abs(key[1]) + abs(key[2]) + 2)))
    if right < 0:
        return None
    first, second = (round(slope * 2**right) for slope in key[:2])
    for a, b in sorted(product(range(-NEAR, NEAR + 1), repeat=2), key=lambda pair: sum(map(abs, pair))):
        sums = values[:, None] * (first + a) + values * (second + b)
        least = np.where(wanted == low, -_FAR, (wanted << right) - sums).max(initial=-_FAR)
        most = np.where(wanted == high, _FAR, ((wanted + 1) << right) - 1 - sums).min(initial=_FAR)
        offset = int(np.clip(np.round(key[2] * 2**right), least, most))
        if least <= most and 128 * (abs(first + a) + abs(second + b)) + abs(offset) < 2**31:
            return Line(first + a, second + b, offset, right)
    return None


def find_line(call: Call[ActivationAttrs]) -> Line | None:
    a, b, output = call.input(0), call.input(1), call.output
    if DType.INT32 in (a.dtype, b.dtype, output.dtype) or a.shape != b.shape:
        return None
    types = replace(a, shape=(256, 1)), replace(b, shape=(1, 256))
    probe = replace(call, inputs=types, outputs=(replace(output, shape=(256, 256)),), constants=(None, None))
    values = np.arange(-128, 128).astype(np.int8)
    (outputs,) = REFERENCES[call.op](probe, [values[:, None], values[None]])
    slopes = a.q.scale / output.q.scale, (b.q.scale if call.op == "ADD" else -b.q.scale) / output.q.scale
    at_zero = output.q.zero_point - slopes[0] * a.q.zero_point - slopes[1] * b.q.zero_point + 0.5
    return line_of((*slopes, at_zero), *activation_range(call.attrs.activation, output), outputs.tobytes())


def accepts(call: Call[Any]) -> bool:
    return find_line(call) is not None


def launch(call: Call[ActivationAttrs]) -> Sequence[Launch]:
    line = find_line(call)
    assert line is not None, "only what is accepted is launched"
    low, high = activation_range(call.attrs.activation, call.output)
    params = {
        "n": call.output.elements,
        "a_factor": line.a_factor, "b_factor": line.b_factor, "offset": line.offset, "right": line.right,
        "clamped": int((low, high) != (-128, 127)), "low": low, "high": high,
    }  # fmt: skip
    return (Launch((0, 1), (0,), params),)


def vector_launch(call: Call[ActivationAttrs]) -> Sequence[Launch]:
    (one,) = launch(call)
    return (replace(one, params={name: value for name, value in one.params.items() if name != "clamped"}),)


PLAIN = Kernel(
    op=("ADD", "SUB"),
    template="add/line",
    launch=launch,
    accepts=accepts,
    uses=("common/requantize", "common/dsp"),
    overlap=broadcast,
    speed=9.0,
)
VECTORS = replace(
    PLAIN,
    template="add/mve_line",
    launch=vector_launch,
    uses=("common/requantize", "common/mve"),
    requires=frozenset({"mve"}),
    speed=3.0,
)
KERNELS = (VECTORS, PLAIN)
