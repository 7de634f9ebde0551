# SPDX-License-Identifier: Apache-2.0
"""AVERAGE_POOL_2D and MAX_POOL_2D: of int8 four channels at a time where there are as many, and more on some cores."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tinygen.kernels.base import Kernel, Launch, Rooms
from tinygen.kernels.overlap import channel_by_channel, four_by_four, windows
from tinygen.ops.base import Call
from tinygen.ops.numerics import activation_range
from tinygen.ops.pooling import PoolAttrs


def launch(call: Call[PoolAttrs]) -> Sequence[Launch]:
    batch, in_h, in_w, channels = call.input(0).shape
    _, out_h, out_w, _ = call.output.shape
    attrs, (low, high) = call.attrs, activation_range(call.attrs.activation, call.output)
    params = {
        "batch": batch, "in_h": in_h, "in_w": in_w, "out_h": out_h, "out_w": out_w, "channels": channels,
        "window_h": attrs.window[0], "window_w": attrs.window[1],
        "stride_h": attrs.stride[0], "stride_w": attrs.stride[1],
        "pad_top": attrs.padding[0], "pad_left": attrs.padding[2],
        "low": low, "high": high,
    }  # fmt: skip
    return (Launch((0,), (0,), params),)


def has_four(call: Call[PoolAttrs]) -> bool:
    return call.output.shape[3] >= 4


def has_eight(call: Call[PoolAttrs]) -> bool:
    """Enough channels for vectors, and few enough cells for sums in int16."""
    return call.output.shape[3] >= 8 and math.prod(call.attrs.window) <= 255


def eight_by_eight(call: Call[PoolAttrs], launch: Launch) -> Rooms:
    """A pool that takes eight channels of a pixel at a time, the last eight from the end."""
    return windows(call, again=-(-call.output.shape[3] % 8))


VECTORS = Kernel(
    op=("AVERAGE_POOL_2D",),
    template="average_pool_2d/mve",
    launch=launch,
    accepts=has_eight,
    overlap=eight_by_eight,
    uses=("common/requantize", "common/mve", "common/mean"),
    requires=frozenset({"mve"}),
    speed=4.0,
)

#: Where four int8 values are a word for arithmetic, two of these.
EIGHTS = tuple(
    Kernel(
        op=(op,),
        template=f"{op.lower()}/dsp",
        launch=launch,
        accepts=accepts,
        overlap=eight_by_eight,
        uses=("common/requantize", "common/dsp", *uses),
        requires=frozenset({"dsp"}),
        speed=5.0,
    )
    for op, accepts, uses in (
        ("AVERAGE_POOL_2D", has_eight, ("common/mean",)),
        ("MAX_POOL_2D", lambda call: call.output.shape[3] >= 8, ()),
    )
)
SIXTEENS = Kernel(
    op=("MAX_POOL_2D",),
    template="max_pool_2d/mve",
    launch=launch,
    overlap=channel_by_channel,
    uses=("common/mve",),
    requires=frozenset({"mve"}),
    speed=3.0,
)
#: Four channels at a time, and any number of them.
FOURS = tuple(
    Kernel(
        op=(op,),
        template=f"{op.lower()}/four",
        launch=launch,
        accepts=has_four,
        overlap=four_by_four,
        uses=("common/requantize", *uses),
        speed=8.0,
    )
    for op, uses in (("AVERAGE_POOL_2D", ("common/mean",)), ("MAX_POOL_2D", ()))
)
OTHERS = tuple(
    Kernel(
        op=(op,),
        template=f"{op.lower()}/{'wide' if wide else 'portable'}",
        launch=launch,
        overlap=channel_by_channel,
        uses=("common/requantize",),
        wide=wide,
    )
    for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D")
    for wide in (False, True)
)
KERNELS = (VECTORS, SIXTEENS, *EIGHTS, *FOURS, *OTHERS)
