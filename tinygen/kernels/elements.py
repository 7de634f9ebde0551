# SPDX-License-Identifier: Apache-2.0
"""Numbers of integer types, as ``templates/kernels/common/elements.c.j2`` reads and writes them."""

from __future__ import annotations

from tinygen.ir.types import DType

ELEMENT = {DType.BOOL: 0, DType.INT8: 1, DType.UINT8: -1, DType.INT16: 2, DType.INT32: 4}
