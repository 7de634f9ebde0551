# SPDX-License-Identifier: Apache-2.0
"""SPACE_TO_BATCH_ND: the pixels of each place in a block become an image of their own (reference/space_to_batch_nd.h).

[N, H, W, C], or [N, H, C], whose block then has one side. The border is zero, in quantized tensors the zero point, as
in LiteRT. TFLM never sets the value of its border, so that it is whatever the memory held.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import SAME, Call, Op, Signature, given
from tinygen.ops.movement import constant_parameters, exact, integers, not_per_channel, pairs, zero_of
from tinygen.ops.rules import same_quant


def three_or_four_dimensions(call: Call[Any]) -> bool:
    """The input must have 3 or 4 dimensions (NHC or NHWC)."""
    return len(call.input(0).shape) in (3, 4)


def positive_block(call: Call[Any]) -> bool:
    """The block shape (input 1) must be one positive number for each of height and width."""
    block = integers(call, 1)
    return len(block) == len(call.input(0).shape) - 2 and min(block) > 0


def whole_blocks(call: Call[Any]) -> bool:
    """Paddings must not be negative, and the block must divide the padded height and width."""
    sides = zip(image(call.input(0).shape)[1:3], block_of(call), edges(call), strict=True)
    return all(
        min(before, after) >= 0 and (size + before + after) % block == 0 for size, block, (before, after) in sides
    )


def image(shape: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` as NHWC: [N, H, C] is [N, H, 1, C]."""
    return shape if len(shape) == 4 else (*shape[:2], 1, shape[2])


def block_of(call: Call[Any]) -> tuple[int, int]:
    """Height and width of the block."""
    height, width = (*integers(call, 1), 1)[:2]
    return height, width


def edges(call: Call[Any]) -> tuple[tuple[int, int], tuple[int, int]]:
    """((top, bottom), (left, right)) of the paddings or crops, in pixels."""
    rows, columns = (*pairs(call, 2, len(call.input(0).shape) - 2), (0, 0))[:2]
    return rows, columns


def infer(call: Call[Attrs]) -> Sequence[Signature]:
    shape = call.input(0).shape
    batch, *sides, depth = shape
    block, border = block_of(call), edges(call)
    result = [(n + sum(border[i])) // block[i] for i, n in enumerate(sides)]
    return (((batch * block[0] * block[1], *result, depth), call.input(0).dtype),)


def scattered(call: Call[Attrs], values: Array, zero: Array | float) -> Array:
    """`values` with a border of `zero`, taken apart."""
    (batch, _, _, depth), block = image(call.input(0).shape), block_of(call)
    padded = np.pad(values.reshape(image(call.input(0).shape)), ((0, 0), *edges(call), (0, 0)), constant_values=zero)
    _, height, width, _ = padded.shape
    blocks = padded.reshape(batch, height // block[0], block[0], width // block[1], block[1], depth)
    return blocks.transpose(2, 4, 0, 1, 3, 5).reshape(call.output.shape)


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    return (scattered(call, given(inputs[0]), 0.0),)


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    return (scattered(call, given(inputs[0]), zero_of(call.output)),)


OP = Op(
    name="SPACE_TO_BATCH_ND",
    attrs=Attrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(
        constant_parameters,
        same_quant,
        not_per_channel,
        three_or_four_dimensions,
        positive_block,
        whole_blocks,
    ),
    quantize=SAME,
    bound=exact,
)
