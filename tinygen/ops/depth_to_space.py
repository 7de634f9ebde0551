# SPDX-License-Identifier: Apache-2.0
"""DEPTH_TO_SPACE: channels become squares of pixels (reference/depth_to_space.h). NHWC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array
from tinygen.ops.base import SAME, Call, Op, Signature, given
from tinygen.ops.movement import exact, four_dimensions
from tinygen.ops.rows import Access
from tinygen.ops.rules import same_quant


@dataclass(frozen=True)
class BlockAttrs(Attrs):
    """Side of the squares, in pixels."""

    block_size: int = 1


def whole_blocks(call: Call[Any]) -> bool:
    """The block size must be positive, and its square divide the channels."""
    size = int(call.attrs.block_size)
    return size > 0 and call.input(0).shape[3] % (size * size) == 0


def infer(call: Call[BlockAttrs]) -> Sequence[Signature]:
    (n, h, w, c), size = call.input(0).shape, call.attrs.block_size
    return (((n, h * size, w * size, c // (size * size)), call.input(0).dtype),)


def spread(call: Call[BlockAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    (n, h, w, c), size = call.input(0).shape, call.attrs.block_size
    blocks = given(inputs[0]).reshape(n, h, w, size, size, c // (size * size))
    return (blocks.transpose(0, 1, 3, 2, 4, 5).reshape(call.output.shape),)


def rows(call: Call[BlockAttrs]) -> Access:
    """A row for each row of squares."""
    size = call.attrs.block_size
    return Access(lambda first, end: ((first // size, end // size),), step=size, blocks=True)


OP = Op(
    name="DEPTH_TO_SPACE",
    attrs=BlockAttrs,
    infer=infer,
    real=spread,
    reference=spread,
    constraints=(same_quant, four_dimensions, whole_blocks),
    quantize=SAME,
    bound=exact,
    rows=rows,
)
