# SPDX-License-Identifier: Apache-2.0
"""MIRROR_PAD: each run of bytes from where the mirror shows it."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.moves import contiguous
from tinygen.ops.base import Call
from tinygen.ops.mirror_pad import MirrorMode, MirrorPadAttrs
from tinygen.ops.pad import paddings

LOOPS = 5


def launch(call: Call[MirrorPadAttrs]) -> Sequence[Launch]:
    size, run = call.input(0).dtype.bytes, 1
    sides = list(zip(call.input(0).shape, contiguous(call.input(0).shape), paddings(call), strict=True))
    while sides and sides[-1][2] == (0, 0):
        run *= sides.pop()[0]
    sides = [(1, 0, (0, 0))] * (LOOPS - len(sides)) + sides
    params: dict[str, int] = {}
    for i, (length, stride, (before, after)) in enumerate(sides):
        params |= {f"d{i}": length + before + after, f"s{i}": length, f"b{i}": before, f"i{i}": stride * size}
    params |= {"run": run * size, "edge": int(call.attrs.mode is MirrorMode.REFLECT)}
    return (Launch((0,), (0,), params),)


KERNELS = (
    Kernel(
        op=("MIRROR_PAD",),
        template="mirror_pad/portable",
        launch=launch,
        wide=None,
        speed=6.0,
    ),
)
