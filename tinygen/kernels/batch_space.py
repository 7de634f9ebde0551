# SPDX-License-Identifier: Apache-2.0
"""SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND: pixel by pixel, between an image and its parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.fill import fill_params
from tinygen.ops.base import Call
from tinygen.ops.movement import zero_of
from tinygen.ops.space_to_batch_nd import block_of, edges, image


def geometry(call: Call[Any], whole: tuple[int, ...], parts: tuple[int, ...]) -> dict[str, int]:
    """The fields that both kernels have, from the shapes of the images as a whole and in parts."""
    (block_h, block_w), ((top, _), (left, _)) = block_of(call), edges(call)
    (batches, _, _, depth), (_, height, width, _) = image(whole), image(parts)
    fields = {"block_h": block_h, "block_w": block_w, "top": top, "left": left, "batches": batches}
    return {**fields, "height": height, "width": width, "depth": depth * call.output.dtype.bytes}


def space_to_batch(call: Call[Any]) -> Sequence[Launch]:
    _, in_h, in_w, _ = image(call.input(0).shape)
    params = geometry(call, call.input(0).shape, call.output.shape) | {"in_h": in_h, "in_w": in_w}
    return (Launch((0,), (0,), {**params, **fill_params(zero_of(call.output))}),)


def batch_to_space(call: Call[Any]) -> Sequence[Launch]:
    _, out_h, out_w, _ = image(call.output.shape)
    params = geometry(call, call.output.shape, call.input(0).shape) | {"out_h": out_h, "out_w": out_w}
    return (Launch((0,), (0,), params),)


KERNELS = (
    Kernel(
        op=("SPACE_TO_BATCH_ND",),
        template="space_to_batch_nd/portable",
        launch=space_to_batch,
        uses=("common/fill",),
        wide=None,
        speed=3.0,
    ),
    Kernel(
        op=("BATCH_TO_SPACE_ND",),
        template="batch_to_space_nd/portable",
        launch=batch_to_space,
        wide=None,
        speed=3.0,
    ),
)
