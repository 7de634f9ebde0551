# SPDX-License-Identifier: Apache-2.0
"""FULLY_CONNECTED."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.convolutions import bias_tensor, integers, output_quant, refuses, scales_for_halves, weight_scales
from tests.laws import check_laws
from tests.strategies import FEW, quants, shapes
from tests.tflite_builder import ModelBuilder


@st.composite
def models(draw: st.DrawFn) -> bytes:
    b, seed = ModelBuilder(), draw(st.integers(0, 2**32))
    keep = draw(st.booleans())
    shape = (*draw(shapes(1 if keep else 2, 3)), draw(st.integers(1, 70)))
    depth, units = shape[-1], draw(st.integers(1, 20))
    if not keep and draw(st.booleans()):
        depth = math.prod(shape[1:])
    rows = math.prod(shape) // depth
    in_scale, in_zero = draw(quants())
    scales = draw(weight_scales(units))
    zero = draw(st.sampled_from((0, 0, -128, 127, 5))) if len(scales) == 1 else 0
    x = b.tensor(shape, "int8", in_scale, in_zero)
    fixed = len(scales) > 1 or draw(st.integers(0, 4)) > 0
    w = b.tensor((units, depth), "int8", scales, zero, integers(seed, (units, depth)) if fixed else None)
    inputs = [x, w]
    if fixed and draw(st.booleans()):
        inputs.append(bias_tensor(b, seed, in_scale, scales, units))
    elif draw(st.booleans()):
        inputs.append(-1)
    y = b.tensor((*shape[:-1], units) if keep else (rows, units), "int8", *draw(output_quant(in_scale, scales, depth)))
    b.op(
        "FULLY_CONNECTED",
        inputs,
        [y],
        "FullyConnectedOptions",
        keepNumDims=keep,
        fusedActivationFunction=draw(st.integers(0, 3)),
    )
    return b.finish([x] if fixed else [x, w], [y])


@FEW
@given(st.lists(models(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


def test_scales_are_multiplied_in_double() -> None:
    x, w, y = scales_for_halves()
    check_laws([simple((64, 4), scales=s, zeros=z, x_scale=x, out_scale=y) for s, z in ((w, 0), ([w] * 3, [0] * 3))])


def simple(
    shape: tuple[int, ...] = (2, 4),
    weights: tuple[int, ...] = (3, 4),
    scales: float | list[float] = 0.1,
    zeros: int | list[int] = 0,
    axis: int = 0,
    constant: bool = True,
    bias: str | None = None,
    weights_format: int = 0,
    value: int = 1,
    x_scale: float = 0.5,
    out_scale: float = 1.0,
) -> bytes:
    b = ModelBuilder()
    x = b.tensor(shape, "int8", x_scale, 0)
    data = np.full(weights, value) if constant else None
    w = b.tensor(weights, "int8", scales, zeros, data, axis)
    y = b.tensor((math.prod(shape) // weights[-1], weights[0]), "int8", out_scale, 0)
    extra = [] if bias is None else [b.tensor((weights[0],), bias, 0.05, 0, np.zeros(weights[0]))]
    b.op("FULLY_CONNECTED", [x, w, *extra], [y], "FullyConnectedOptions", weightsFormat=weights_format)
    return b.finish([x] if constant else [x, w], [y])


def test_refusals() -> None:
    refuses(simple(weights_format=1), "plain order")
    refuses(simple(weights=(1, 3, 4)), "must be a matrix")
    refuses(simple(shape=(2, 5)), "multiple of the weights' depth")
    refuses(simple(scales=[0.1] * 4, zeros=[0] * 4, axis=1), "one for each output channel")
    refuses(simple(scales=[0.1] * 3, zeros=[0, 1, 0]), "must be symmetric")
    refuses(simple(bias="int8"), "constant of int32")
    refuses(simple(constant=False, bias="int32"), "no bias")
    refuses(simple(shape=(1, 70000), weights=(1, 70000), value=127), "must fit 32 bits")
    refuses(simple(scales=1e6, out_scale=1e-6), "must fit 32 bits")
