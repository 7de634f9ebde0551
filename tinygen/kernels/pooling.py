"""AVERAGE_POOL_2D and MAX_POOL_2D in plain C, of int8 four channels at a time where there are as many."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.overlap import channel_by_channel, four_by_four
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


OPS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")

KERNELS = tuple(
    Kernel(
        op=(op,),
        template=f"{op.lower()}/four",
        function=f"{op.lower()}_four",
        launch=launch,
        accepts=has_four,
        overlap=four_by_four,
        uses=("common/requantize",),
        speed=8.0,
    )
    for op in OPS
) + tuple(
    Kernel(
        op=(op,),
        template=f"{op.lower()}/{'wide' if wide else 'portable'}",
        function=f"{op.lower()}{'_wide' if wide else ''}",
        launch=launch,
        overlap=channel_by_channel,
        uses=("common/requantize",),
        wide=wide,
    )
    for op in OPS
    for wide in (False, True)
)
