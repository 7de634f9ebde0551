# SPDX-License-Identifier: Apache-2.0
"""Kernels for weights in a storage form: a decoder unpacks some filters into scratch memory for the plain kernel.

A `Form` has a decoder in ``templates/kernels/common/<form>.c.j2``, which defines `<form>_t` (the fields that `pack`
gives), `<form>_reader_t`, `<form>_open(stored, reader)` and `<form>_row(stored, reader, n, step, out)`: the n weights
of the next output channel, to every `step`-th element of `out`. With that alone, `unpacked` makes a kernel of the form
out of each plain kernel, by ``templates/kernels/<operator>/unpacked.j2``. A filter is unpacked once and then used for
every pixel, so that the decoder's instructions are few beside the products', save where there are few pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels import conv_2d, depthwise_conv_2d, depthwise_mve, dsp, fully_connected, mve, transpose_conv, v6m
from tinygen.kernels.base import Kernel, Launch, Rooms
from tinygen.ops import all_ops
from tinygen.ops.base import Call
from tinygen.ops.convolution import OPERANDS

#: Fields of a C struct: arrays, and integers that say how to read them.
Fields = Mapping[str, int | Array]
#: The plain kernels whose weights can be unpacked.
PLAIN_KERNELS = (
    *conv_2d.KERNELS,
    *depthwise_conv_2d.KERNELS,
    *fully_connected.KERNELS,
    *transpose_conv.KERNELS,
    # with what they unpack, these take no more scratch memory than those of plain weights
    dsp.depthwise_kernel(dsp.BAND_BYTES * 3 // 4),
    dsp.kernel(dsp.BAND_BYTES * 3 // 4),
    dsp.kernel(dsp.BAND_BYTES * 2),  # each band unpacks all filters
    dsp.kernel(dsp.BANDS[-1]),
    *(kernel for kernel in mve.KERNELS if kernel.template in ("conv_2d/mve", "fully_connected/mve")),
    depthwise_mve.unfolded(depthwise_mve.KERNEL),
    v6m.CONVOLUTION,
)
#: Bytes of scratch memory for unpacked filters; one filter may take more.
SCRATCH = 1024
#: The same where each of them takes the windows anew.
SCRATCH_BESIDE_WINDOWS = 2048
#: Bytes of scratch memory behind unpacked filters, which a kernel may read.
BEHIND = {"conv_2d_v6m": 3}
#: Instructions for each value of a window, each time that windows are taken anew for other filters.
WINDOWS = {"conv_2d_mve": 0.3, "conv_2d_v6m": 1.8}


@dataclass(frozen=True)
class Form:
    """A lossless way to store int8 weights, as rows [output channels, weights of each].

    - `pack(rows)`: the fields of the C struct `<name>_t`; None where the rows cannot be stored so.
    - `uses`: templates that the decoder needs; its own is added.
    - `code`, `per_call`: bytes of machine code that a kernel of the form adds for good, by C function, and with each
      call, roughly: differences of firmwares for Cortex-M4 (`benchmarks/forms.py`).
    - `unpacking`: instructions for each weight that is unpacked, roughly.
    - `asked`: as in `Kernel`.
    """

    name: str
    pack: Callable[[Array], Fields | None]
    code: Mapping[str, int]
    per_call: int = 120
    uses: tuple[str, ...] = ()
    unpacking: float = 8.0
    asked: bool = False

    def of(self, call: Call[Any]) -> Fields | None:
        """The packed weights of `call`."""
        rows = rows_of(call)
        return _packed(self.pack, rows.tobytes(), rows.shape)


@lru_cache(maxsize=256)
def _packed(pack: Callable[[Array], Fields | None], data: bytes, shape: tuple[int, int]) -> Fields | None:
    """What `pack` makes of these weights: the same ones are asked for again and again while kernels are chosen."""
    return pack(np.frombuffer(data, np.int8).reshape(shape))


def rows_of(call: Call[Any]) -> Array:
    """The constant weights of a convolution-like operator, int8 [output channels, weights of each]."""
    where = OPERANDS[call.op]
    weights = np.moveaxis(call.constant(where.weights), where.channel, 0)
    return np.ascontiguousarray(weights.reshape(len(weights), -1))


def unpacked(form: Form, wanted: Callable[[Kernel], bool] = lambda plain: True) -> tuple[Kernel, ...]:
    """A kernel of `form` for each plain one of int8 activations that is `wanted`."""
    return tuple(_kernel(plain, form) for plain in PLAIN_KERNELS if not plain.wide and wanted(plain))


def _kernel(plain: Kernel, form: Form) -> Kernel:
    operator, _, variant = plain.template.partition("/")
    own = form.name if variant == "portable" else f"{variant}_{form.name}"

    def accepts(call: Call[Any]) -> bool:
        return plain.accepts(call) and form.of(call) is not None

    def launch(call: Call[Any]) -> Sequence[Launch]:
        (one,), rows = plain.launch(call), rows_of(call)
        at_once, count = _at_once(plain.function, one.params, rows)
        weights = -(-(count * rows.shape[1] + BEHIND.get(plain.function, 0)) // 8) * 8
        scratch = one.scratch + weights if one.scratch else count * rows.shape[1]
        return (replace(one, params={**nested(form, call, one), **at_once}, scratch=scratch),)

    def overlap(call: Call[Any], one: Launch) -> Rooms:
        """Filters that are unpacked after others read the whole input again."""
        (alone,), rows = plain.launch(call), rows_of(call)
        all_at_once = _at_once(plain.function, alone.params, rows)[1] >= len(rows)
        passes_once = plain.function.startswith(("conv_2d_dsp", "depthwise_conv_2d"))
        return plain.overlap(call, one) if passes_once or all_at_once else {}

    def speed(call: Call[Any]) -> float:
        products = plain.speed(call) if callable(plain.speed) else plain.speed
        rows, launched = rows_of(call), plain.launch(call)[0]
        passes = dsp.passes(launched) if plain.function == "conv_2d_dsp" else 1
        again = -(-len(rows) // _at_once(plain.function, launched.params, rows)[1]) - 1
        windows = WINDOWS.get(plain.function, 0.0) * again / len(rows)
        return products + windows + form.unpacking * passes * rows.size / max(1, all_ops()[call.op].macs(call))

    return replace(
        plain,
        template=f"{operator}/{own}",
        launch=launch,
        accepts=accepts,
        uses=tuple(dict.fromkeys((*plain.uses, *form.uses, f"common/{form.name}", plain.template))),
        overlap=overlap,
        speed=speed,
        form=form.name,
        code=form.code[plain.function.rsplit("_mve")[0].rsplit("_dsp")[0].rsplit("_v6m")[0]],
        per_call=form.per_call,
        asked=form.asked,
    )


def nested(form: Form, call: Call[Any], plain: Launch) -> dict[str, int | float | Array]:
    """The fields of a kernel of `form`: those of the `plain` launch as ``plain``, the packed weights as ``stored``."""
    stored = form.of(call)
    assert stored is not None, "only what is accepted is launched"
    params = {f"plain.{name}": value for name, value in plain.params.items() if name.split(".")[-1] != "weights"}
    return {**params, **{f"stored.{name}": value for name, value in stored.items()}}


def _at_once(function: str, params: Mapping[str, Any], rows: Array) -> tuple[dict[str, int], int]:
    """The parameters that say how many rows the C `function` unpacks at a time, and that number."""
    channels, size = rows.shape
    if function == "depthwise_conv_2d_mve":
        return {}, -(-channels // 16) * 16
    if function.startswith("depthwise_conv_2d"):
        return {}, channels
    if function == "conv_2d_dsp":
        return {}, 2
    if function in WINDOWS:
        filters = min(max(2, SCRATCH_BESIDE_WINDOWS // size // 2 * 2), channels)
        return {"filters": filters}, filters
    if function == "fully_connected_mve":
        units = min(max(4, SCRATCH // size // 4 * 4), channels)
        return {"units": units}, units
    count = max(1, min(SCRATCH // size, channels))
    if function == "conv_2d":
        filters = min(params["filters"], count)
        groups = min(params["groups"], count // params["filters"]) or 1
        return {"groups": groups, "filters": filters}, groups * filters
    return {"units" if function == "fully_connected" else "filters": count}, count
