# SPDX-License-Identifier: Apache-2.0
"""Functions that models spell out are recognized by what they compute."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.onnx_models import difference, graph_of, model, runtime
from tinygen.ops.hard_sigmoid import HardSigmoidAttrs
from tinygen.passes.recognize_functions import RecognizeFunctions

SCALARS = {"half": 0.5, "one": 1.0, "two": 2.0, "three": 3.0, "six": 6.0, "zero": 0.0, "root": math.sqrt(2)} | {
    "third": 1 / 3,
    "cubic": 0.044715,
    "tanh": math.sqrt(2 / math.pi),
}


def spelled(*steps: str) -> onnx.ModelProto:
    """Steps such as ``y = Mul a b``."""
    nodes = []
    for step in steps:
        output, _, words = step.partition(" = ")
        op, *inputs = words.split()
        nodes.append(helper.make_node(op, inputs, [output]))
    constants = {name: np.float32(value) for name, value in SCALARS.items()}
    used = {name: value for name, value in constants.items() if any(name in n.input for n in nodes)}
    return model(nodes, {"x": [2, 33]}, ["y"], used)


ERF = ("a = Div x root", "b = Erf a", "c = Add b one")
TANH = ("s = Mul r tanh", "t = Tanh s", "u = Add t one", "v = Mul x half", "y = Mul v u")
SPELLINGS = {
    "gelu as PyTorch has it": ("GELU", (*ERF, "d = Mul x c", "y = Mul d half")),
    "gelu with the half first": ("GELU", ("h = Mul half x", *ERF, "y = Mul h c")),
    "gelu by tanh": ("GELU", ("p = Pow x three", "q = Mul p cubic", "r = Add x q", *TANH)),
    "hard swish": ("HARD_SWISH", ("a = Add x three", "b = Clip a zero six", "c = Mul x b", "y = Div c six")),
    "hard swish by a gate": ("HARD_SWISH", ("a = Add x three", "b = Clip a zero six", "c = Div b six", "y = Mul x c")),
    "hard sigmoid": ("HARD_SIGMOID", ("a = Add x three", "b = Clip a zero six", "y = Div b six")),
    "silu": ("SILU", ("a = Sigmoid x", "y = Mul x a")),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings(name: str) -> None:
    op, steps = SPELLINGS[name]
    proto = spelled(*steps)
    graph = graph_of(proto)
    result = RecognizeFunctions().run(graph)
    assert [n.op for n in result.graph.nodes] == [op]
    assert len(result.done) == 1 and result.done[0].endswith(f"are {op}")
    values = np.random.default_rng(0).standard_normal((2, 33)).astype(np.float32) * 3
    assert difference(result.graph, [values], runtime(proto, {"x": values})) < 1e-5


def test_the_constants_of_a_hard_sigmoid() -> None:
    graph = RecognizeFunctions().run(graph_of(spelled(*SPELLINGS["hard sigmoid"][1]))).graph
    attrs: Any = graph.nodes[0].attrs
    assert isinstance(attrs, HardSigmoidAttrs) and attrs == HardSigmoidAttrs(0.166667, 0.5)


@pytest.mark.parametrize(
    "steps",
    [
        ("a = Sigmoid x", "y = Add x a"),
        ("a = Div x two", "b = Erf a", "c = Add b one", "d = Mul x c", "y = Mul d half"),
        ("a = Add x three", "b = Clip a zero two", "c = Mul x b", "y = Div c six"),
        ("a = Abs x", "y = Sqrt a"),
    ],
)
def test_others_stay(steps: tuple[str, ...]) -> None:
    graph = graph_of(spelled(*steps))
    result = RecognizeFunctions().run(graph)
    assert result.graph is graph and not result.done


def test_what_others_read_stays() -> None:
    nodes = [helper.make_node("Sigmoid", ["x"], ["a"]), helper.make_node("Mul", ["x", "a"], ["y"])]
    graph = graph_of(model(nodes, {"x": [2, 3]}, ["y", "a"]))
    assert RecognizeFunctions().run(graph).graph is graph
