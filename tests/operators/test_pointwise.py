# SPDX-License-Identifier: Apache-2.0
"""EXP, LOG, ERF, GELU, SILU, HARD_SIGMOID and POW: int8 tables that are correctly rounded."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import run_c
from tests.strategies import MANY, quants
from tinygen.ir.graph import Attrs, Graph, Node
from tinygen.ir.types import DType, Quant, TensorType
from tinygen.ops import problems_of
from tinygen.ops.gelu import GeluAttrs
from tinygen.ops.hard_sigmoid import HardSigmoidAttrs
from tinygen.reference import run, run_real

VALUES = np.arange(-128, 128).astype(np.int8).reshape(1, 256)


def guarded(function: Callable[[float], float]) -> Callable[[float], float]:
    """`function` with infinities where it overflows, and nan where it is not defined."""

    def evaluated(x: float) -> float:
        try:
            return function(x)
        except OverflowError:
            return math.inf
        except ValueError:
            return -math.inf if x == 0 else math.nan

    return evaluated


#: Each operator with attributes, and the function by the C library.
FUNCTIONS: dict[str, tuple[str, Any, Callable[[float], float]]] = {
    "exp": ("EXP", Attrs(), math.exp),
    "log": ("LOG", Attrs(), math.log),
    "erf": ("ERF", Attrs(), math.erf),
    "gelu": ("GELU", GeluAttrs(), lambda x: x * math.erfc(-x / math.sqrt(2)) / 2),
    "gelu by tanh": (
        "GELU",
        GeluAttrs(True),
        lambda x: x / (1 + math.exp(min(700, -2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))),
    ),
    "silu": ("SILU", Attrs(), lambda x: x / (1 + math.exp(min(700, -x)))),
    "hard sigmoid": ("HARD_SIGMOID", HardSigmoidAttrs(0.25, 0.4), lambda x: max(0.0, min(1.0, 0.25 * x + 0.4))),
}


def one_node(op: str, attrs: Any, first: Quant, second: Quant, exponent: float | None = None) -> Graph:
    types = {"x": TensorType((1, 256), DType.INT8, first), "y": TensorType((1, 256), DType.INT8, second)}
    constants: dict[str, Any] = {}
    if exponent is not None:
        types["e"] = TensorType((), DType.INT8, Quant.per_tensor(exponent, 0))
        constants["e"] = np.array(1, np.int8)
    node = Node("n", op, ("x", *constants), ("y",), attrs)
    return Graph("g", ("x",), ("y",), (node,), types, constants)


def rounded(function: Callable[[float], float], q: int, first: Quant, second: Quant) -> int:
    value = guarded(function)((q - first.zero_point) * first.scale)
    if math.isnan(value):
        return second.zero_point
    if math.isinf(value):
        return 127 if value > 0 else -128
    steps = value / second.scale
    return max(-128, min(127, int(math.copysign(math.floor(abs(steps) + 0.5), steps)) + second.zero_point))


def compare(graph: Graph, function: Callable[[float], float], first: Quant, second: Quant) -> None:
    assert not problems_of(graph)
    expected = [rounded(function, q, first, second) for q in range(-128, 128)]
    got = run(graph, [VALUES])[0].ravel()
    # at exact halves, float64 noise of either formula decides
    halves = [
        abs(abs(guarded(function)((q - first.zero_point) * first.scale) / second.scale) % 1 - 0.5) < 1e-6
        for q in range(-128, 128)
    ]
    assert all(a == b or (near and abs(int(a) - b) == 1) for a, b, near in zip(got, expected, halves, strict=True))


@MANY
@given(st.sampled_from(sorted(FUNCTIONS)), quants(), quants())
def test_every_value(name: str, first: tuple[float, int], second: tuple[float, int]) -> None:
    op, attrs, function = FUNCTIONS[name]
    source, target = Quant.per_tensor(*first), Quant.per_tensor(*second)
    compare(one_node(op, attrs, source, target), function, source, target)


@MANY
@given(st.sampled_from([0.25, 0.5, 1.5, 2.0, 3.0]), quants(), quants())
def test_powers(exponent: float, first: tuple[float, int], second: tuple[float, int]) -> None:
    source, target = Quant.per_tensor(*first), Quant.per_tensor(*second)

    def power(x: float) -> float:
        return math.pow(x, exponent) if x >= 0 or exponent.is_integer() else math.nan

    compare(one_node("POW", Attrs(), source, target, exponent), power, source, target)


def test_c() -> None:
    """The lookup kernel computes them."""
    quants = Quant.per_tensor(0.03, -20), Quant.per_tensor(0.02, -7)
    graphs = [one_node(op, attrs, *quants) for op, attrs, _ in FUNCTIONS.values()]
    results = run_c([*graphs, one_node("POW", Attrs(), *quants, 3.0)], [[[VALUES]]] * (len(graphs) + 1))
    for graph, ((got,),) in zip(graphs, results, strict=False):
        assert np.array_equal(got, run(graph, [VALUES])[0])


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_floats(name: str) -> None:
    """Between int8 tensors they may be float32, where they fold into tables; and in float models."""
    op, attrs, function = FUNCTIONS[name]
    types = {n: TensorType((5,), DType.FLOAT32) for n in "xy"}
    graph = Graph("g", ("x",), ("y",), (Node("n", op, ("x",), ("y",), attrs),), types, {})
    values = np.array([0.1, 0.5, 1, 2, 3], np.float32)
    expected = [function(float(v)) for v in values]
    assert np.allclose(run(graph, [values])[0], expected, rtol=1e-6)
    assert np.allclose(run_real(graph, [values])["y"], expected, rtol=1e-12)


def test_run_time_exponents_are_refused() -> None:
    types = {n: TensorType((4,), DType.INT8, Quant.per_tensor(0.1, 0)) for n in "xey"}
    graph = Graph("g", ("x", "e"), ("y",), (Node("n", "POW", ("x", "e"), ("y",)),), types, {})
    assert "The exponent must be a constant of one element" in problems_of(graph)[0][1]
