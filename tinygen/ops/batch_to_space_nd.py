# SPDX-License-Identifier: Apache-2.0
"""BATCH_TO_SPACE_ND: SPACE_TO_BATCH_ND undone, and the edges cropped (reference/batch_to_space_nd.h)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array
from tinygen.ops.base import SAME, Call, Op, Signature, given
from tinygen.ops.movement import constant_parameters, exact
from tinygen.ops.rules import same_quant
from tinygen.ops.space_to_batch_nd import block_of, edges, image, positive_block, three_or_four_dimensions


def whole_blocks(call: Call[Any]) -> bool:
    """The block must divide the batch; crops must not be negative, and leave something of height and width."""
    block, sides = block_of(call), image(call.input(0).shape)[1:3]
    crops = zip(sides, block, edges(call), strict=True)
    return call.input(0).shape[0] % (block[0] * block[1]) == 0 and all(
        min(before, after) >= 0 and size * side > before + after for size, side, (before, after) in crops
    )


def infer(call: Call[Attrs]) -> Sequence[Signature]:
    batch, *sides, depth = call.input(0).shape
    block, crops = block_of(call), edges(call)
    result = [n * block[i] - sum(crops[i]) for i, n in enumerate(sides)]
    return (((batch // (block[0] * block[1]), *result, depth), call.input(0).dtype),)


def joined(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    (batch, height, width, depth), block = image(call.input(0).shape), block_of(call)
    apart = given(inputs[0]).reshape(*block, batch // (block[0] * block[1]), height, width, depth)
    whole = apart.transpose(2, 3, 0, 4, 1, 5).reshape(-1, height * block[0], width * block[1], depth)
    (top, bottom), (left, right) = edges(call)
    cropped = whole[:, top : whole.shape[1] - bottom, left : whole.shape[2] - right]
    return (cropped.reshape(call.output.shape),)


OP = Op(
    name="BATCH_TO_SPACE_ND",
    attrs=Attrs,
    infer=infer,
    real=joined,
    reference=joined,
    constraints=(constant_parameters, same_quant, three_or_four_dimensions, positive_block, whole_blocks),
    quantize=SAME,
    bound=exact,
)
