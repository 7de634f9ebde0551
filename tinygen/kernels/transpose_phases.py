# SPDX-License-Identifier: Apache-2.0
"""TRANSPOSE_CONV by the kernels of convolutions, for the DSP extension and for vectors.

Of outputs as many rows and columns apart as the strides, each is a sum over the same taps: these outputs are a
convolution of the input, with those taps turned by half a turn. There is one for each place within a stride; its
outputs are computed side by side in scratch memory, and then put where they belong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from tinygen.kernels import dsp, mve
from tinygen.kernels.base import Kernel, Launch
from tinygen.ops import all_ops
from tinygen.ops.base import Call
from tinygen.ops.convolution import ConvAttrs
from tinygen.ops.transpose_conv import TransposeConvAttrs

#: Bytes of widened windows, roughly.
BANDS = (1024, 4096)


@dataclass(frozen=True)
class Axis:
    """Along one dimension, outputs from `first` on: their number, their first tap, and padding before the input."""

    first: int
    count: int
    tap: int
    padding: int


def axes_of(taps: int, stride: int, padding: int, size: int) -> Iterator[Axis]:
    """For each place within `stride`: output `first` takes its products from every `stride`-th tap from `tap` on."""
    for first in range(min(stride, size)):
        tap, position = (first + padding) % stride, (first + padding) // stride
        yield Axis(first, len(range(first, size, stride)), tap, len(range(tap, taps, stride)) - 1 - position)


def phases(call: Call[TransposeConvAttrs]) -> Iterator[tuple[Axis, Axis]]:
    """The rows and columns of each convolution."""
    (_, kernel_h, kernel_w, _), (_, out_h, out_w, _), attrs = call.input(1).shape, call.output.shape, call.attrs
    rows = axes_of(kernel_h, attrs.stride[0], attrs.padding[0], out_h)
    return product(rows, tuple(axes_of(kernel_w, attrs.stride[1], attrs.padding[2], out_w)))


def as_convolution(call: Call[TransposeConvAttrs], row: Axis, column: Axis) -> Call[ConvAttrs]:
    """The CONV_2D of the outputs from (`row`, `column`) on."""
    (stride_h, stride_w), weights = call.attrs.stride, call.input(1)
    values = np.ascontiguousarray(call.constant(1)[:, row.tap :: stride_h, column.tap :: stride_w][:, ::-1, ::-1])
    batch, _, _, filters = call.output.shape
    output = replace(call.output, shape=(batch, row.count, column.count, filters))
    attrs = ConvAttrs(padding=(row.padding, 0, column.padding, 0), activation=call.attrs.activation)
    inputs = (call.input(2), replace(weights, shape=values.shape), *call.inputs[3:])
    return Call(call.name, "CONV_2D", attrs, inputs, (output,), (call.constants[2], values, *call.constants[3:]))


def accepts(one: Callable[[Call[Any]], bool], call: Call[TransposeConvAttrs]) -> bool:
    """Each output has a tap, and the first one of each convolution begins in the padding or at its end."""
    (_, kernel_h, kernel_w, _), strides = call.input(1).shape, call.attrs.stride
    if call.constants[1] is None or kernel_h < strides[0] or kernel_w < strides[1]:
        return False
    places = list(phases(call))
    inside = all(axis.padding >= 0 for place in places for axis in place)
    return inside and all(one(as_convolution(call, *place)) for place in places)


def launch(one: Callable[[Call[Any]], Sequence[Launch]], call: Call[TransposeConvAttrs]) -> Sequence[Launch]:
    _, out_h, out_w, filters = call.output.shape
    stride_h, stride_w = call.attrs.stride
    launches = []
    for row, column in phases(call):
        conv = as_convolution(call, row, column)
        (launched,), size = one(conv), -(-conv.output.elements // 8) * 8
        params = {f"phase.{name}": value for name, value in launched.params.items()}
        places = {
            "images": conv.output.shape[0], "height": row.count, "width": column.count, "filters": filters,
            "first": (row.first * out_w + column.first) * filters, "image": out_h * out_w * filters,
            "row": stride_h * out_w * filters, "pixel": stride_w * filters, "size": size,
        }  # fmt: skip
        launches.append(Launch((2,), (0,), {**params, **places}, scratch=size + launched.scratch))
    return launches


def speed(one: Callable[[Call[Any]], float], call: Call[TransposeConvAttrs]) -> float:
    """Instructions per MAC: those of the convolutions, and copying outputs."""
    conv_macs, (_, _, _, filters) = all_ops()["CONV_2D"].macs, call.output.shape
    convolutions = [as_convolution(call, *place) for place in phases(call)]
    work = sum(one(conv) * conv_macs(conv) for conv in convolutions)
    copied = call.output.elements * (0.5 + 20 / filters) + 100 * len(convolutions)
    return (work + copied) / max(1, all_ops()[call.op].macs(call))


def of_phases(kernel: Kernel) -> Kernel:
    """The kernel of a convolution as one for transposed ones."""
    _, _, variant = kernel.template.partition("/")
    assert callable(kernel.speed), "convolutions depend on their shapes"
    return replace(
        kernel,
        op=("TRANSPOSE_CONV",),
        template=f"transpose_conv/{variant}",
        launch=partial(launch, kernel.launch),
        accepts=partial(accepts, kernel.accepts),
        uses=(*kernel.uses, kernel.template),
        overlap=lambda call, launched: {},
        speed=partial(speed, kernel.speed),
    )


KERNELS = tuple(map(of_phases, (*map(dsp.kernel, BANDS), *(k for k in mve.KERNELS if k.template == "conv_2d/mve"))))
