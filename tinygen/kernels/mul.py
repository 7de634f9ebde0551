"""MUL with broadcasting."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.broadcast import broadcast_params, fits, same_shape_in_place
from tinygen.ops.base import Call
from tinygen.ops.binary import ActivationAttrs
from tinygen.ops.mul import output_ratio
from tinygen.ops.numerics import activation_range, quantize_multiplier


def launch(call: Call[ActivationAttrs]) -> Sequence[Launch]:
    multiplier, shift = quantize_multiplier(output_ratio(call))
    low, high = activation_range(call.attrs.activation, call.output)
    params = {
        **broadcast_params(call),
        "a_zero": call.input(0).q.zero_point, "b_zero": call.input(1).q.zero_point,
        "multiplier": multiplier, "shift": shift,
        "output_offset": call.output.q.zero_point, "low": low, "high": high,
    }  # fmt: skip
    return (Launch((0, 1), (0,), params),)


KERNELS = (
    Kernel(
        op=("MUL",),
        template="mul/portable",
        function="mul",
        launch=launch,
        accepts=fits,
        uses=("common/requantize",),
        in_place=same_shape_in_place,
        speed=16.0,
    ),
)
