# SPDX-License-Identifier: Apache-2.0
"""TRANSPOSE, SLICE, STRIDED_SLICE, DEPTH_TO_SPACE and SPACE_TO_DEPTH: one strided copy each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.kernels.moves import Move, contiguous, move_kernels
from tinygen.ops import slice as box_slice
from tinygen.ops import strided_slice
from tinygen.ops.base import Call
from tinygen.ops.movement import integers


def transpose(call: Call[Any]) -> Sequence[Move]:
    strides = contiguous(call.input(0).shape)
    order = integers(call, 1)
    return (Move(call.output.shape, tuple(strides[axis] for axis in order), contiguous(call.output.shape)),)


def slices(call: Call[Any]) -> Sequence[Move]:
    """(start, count, stride) along each axis of the input; dropped and new axes have one index and need no loop."""
    if call.op == "SLICE":
        picks = [(begin, size, 1) for begin, size in box_slice.box(call)]
    else:
        picks = [(s.start, s.count, s.stride) for s in strided_slice.spans(call) if not s.new]
    steps = contiguous(call.input(0).shape)
    counts = tuple(count for _, count, _ in picks)
    strides = tuple(stride * step for (_, _, stride), step in zip(picks, steps, strict=True))
    first = sum(start * step for (start, _, _), step in zip(picks, steps, strict=True))
    return (Move(counts, strides, contiguous(counts), in_offset=first),)


def depth_to_space(call: Call[Any]) -> Sequence[Move]:
    return (_blocks(call.output.shape, call.attrs.block_size),)


def space_to_depth(call: Call[Any]) -> Sequence[Move]:
    return (_blocks(call.input(0).shape, call.attrs.block_size).reversed(0, 0),)


def _blocks(space: Sequence[int], size: int) -> Move:
    """From channels to an image of shape `space`: rows, columns, and a line of `size` pixels per line of a square."""
    batch, height, width, depth = space
    rows, columns, line = batch * height // size, width // size, size * depth
    return Move(
        (rows, columns, size, line),
        (columns * size * line, size * line, line, 1),
        (columns * size * line, line, width * depth, 1),
    )


KERNELS = (
    *move_kernels(("TRANSPOSE",), transpose),
    *move_kernels(("SLICE", "STRIDED_SLICE"), slices),
    *move_kernels(("DEPTH_TO_SPACE",), depth_to_space),
    *move_kernels(("SPACE_TO_DEPTH",), space_to_depth),
)
