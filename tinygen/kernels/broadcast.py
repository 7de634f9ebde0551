# SPDX-License-Identifier: Apache-2.0
"""Parameters of kernels with two inputs that broadcast (``templates/kernels/common/broadcast.j2``)."""

from __future__ import annotations

from typing import Any

from tinygen.ir.types import DType
from tinygen.ops.base import Call
from tinygen.ops.binary import Alignment

OUTER = 4


def collapse(shape: tuple[int, ...], *inputs: tuple[int, ...]) -> tuple[list[int], list[list[int]]]:
    """Output dimensions and each input's strides (elements, 0 where broadcast), with as few dimensions as possible.

    Neighbouring dimensions are merged where every input runs through both, or stands still in both.
    """
    padded = [(1,) * (len(shape) - len(s)) + s for s in inputs]
    dims: list[int] = []
    kinds: list[tuple[bool, ...]] = []
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        kind = tuple(s[axis] != 1 for s in padded)
        if kinds and kinds[-1] == kind:
            dims[-1] *= size
        else:
            dims.append(size)
            kinds.append(kind)
    strides = [[0] * len(dims) for _ in inputs]
    for i in range(len(inputs)):
        step = 1
        for axis in reversed(range(len(dims))):
            if kinds[axis][i]:
                strides[i][axis] = step
                step *= dims[axis]
    return dims, strides


def fits(call: Call[Any]) -> bool:
    """Whether no tensor is int32 and the broadcast needs no more loops than the template has."""
    if any(t.dtype is DType.INT32 for t in (call.input(0), call.input(1), call.output)):
        return False
    dims, _ = collapse(call.output.shape, call.input(0).shape, call.input(1).shape)
    return len(dims) <= OUTER + 1


def broadcast_params(call: Call[Any]) -> dict[str, int]:
    """The fields of the macro `fields` for inputs 0 and 1."""
    dims, (a, b) = collapse(call.output.shape, call.input(0).shape, call.input(1).shape)
    missing = OUTER + 1 - len(dims)
    dims, a, b = [1] * missing + dims, [0] * missing + a, [0] * missing + b
    outer = {f"d{i}": dims[i] for i in range(OUTER)}
    first = {f"a{i}": a[i] for i in range(OUTER)}
    second = {f"b{i}": b[i] for i in range(OUTER)}
    return {**outer, "run": dims[-1], **first, "a_step": a[-1], **second, "b_step": b[-1]}


def aligned_params(call: Call[Any], rule: Alignment) -> dict[str, int]:
    """The fields with which ``common/rescale`` brings inputs 0 and 1 to one scale."""
    (a_multiplier, a_shift), (b_multiplier, b_shift) = rule.a, rule.b
    return {
        "a_zero": call.input(0).q.zero_point, "a_multiplier": a_multiplier, "a_right": -a_shift,
        "b_zero": call.input(1).q.zero_point, "b_multiplier": b_multiplier, "b_right": -b_shift,
    }  # fmt: skip
