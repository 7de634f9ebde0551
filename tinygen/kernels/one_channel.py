# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolutions of images with one channel, as convolutions: each output channel has a filter of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tinygen.kernels import dsp, mve, v6m
from tinygen.kernels.base import Kernel, Launch, Rooms
from tinygen.ops.base import Call


def has_one_channel(call: Call[Any]) -> bool:
    """Whether the image has one channel, and the output several."""
    return call.input(0).shape[3] == 1 < call.output.shape[3]


def as_convolution(call: Call[Any]) -> Call[Any]:
    """The CONV_2D that computes the same: weights [1, height, width, filters] become [filters, height, width, 1]."""
    image, weights, *rest = call.inputs
    assert weights is not None, "a convolution has weights"
    axis = None if weights.quant is None or weights.quant.axis is None else 0
    quant = None if weights.quant is None else replace(weights.quant, axis=axis)
    _, height, width, filters = weights.shape
    turned = replace(weights, shape=(filters, height, width, 1), quant=quant)
    values = call.constant(1).transpose(3, 1, 2, 0)
    constants = (call.constants[0], values, *call.constants[2:])
    return replace(call, op="CONV_2D", inputs=(image, turned, *rest), constants=constants)


def of_one_channel(kernel: Kernel) -> Kernel:
    """The kernel of a convolution as one for such depthwise ones."""

    def accepts(call: Call[Any]) -> bool:
        return has_one_channel(call) and kernel.accepts(as_convolution(call))

    def launch(call: Call[Any]) -> Any:
        return kernel.launch(as_convolution(call))

    def speed(call: Call[Any]) -> float:
        return kernel.speed(as_convolution(call)) if callable(kernel.speed) else kernel.speed

    def overlap(call: Call[Any], launched: Launch) -> Rooms:
        return kernel.overlap(as_convolution(call), launched)

    op = ("DEPTHWISE_CONV_2D",)
    return replace(kernel, op=op, accepts=accepts, launch=launch, speed=speed, overlap=overlap)


KERNELS = tuple(
    of_one_channel(kernel)
    for module, template in ((dsp, "conv_2d/dsp"), (mve, "conv_2d/mve"), (v6m, "conv_2d/v6m"))
    for kernel in module.KERNELS
    if kernel.template == template
)
