# SPDX-License-Identifier: Apache-2.0
"""Parameters of kernels that fill with one value (``templates/kernels/common/fill.c.j2``)."""

from __future__ import annotations

import numpy as np

from tinygen.ir.types import Array


def fill_params(value: Array) -> dict[str, int | Array]:
    """`value`, a single element, as bytes: only one of them where all are the same."""
    pattern = np.frombuffer(value.tobytes(), np.uint8)
    pattern = pattern[:1] if len(set(pattern.tolist())) == 1 else pattern
    return {"value": pattern, "size": len(pattern)}
