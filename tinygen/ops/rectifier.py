# SPDX-License-Identifier: Apache-2.0
"""What RELU, RELU6 and RELU_N1_TO_1 share: a requantization that ends in a clamp."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Activation, Call, Op, given
from tinygen.ops.numerics import activation_range, clamp
from tinygen.ops.rescaling import ratio, ratio_fits, rescaled, rescaling_bound
from tinygen.ops.rules import always_pointwise, integer_in_out, same_as_input


def rectifier(activation: Activation) -> Op[Attrs]:
    """The operator that clamps to the activation's range.

    ReluQuantized of micro/kernels/activations.cc, which is also LiteRT's rule for all three. TFLM's RELU6 ignores the
    output's scale, which gives the same integers where input and output have the same quantization, as they should.
    """

    def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
        return (np.clip(given(inputs[0]), *activation.limits),)

    def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
        centred = given(inputs[0]).astype(np.int64) - call.input(0).q.zero_point
        return (clamp(rescaled(call, centred, ratio(call)), call.output, activation_range(activation, call.output)),)

    return Op(
        name=activation.name,
        attrs=Attrs,
        infer=same_as_input,
        real=real,
        reference=reference,
        constraints=(integer_in_out, ratio_fits),
        bound=rescaling_bound,
        pointwise=always_pointwise,
    )
