# SPDX-License-Identifier: Apache-2.0
"""Convolutions with the vectors of Armv8.1-M (MVE) in less scratch memory: fewer windows or columns at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from tinygen.kernels import depthwise_mve, mve
from tinygen.kernels.base import Kernel, Launch, apart
from tinygen.ops.base import Call
from tinygen.ops.convolution import ConvAttrs

#: Bytes of copied windows, and of the ring of a tile, roughly.
BAND_BYTES, RING_BYTES = 576, 1280


def tile_of(call: Call[ConvAttrs], ring: int) -> int:
    """Columns of the output at a time, for which `ring` bytes suffice or which are as few as can be."""
    fold, out_w = depthwise_mve.fold_of(call), call.output.shape[2]
    row = ring // (16 * depthwise_mve.ring_rows(call))
    folds = [n for n in range(1, -(-out_w // fold) + 1) if depthwise_mve.ring_row(call, n * fold)[0] <= row]
    tiles = -(-out_w // (fold * max(folds, default=1)))
    return -(-out_w // (tiles * fold)) * fold


def launch(ring: int, call: Call[ConvAttrs]) -> Sequence[Launch]:
    (plain,), tile = depthwise_mve.launch(call), tile_of(call, ring)
    width, line = depthwise_mve.ring_row(call, tile)
    params = {f"plain.{name}": value for name, value in plain.params.items()}
    params |= {"plain.width": width, "plain.line": line, "tile": tile}
    scratch = 8 * call.input(1).shape[1] + 16 * depthwise_mve.ring_rows(call) * width + line
    return (Launch((0,), (0,), params, scratch=scratch),)


def speed(ring: int, call: Call[ConvAttrs]) -> float:
    """Instructions per MAC: those of the usual kernel, and what each tile of sixteen channels takes on top."""
    _, kernel_h, kernel_w, channels = call.input(1).shape
    tile, macs = tile_of(call, ring), call.output.elements * kernel_h * kernel_w
    tiles = -(-channels // 16) * -(-call.output.shape[2] // tile)
    return 1.0 + tiles * (100 + 2 * kernel_h * depthwise_mve.ring_row(call, tile)[0]) / macs


def of_tiles(ring: int) -> Kernel:
    """The kernel of depthwise convolutions, with a ring of about so many bytes."""
    kernel = depthwise_mve.KERNEL
    return replace(
        kernel,
        template="depthwise_conv_2d/mve_tiles",
        launch=partial(launch, ring),
        uses=(*kernel.uses, kernel.template),
        overlap=apart,
        speed=partial(speed, ring),
    )


def of_bands(bytes_: int) -> Kernel:
    """The kernel of convolutions, with windows of about so many bytes."""
    (kernel,) = (kernel for kernel in mve.KERNELS if kernel.template == "conv_2d/mve")
    return replace(kernel, launch=partial(mve.launch, bytes_=bytes_), speed=lambda call: 1.02 * mve.speed(call))


LEAN = (of_bands(BAND_BYTES), of_tiles(RING_BYTES))
