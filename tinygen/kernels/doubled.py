# SPDX-License-Identifier: Apache-2.0
"""Convolutions for the DSP extension whose weights lie in flash as the products take them: pairs of int16.

They do without widening filters for each band of windows, so that small bands take hardly more instructions than large
ones, and without the memory for two widened filters; but weights take twice the flash. That is a good trade for the
first layers of a network, where maps are large and weights few. Selection offers them beside ``conv_2d/dsp``, where
flash counts least.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels import dsp
from tinygen.kernels.base import Kernel, Launch
from tinygen.ops.base import Call
from tinygen.ops.convolution import ConvAttrs


def accepts(call: Call[ConvAttrs]) -> bool:
    """Where weights, doubled, take no more bytes than the larger of the maps, whose bands they are to shrink."""
    return dsp.accepts(call) and 2 * call.input(1).elements <= max(call.input(0).elements, call.output.elements)


def in_words(call: Call[ConvAttrs]) -> Array:
    """The weights as uint32 [filters / 2, words, 2]: pairs in the order of `widen`, those of two filters in turn.

    Where the number of filters is odd, the last one stands twice. Source: ``templates/kernels/common/dsp.c.j2``.
    """
    windows, filters = dsp.windows_params(call), call.input(1).shape[0]
    runs = call.constant(1).reshape(filters, -1, windows["taps"] * windows["depth"])
    filled = np.pad(runs, ((0, 0), (0, 0), (0, windows["excess"]))).reshape(filters, -1)
    whole = np.pad(filled, ((0, filters % 2), (0, 2 * windows["words"] - filled.shape[1])))
    whole[filters:] = whole[filters - 1 : filters]
    low, high = np.moveaxis(whole.astype(np.int16).view(np.uint16).reshape(len(whole), -1, 2, 2), 2, 0)
    words = low.astype(np.uint32) | high.astype(np.uint32) << np.uint32(16)
    return words.reshape(len(whole) // 2, 2, -1).transpose(0, 2, 1)


def launch(call: Call[ConvAttrs], most: int) -> Sequence[Launch]:
    (one,) = dsp.launch(call, most)
    params = {f"plain.{name}": value for name, value in one.params.items() if name != "weights"}
    words = in_words(call)
    return (Launch((0,), (0,), {**params, "weights": words.ravel()}, one.scratch - 4 * words[0].size),)


def kernel(most: int) -> Kernel:
    """CONV_2D with about `most` bytes of widened windows."""
    plain = dsp.kernel(most)
    return replace(
        plain,
        template="conv_2d/dsp_doubled",
        launch=partial(launch, most=most),
        accepts=accepts,
        uses=(*plain.uses, plain.template),
        speed=partial(dsp.speed, most=most, widens=False),
    )


DOUBLED = tuple(map(kernel, dsp.BANDS))


def doubled_kernels_for(template: str) -> tuple[Kernel, ...]:
    """Those that may compute what a kernel of that template does."""
    return DOUBLED if template == dsp.kernel(dsp.BANDS[0]).template else ()
