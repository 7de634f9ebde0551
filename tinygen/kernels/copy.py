"""Operators that only move data, as strided copies. `copies` builds the calls; see templates/kernels/copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinygen.kernels.base import Kernel, Launch
from tinygen.ops.base import Call

LOOPS = 5


@dataclass(frozen=True)
class Move:
    """A strided copy in elements: dims outermost first, with strides on both sides, from and to an offset."""

    dims: tuple[int, ...]
    in_strides: tuple[int, ...]
    out_strides: tuple[int, ...]
    in_offset: int = 0
    out_offset: int = 0

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
        return Move(tuple(dims), tuple(ins), tuple(outs), self.in_offset, self.out_offset)


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides in elements."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def move_launch(move: Move, element_bytes: int, read: int = 0, write: int = 0) -> Launch:
    """The C call for `move`, from node input `read` to output `write`; raises if it needs more loops than there are."""
    move = move.merged()
    dims, ins, outs = list(move.dims), list(move.in_strides), list(move.out_strides)
    run = 1
    if dims and ins[-1] == 1 and outs[-1] == 1:
        run, dims, ins, outs = dims[-1], dims[:-1], ins[:-1], outs[:-1]
    if len(dims) > LOOPS:
        raise ValueError("a copy needs more loops than the kernel has")
    missing = LOOPS - len(dims)
    dims, ins, outs = [1] * missing + dims, [0] * missing + ins, [0] * missing + outs
    params = {"run": run * element_bytes, "in_offset": move.in_offset * element_bytes}
    params["out_offset"] = move.out_offset * element_bytes
    params |= {f"d{n}": dims[n] for n in range(LOOPS)}
    params |= {f"i{n}": ins[n] * element_bytes for n in range(LOOPS)}
    params |= {f"o{n}": outs[n] * element_bytes for n in range(LOOPS)}
    return Launch((read,), (write,), params)


def whole(call: Call[Any]) -> Sequence[Launch]:
    """All bytes of input 0, in order."""
    return (move_launch(Move((call.input(0).elements,), (1,), (1,)), call.input(0).dtype.bytes),)


KERNELS = (Kernel(op=("COPY",), template="copy/strided", function="copy", launch=whole, speed=1.0),)
