# SPDX-License-Identifier: Apache-2.0
"""MEAN, SUM, REDUCE_MAX and REDUCE_MIN along any axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.moves import contiguous
from tinygen.ops import mean
from tinygen.ops import sum as summation
from tinygen.ops.base import Call
from tinygen.ops.reduction import ReducerAttrs, axes, count

LOOPS = 3


def collapsed(call: Call[Any]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(size, stride in elements) of the dimensions that stay and of those that are reduced, outermost first.

    Dimensions of size 1 are dropped, and neighbours of one kind merged.
    """
    shape, reduced = call.input(0).shape, axes(call)
    groups: list[tuple[bool, int, int]] = []
    for axis, (size, stride) in enumerate(zip(shape, contiguous(shape), strict=True)):
        if size == 1:
            continue
        kind = axis in reduced
        if groups and groups[-1][0] == kind:
            size *= groups.pop()[1]
        groups.append((kind, size, stride))
    return [(n, s) for kind, n, s in groups if not kind], [(n, s) for kind, n, s in groups if kind]


def fits(call: Call[Any]) -> bool:
    """Whether the dimensions alternate no more often than the template has loops for (always, up to rank 6)."""
    return max(map(len, collapsed(call))) <= LOOPS


def loops(call: Call[Any]) -> dict[str, int]:
    """The fields of the macro `fields` of ``common/reduce.j2``."""
    fields: dict[str, int] = {}
    for letter, dims in zip("kr", collapsed(call), strict=True):
        padded = [(1, 0)] * (LOOPS - len(dims)) + dims
        fields |= {f"{letter}{i}": size for i, (size, _) in enumerate(padded)}
        fields |= {f"{letter}{i}_stride": stride for i, (_, stride) in enumerate(padded)}
    return fields


def launch_sum(call: Call[ReducerAttrs]) -> Sequence[Launch]:
    multiplier, shift = mean.requantization(call) if call.op == "MEAN" else summation.requantization(call)
    params = {
        **loops(call),
        "bias": -call.input(0).q.zero_point * count(call),
        "multiplier": multiplier, "shift": shift, "output_offset": call.output.q.zero_point,
    }  # fmt: skip
    return (Launch((0,), (0,), params),)


def launch_wide_mean(call: Call[ReducerAttrs]) -> Sequence[Launch]:
    multiplier, shift = mean.requantization(call)
    return (Launch((0,), (0,), {**loops(call), "multiplier": multiplier, "shift": shift}),)


def launch_extremum(call: Call[ReducerAttrs]) -> Sequence[Launch]:
    return (Launch((0,), (0,), loops(call)),)


KERNELS = (
    Kernel(
        op=("MEAN", "SUM"),
        template="reduce_sum/portable",
        launch=launch_sum,
        accepts=fits,
        uses=("common/requantize",),
    ),
    Kernel(
        op=("MEAN",),
        template="reduce_sum/wide",
        launch=launch_wide_mean,
        accepts=fits,
        uses=("common/requantize",),
        wide=True,
    ),
    *(
        Kernel(op=(op,), template=f"{op.lower()}/portable", launch=launch_extremum, accepts=fits)
        for op in ("REDUCE_MAX", "REDUCE_MIN")
    ),
)
