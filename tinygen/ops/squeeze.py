# SPDX-License-Identifier: Apache-2.0
"""SQUEEZE: without its dimensions of size 1, or without those listed (micro/kernels/squeeze.cc)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array
from tinygen.ops.base import SAME, Call, Op, Signature, given
from tinygen.ops.movement import exact, normal_axis
from tinygen.ops.rules import same_quant


@dataclass(frozen=True)
class SqueezeAttrs(Attrs):
    """Axes to drop; none listed means every one of size 1."""

    squeeze_dims: tuple[int, ...] = ()


def dropped(call: Call[Any]) -> set[int]:
    """The axes that go."""
    shape = call.input(0).shape
    listed = {normal_axis(axis, len(shape)) for axis in call.attrs.squeeze_dims}
    return listed or {axis for axis, size in enumerate(shape) if size == 1}


def size_one(call: Call[Any]) -> bool:
    """Only dimensions of size 1 can be squeezed."""
    return all(call.input(0).shape[axis] == 1 for axis in dropped(call))


def infer(call: Call[SqueezeAttrs]) -> Sequence[Signature]:
    gone = dropped(call)
    return ((tuple(n for axis, n in enumerate(call.input(0).shape) if axis not in gone), call.input(0).dtype),)


def squeeze(call: Call[SqueezeAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    return (given(inputs[0]).squeeze(axis=tuple(sorted(dropped(call)))),)


OP = Op(
    name="SQUEEZE",
    attrs=SqueezeAttrs,
    infer=infer,
    real=squeeze,
    reference=squeeze,
    constraints=(same_quant, size_one),
    quantize=SAME,
    bound=exact,
    view=True,
)
