# SPDX-License-Identifier: Apache-2.0
"""CONV_2D with the DSP extension in little scratch memory: windows of four output pixels are widened at a time.

One filter times four windows takes 13 instructions for 16 products, in which the filter is widened as it is read. So
nothing is repeated for each few pixels, where `dsp.py`, with 8 instructions for 12 products, widens all filters again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from tinygen.kernels import dsp
from tinygen.kernels.base import Kernel, Launch, Rooms, int8
from tinygen.kernels.overlap import windows
from tinygen.ops.base import Call
from tinygen.ops.convolution import ConvAttrs

AT_ONCE = 4


def accepts(call: Call[ConvAttrs], at_once: int) -> bool:
    """Runs of taps that fill words of four weights; enough pixels."""
    _, out_h, out_w, _ = call.output.shape
    return dsp.accepts(call) and out_h * out_w >= at_once and not dsp.windows_params(call)["excess"]


def launch(call: Call[ConvAttrs], at_once: int) -> Sequence[Launch]:
    """The C call for windows of `at_once` output pixels."""
    (batch, *image), (_, out_h, out_w, filters) = call.input(0).shape, call.output.shape
    found, weights = dsp.windows_params(call), call.constant(1).reshape(filters, -1)
    params: dsp.Params = {
        **{f"windows.{name}": value for name, value in found.items()},
        "batch": batch,
        "in_size": int(np.prod(image)),
        "pixels": out_h * out_w,
        "filters": filters,
        "weights": int8(weights),
        **dsp.down_params(call, weights),
    }
    return (Launch((0,), (0,), params, scratch=2 * at_once * weights.shape[1] + 4 * found["fours"]),)


def overlap(call: Call[ConvAttrs], launch: Launch, at_once: int) -> Rooms:
    """`at_once` pixels at a time; where the last are not all new ones, some are read again after they were written."""
    _, out_h, out_w, _ = call.output.shape
    return windows(call, at_once) if out_h * out_w % at_once == 0 else {}


def speed(
    call: Call[ConvAttrs], at_once: int = AT_ONCE, product: float = 0.87, output: float = 15.0, value: float = 1.3
) -> float:
    """Instructions per MAC: for each `product`, `output` and widened `value`; windows at an edge take more."""
    filters, kernel_h, *_ = call.input(1).shape
    (_, out_h, out_w, _), found = call.output.shape, dsp.windows_params(call)
    size, runs, pixels = call.input(1).elements // filters, kernel_h * found["runs"], out_h * out_w
    edge = min(1.0, (at_once - 1) / found["out_w"]) if call.input(1).shape[2] > 1 else 0.0
    widened = value * size + 20 * runs + 30 + edge * (0.6 * size + 60 * runs)
    return (product + output / size + widened / (size * filters)) * (-(-pixels // at_once) * at_once / pixels)


def kernel(name: str, at_once: int, speed: Callable[[Call[ConvAttrs]], float]) -> Kernel:
    """CONV_2D by the windows of `at_once` pixels: the templates ``conv_2d/dsp_<name>`` and ``common/dsp_<name>``."""
    return Kernel(
        op=("CONV_2D",),
        template=f"conv_2d/dsp_{name}",
        launch=partial(launch, at_once=at_once),
        accepts=partial(accepts, at_once=at_once),
        uses=(*dsp.WINDOWS, f"common/dsp_{name}"),
        requires=frozenset({"dsp"}),
        overlap=partial(overlap, at_once=at_once),
        speed=speed,
    )


KERNEL = kernel("quads", AT_ONCE, speed)
