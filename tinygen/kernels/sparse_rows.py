# SPDX-License-Identifier: Apache-2.0
"""Sparse weights that are unpacked with their zeros for kernels which are faster than passing over zeros in plain C.

Where many pixels share what unpacking takes, these are convolutions with the DSP extension, with vectors, on Armv6-M.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels import sparse, sparse_dsp, sparse_mve, stored
from tinygen.kernels.base import Kernel
from tinygen.kernels.bitmap import FORM as BITMAP
from tinygen.kernels.stored import Fields


def pack(form: sparse.Form, fields: Callable[[Array], Fields], rows: Array) -> Fields | None:
    """`fields` of the rows, where they have enough zeros."""
    if form.share(rows) > form.limit or rows.shape[1] > sparse.LONGEST:
        return None
    return fields(rows)


def blocks(rows: Array) -> Fields:
    """The fields of ``blocks_t``."""
    params, _ = sparse_dsp.blocks_params(False, rows)
    return {name.removeprefix("blocks."): _field(value) for name, value in params.items()}


def values(form: sparse.Form, rows: Array) -> Fields:
    """The fields of ``gaps_t`` or ``n_of_m_t``."""
    packed = form.pack(rows)
    return {"values": packed.values.astype(np.int8), **{name: _field(v) for name, v in packed.fields.items()}}


def _field(value: int | float | Array) -> int | Array:
    return value if isinstance(value, np.ndarray) else int(value)


def form(of: sparse.Form, fields: Callable[[Array], Fields], unpacking: float) -> stored.Form:
    """The form as a decoder of rows."""
    return stored.Form(
        name=of.name,
        pack=partial(pack, of, fields),
        uses=("common/indices",) if of is sparse.BLOCKS else (),
        code={"conv_2d": 200, "fully_connected": 200},
        per_call=100,
        unpacking=unpacking,
    )


GAPS, N_OF_M = (some for some in sparse.FORMS if some.name in ("gaps", "n_of_m"))
FORMS = (
    BITMAP,
    form(GAPS, partial(values, GAPS), 4.0),
    form(N_OF_M, partial(values, N_OF_M), 6.0),
    form(sparse.BLOCKS, blocks, 1.5),
)


def faster(of: stored.Form, plain: Kernel) -> bool:
    """Whether a plain kernel is for a core with instructions of its own, where no other kernel reads the form."""
    dense = {"CONV_2D", "FULLY_CONNECTED"} & {*plain.op}
    return bool(dense and plain.requires) and not (of.name == sparse.BLOCKS.name and "mve" not in plain.requires)


def beside(kernel: Kernel) -> Kernel:
    """`kernel` without what a kernel of the form that skips zeros accepts."""
    if kernel.form != sparse.BLOCKS.name or "mve" not in kernel.requires:
        return kernel
    return replace(kernel, accepts=lambda call: kernel.accepts(call) and not sparse_mve.fits(call))


KERNELS = tuple(beside(kernel) for some in FORMS for kernel in stored.unpacked(some, partial(faster, some)))
