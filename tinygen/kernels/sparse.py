# SPDX-License-Identifier: Apache-2.0
"""CONV_2D and FULLY_CONNECTED that neither store nor multiply zero weights: four forms in one frame.

The weights are taken as rows [filters, depth], where depth runs over a window's rows, columns and channels. A form says
which weights are stored and where they stand; they are stored as they are, or as indices into a codebook where they
have few values. Two output pixels are computed at a time, so that each stored weight is decoded for both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels import sparse_layouts as layouts
from tinygen.kernels.base import Kernel, Launch, int8
from tinygen.kernels.channels import folded_bias, output_params
from tinygen.kernels.conv_2d import is_matrix_product, spatial_params
from tinygen.kernels.overlap import tile_by_tile
from tinygen.kernels.stored import rows_of
from tinygen.ops.base import Call
from tinygen.ops.convolution import weights_of

USES = ("common/requantize", "common/windows", "common/indices", "common/pair")
#: Bits of an index into a codebook, at most: a longer one saves less than the codebook takes.
CODE_BITS = 6
#: Pixels whose windows are gathered at a time. Each costs a window of scratch memory, and a codebook pays for more.
TILE, TILE_WITH_CODES = 2, 4
#: The longest row whose stored weights a uint16 counts.
LONGEST = 2**16 - 8
#: Bytes of code for each call, beyond a call of the plain kernel: of a matrix product, and where windows are gathered.
PER_CALL = 150, 300
#: Instructions for each index that is unpacked, on a Cortex-M4.
UNPACKING = 9.0


@dataclass(frozen=True)
class Form:
    """One form: how it packs rows, which share of them it stores, up to which share it is smaller than plain weights.

    `costs`: instructions for each weight and for each weight that is stored, on a Cortex-M4 under QEMU, where pixels
    are computed one at a time, and where two are. `code`: bytes of code besides those of its calls, on a Cortex-M4,
    for matrix products, and where windows are gathered.
    """

    name: str
    pack: Callable[[Array], layouts.Stored]
    share: Callable[[Array], float]
    limit: float
    costs: tuple[tuple[float, float], tuple[float, float]]
    code: tuple[int, int]


BITMAP = Form("bitmap", layouts.bitmap, layouts.density, 0.85, ((2.5, 3.0), (1.5, 2.5)), (250, 650))
BLOCKS = Form("blocks", layouts.blocks, layouts.density_of_blocks, 0.85, ((0.2, 3.8), (0.4, 3.1)), (300, 700))
FORMS = (
    BITMAP,
    Form("gaps", layouts.gaps, layouts.density, 0.65, ((0.3, 6.5), (0.4, 4.3)), (100, 500)),
    Form("n_of_m", layouts.n_of_m, layouts.share_of_groups, 0.5, ((0.2, 5.2), (0.3, 4.4)), (200, 600)),
    BLOCKS,
)


def accepts(form: Form, coded: bool, gathered: bool, call: Call[Any]) -> bool:
    return is_gathered(call) is gathered and stores(form, coded, call)


def stores(form: Form, coded: bool, call: Call[Any]) -> bool:
    """Weights that are constant, 0 where they are zero, not in groups, and of the form's structure."""
    if call.constants[1] is None or any(weights_of(call).q.zero_points):
        return False
    if call.op == "CONV_2D" and call.input(1).shape[3] != call.input(0).shape[3]:
        return False
    rows = rows_of(call)
    few = not coded or len(np.unique(rows)) <= 2**CODE_BITS
    return few and rows.shape[1] <= LONGEST and form.share(rows) <= form.limit


def is_gathered(call: Call[Any]) -> bool:
    return call.op == "CONV_2D" and not is_matrix_product(call)


def tile_of(call: Call[Any], coded: bool) -> int:
    """Output pixels for which each filter is decoded once."""
    pixels = call.output.elements // len(call.constant(1))
    return min(pixels, TILE_WITH_CODES if coded else TILE) if is_gathered(call) else pixels


def speed(form: Form, coded: bool, call: Call[Any]) -> float:
    tile = tile_of(call, coded)
    each, stored = form.costs[tile > 1]
    return each + form.share(rows_of(call)) * (stored + UNPACKING / tile * coded)


def launch(form: Form, coded: bool, call: Call[Any]) -> Sequence[Launch]:
    rows = rows_of(call)
    stored, tile = form.pack(rows), tile_of(call, coded)
    gathered = tile * rows.shape[1] if is_gathered(call) else 0
    unpacked = max(1, int(stored.counts.max())) if coded else 0
    params: dict[str, int | float | Array] = {
        "pixels": call.output.elements // len(rows),
        "depth": rows.shape[1],
        "filters": len(rows),
        "tile": tile,
        "gathered": gathered,
        **(window_params(call) if gathered else {}),
        "coded": unpacked,
        **(layouts.coded(stored) if coded else {"values": int8(stored.values)}),
        **stored.fields,
        **output_params(call, folded_bias(call, rows)),
    }
    return (Launch((0,), (0,), params, scratch=max(gathered + unpacked, 1)),)


def window_params(call: Call[Any]) -> dict[str, int]:
    """The fields of templates/kernels/common/windows.c.j2."""
    _, kernel_h, kernel_w, channels = call.input(1).shape
    sizes = {"kernel_w": kernel_w, "channels": channels, "zero_point": call.input(0).q.zero_point}
    params = {**spatial_params(call, kernel_h, kernel_w), **sizes}
    return {f"windows.{name}": value for name, value in params.items() if name != "batch"}


KERNELS = tuple(
    Kernel(
        op=("CONV_2D", "FULLY_CONNECTED"),
        template=f"sparse/{form.name}",
        launch=partial(launch, form, coded),
        accepts=partial(accepts, form, coded, gathered),
        uses=USES,
        overlap=tile_by_tile,
        speed=partial(speed, form, coded),
        form=form.name,
        code=form.code[gathered],
        per_call=PER_CALL[gathered],
    )
    for form in FORMS
    for coded in (False, True)
    for gathered in (False, True)
)
