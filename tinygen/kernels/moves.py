# SPDX-License-Identifier: Apache-2.0
"""Strided copies: `Move` says what goes where, `move_kernels` makes the kernels of operators that are made of moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tinygen.kernels.base import Kernel, Launch, always
from tinygen.ops.base import Call

#: Loops of templates/kernels/copy/strided.c.j2 around its runs.
LOOPS = 6


@dataclass(frozen=True)
class Move:
    """A strided copy from node input `read` to output `write`, of any element type.

    All numbers count elements: dims outermost first, strides (also 0 or negative) and first elements on both sides.
    """

    dims: tuple[int, ...]
    in_strides: tuple[int, ...]
    out_strides: tuple[int, ...]
    in_offset: int = 0
    out_offset: int = 0
    read: int = 0
    write: int = 0

    def merged(self) -> Move:
        """The same copy with unit dimensions dropped and neighbours merged where both sides run through."""
        kept = [(d, i, o) for d, i, o in zip(self.dims, self.in_strides, self.out_strides, strict=True) if d != 1]
        result: list[tuple[int, int, int]] = []
        for dim, i, o in kept:
            if result and result[-1][1] == dim * i and result[-1][2] == dim * o:
                result[-1] = (result[-1][0] * dim, i, o)
            else:
                result.append((dim, i, o))
        dims, ins, outs = zip(*result, strict=True) if result else ((), (), ())
        return replace(self, dims=tuple(dims), in_strides=tuple(ins), out_strides=tuple(outs))

    def reversed(self, read: int, write: int) -> Move:
        """The copy back, from node input `read` to output `write`."""
        return Move(self.dims, self.out_strides, self.in_strides, self.out_offset, self.in_offset, read, write)

    def runs(self) -> tuple[Move, int]:
        """The merged copy in runs of so many elements that lie together on both sides; its dims count the runs."""
        move = self.merged()
        if not move.dims or (move.in_strides[-1], move.out_strides[-1]) != (1, 1):
            return move, 1
        outer = replace(move, dims=move.dims[:-1], in_strides=move.in_strides[:-1], out_strides=move.out_strides[:-1])
        return outer, move.dims[-1]


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides in elements."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


#: What makes the moves of a node.
Moves = Callable[[Call[Any]], Sequence[Move]]


def move_kernels(
    ops: Sequence[str], moves: Moves, accepts: Callable[[Call[Any]], bool] = always
) -> tuple[Kernel, Kernel]:
    """The kernels of operators whose nodes are `moves`: rows of contiguous bytes where that is enough, else strides.

    Nodes that are not, `accepts` keeps out.
    """

    def in_rows(call: Call[Any]) -> bool:
        return accepts(call) and all(_is_rows(move) for move in moves(call))

    def by_rows(call: Call[Any]) -> Sequence[Launch]:
        return [_rows_launch(move, call.output.dtype.bytes) for move in moves(call)]

    def strided(call: Call[Any]) -> Sequence[Launch]:
        return [_strided_launch(move, call.output.dtype.bytes) for move in moves(call)]

    rows = Kernel(tuple(ops), "copy/rows", by_rows, in_rows, wide=None, speed=1.0)
    return rows, Kernel(tuple(ops), "copy/strided", strided, accepts, wide=None, speed=2.0)


def _is_rows(move: Move) -> bool:
    outer, run = move.runs()
    return len(outer.dims) <= (1 if run > 1 else 0)


def _rows_launch(move: Move, size: int) -> Launch:
    outer, run = move.runs()
    in_stride, out_stride = (outer.in_strides[0], outer.out_strides[0]) if outer.dims else (0, 0)
    params = {
        "rows": outer.dims[0] if outer.dims else 1,
        "run": run * size,
        "in_offset": move.in_offset * size,
        "in_stride": in_stride * size,
        "out_offset": move.out_offset * size,
        "out_stride": out_stride * size,
    }
    return Launch((move.read,), (move.write,), params)


def _strided_launch(move: Move, size: int) -> Launch:
    outer, run = move.runs()
    missing = LOOPS - len(outer.dims)
    if missing < 0:
        raise ValueError("a copy needs more loops than the kernel has")
    dims = (1,) * missing + outer.dims
    ins, outs = (0,) * missing + outer.in_strides, (0,) * missing + outer.out_strides
    params = {"run": run * size, "in_offset": move.in_offset * size, "out_offset": move.out_offset * size}
    params |= {f"d{n}": dims[n] for n in range(LOOPS)}
    params |= {f"i{n}": ins[n] * size for n in range(LOOPS)}
    params |= {f"o{n}": outs[n] * size for n in range(LOOPS)}
    return Launch((move.read,), (move.write,), params)
