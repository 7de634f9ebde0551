# SPDX-License-Identifier: Apache-2.0
"""ABS: the magnitude of x, int8 (AbsEvalQuantized of micro/kernels/elementwise.cc)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Op, given
from tinygen.ops.numerics import clamp
from tinygen.ops.rescaling import ratio, ratio_fits, rescaled, rescaling_bound
from tinygen.ops.rules import always_pointwise, int8_in_out, same_as_input


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    return (np.abs(given(inputs[0])),)


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    magnitude = np.abs(given(inputs[0]).astype(np.int64) - call.input(0).q.zero_point)
    return (clamp(rescaled(call, magnitude, ratio(call)), call.output),)


OP = Op(
    name="ABS",
    attrs=Attrs,
    infer=same_as_input,
    real=real,
    reference=reference,
    constraints=(int8_in_out, ratio_fits),
    bound=rescaling_bound,
    pointwise=always_pointwise,
)
