# SPDX-License-Identifier: Apache-2.0
"""DEPTHWISE_CONV_2D and TRANSPOSE_CONV with weights as a bitmap: they are unpacked, and zeros are multiplied.

CONV_2D and FULLY_CONNECTED skip the zeros instead: see sparse.py.
"""

from __future__ import annotations

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels.sparse import BITMAP
from tinygen.kernels.stored import Fields, Form, unpacked


def pack(rows: Array) -> Fields | None:
    """The fields of ``bitmap_t``, where enough weights are 0."""
    if BITMAP.share(rows) > BITMAP.limit:
        return None
    return {"mask": np.packbits(rows.ravel() != 0, bitorder="little"), "values": rows[rows != 0]}


FORM = Form(
    name=BITMAP.name,
    pack=pack,
    code={"conv_2d": 300, "fully_connected": 300, "depthwise_conv_2d": 300, "transpose_conv": 300},
)
KERNELS = unpacked(FORM, lambda plain: not {"CONV_2D", "FULLY_CONNECTED"} & {*plain.op})
