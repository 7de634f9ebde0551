# SPDX-License-Identifier: Apache-2.0
"""SPACE_TO_DEPTH: squares of pixels become channels (reference/space_to_depth.h). NHWC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.ir.types import Array
from tinygen.ops.base import SAME, Call, Op, Signature, given
from tinygen.ops.depth_to_space import BlockAttrs
from tinygen.ops.movement import exact, four_dimensions
from tinygen.ops.rows import Access
from tinygen.ops.rules import same_quant


def whole_blocks(call: Call[Any]) -> bool:
    """The block size must be positive, and divide height and width."""
    size = int(call.attrs.block_size)
    return size > 0 and not any(side % size for side in call.input(0).shape[1:3])


def infer(call: Call[BlockAttrs]) -> Sequence[Signature]:
    (n, h, w, c), size = call.input(0).shape, call.attrs.block_size
    return (((n, h // size, w // size, c * size * size), call.input(0).dtype),)


def gather(call: Call[BlockAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    (n, h, w, c), size = call.input(0).shape, call.attrs.block_size
    blocks = given(inputs[0]).reshape(n, h // size, size, w // size, size, c)
    return (blocks.transpose(0, 1, 3, 2, 4, 5).reshape(call.output.shape),)


def rows(call: Call[BlockAttrs]) -> Access:
    """A row of squares for each row."""
    size = call.attrs.block_size
    return Access(lambda first, end: ((first * size, end * size),))


OP = Op(
    name="SPACE_TO_DEPTH",
    attrs=BlockAttrs,
    infer=infer,
    real=gather,
    reference=gather,
    constraints=(same_quant, four_dimensions, whole_blocks),
    quantize=SAME,
    bound=exact,
    rows=rows,
)
