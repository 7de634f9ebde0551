# SPDX-License-Identifier: Apache-2.0
"""What is refused says four things: the operator, the node's name, what is wrong with it, and what works instead."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from scripts.onnx_tables import readings
from tests.onnx_models import graph_of, model, one_node
from tests.tflite_builder import ModelBuilder
from tinygen import api
from tinygen.errors import UnsupportedError
from tinygen.frontends.onnx.advice import ADVICE
from tinygen.frontends.onnx.registry import handlers
from tinygen.ops import all_ops
from tinygen.ops.base import sentence

W = np.ones((2, 2, 3, 3), np.float32)


def variable(op: str, shapes: Sequence[Sequence[int]], **attributes: Any) -> onnx.ModelProto:
    """A node whose inputs are all computed at run time."""
    names = [f"x{i}" for i in range(len(shapes))]
    node = helper.make_node(op, names, ["y"], name="the_node", **attributes)
    return model([node], dict(zip(names, shapes, strict=True)), ["y"])


#: Operator, model, what is wrong, and words of what to do.
ONNX: list[tuple[str, onnx.ModelProto, str, str]] = [
    ("Conv", variable("Conv", [(1, 2, 5, 5), (2, 2, 3, 3)]), "the weights must be constant", "use MatMul"),
    ("Conv", one_node("Conv", (1, 2, 2, 2), [W]), "input is smaller than the dilated kernel", "more padding"),
    ("Conv", one_node("Conv", (1, 2, 5, 5), [W], pads=[-1, 0, 0, 0]), "negative padding is not supported", "Slice"),
    ("Conv", one_node("Conv", (1, 2, 5, 5, 5), [np.ones((2, 2, 3, 3, 3))]), "3 spatial dimensions", "reshape it"),
    ("MaxPool", one_node("MaxPool", (1, 2, 9, 9), kernel_shape=[2, 2], dilations=[2, 2]), "dilations", "use strides"),
    ("MaxPool", one_node("MaxPool", (1, 2, 9, 9), kernel_shape=[2, 2], pads=[2] * 4), "padding must be", "use Pad"),
    ("MaxPool", one_node("MaxPool", (1, 2, 9, 9), outputs=2, kernel_shape=[2, 2]), "only its first", "without the"),
    ("PRelu", variable("PRelu", [(1, 2), (1, 2)]), "the slope must be a constant", "use LeakyRelu"),
    ("Pow", variable("Pow", [(1, 2), (1, 2)]), "the exponent must be a constant", "products"),
    ("Div", one_node("Div", (1, 2), [np.zeros(2, np.float32)]), "divides by a constant that holds 0", "small number"),
    ("Resize", one_node("Resize", (1, 1, 4, 4), [None, np.array([1, 1, 2, 2], np.float32)], mode="cubic"),
     "mode cubic is not supported", "use nearest or linear"),
    ("Pad", one_node("Pad", (1, 4), [np.array([0, 9, 0, 0])], mode="reflect"), "must be smaller", "use mode edge"),
    ("Slice", one_node("Slice", (1, 4), [np.array([2]), np.array([2]), np.array([1])]), "would be empty", "correct"),
    ("Clip", variable("Clip", [(1, 2), (), ()]), "the limit 'min' must be a constant", "use Min and Max"),
    ("Cast", one_node("Cast", (1, 2), to=onnx.TensorProto.INT32), "only casts from float to float", "leave the values"),
    ("LSTM", one_node("LSTM", (1, 1, 2), [np.ones((1, 4, 2)), np.ones((1, 4, 1))], hidden_size=1), "not supported",
     "convolutions over time"),
    ("Mish", one_node("Mish", (1, 2), opset=18), "is not supported", "use HardSwish"),
    ("Det", one_node("Det", (2, 2)), "is not supported", "docs/operators.md"),
    ("Greater", variable("Greater", [(1, 2), (1, 2)]), "only where its inputs are constant", "docs/operators.md"),
    ("QuantizeLinear", variable("QuantizeLinear", [(1, 2), ()]), "must be constant", "quantize the model statically"),
]  # fmt: skip


@pytest.mark.parametrize("op, proto, wrong, advice", ONNX, ids=[f"{c[0]}-{c[3]}" for c in ONNX])
def test_onnx_refusals(op: str, proto: onnx.ModelProto, wrong: str, advice: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        graph_of(proto)
    said = str(caught.value)
    assert "\n" not in said and "'the_node'" in said and op in said and wrong in said
    assert advice in said.rpartition(": ")[2] or advice in said.partition(wrong)[2]


def test_every_reason_of_the_onnx_frontend_says_what_to_do() -> None:
    """Reasons read out of the functions themselves: what is wrong, then a colon or a semicolon, then what works."""
    reasons = {reason for reading in readings().values() for reason in reading.reasons}
    assert len(reasons) > 30
    assert [reason for reason in reasons if not reason.rpartition(": ")[0] and "export it without" not in reason] == []
    assert all(advice for advice in ADVICE.values()) and not set(ADVICE) & set(handlers())


def test_every_condition_of_an_operator_says_what_must_be() -> None:
    words = ("must", "has to", "have to", "needs", "can ")
    for op in all_ops().values():
        for condition in op.constraints:
            assert any(word in sentence(condition) for word in words), (op.name, sentence(condition))


def tflite(op: str, shape: Sequence[int] = (1, 4), dtype: str = "int8", **options: Any) -> bytes:
    b = ModelBuilder()
    x, y = b.tensor(tuple(shape), dtype, 0.1), b.tensor(tuple(shape), dtype, 0.1, name="the_node")
    b.op(op, [x], [y], **options)
    return b.finish([x], [y])


@pytest.mark.parametrize(
    "op, data, wrong, advice",
    [
        ("SQUARE", tflite("SQUARE"), "operators not supported: SQUARE", "use MUL of the tensor with itself"),
        ("WHERE", tflite("WHERE"), "not supported", "in your own code"),
        ("ROUND", tflite("ROUND"), "not supported", "with the operators of that page"),
        ("ELU", tflite("ELU", dtype="int16"), "must be int8", "int8 with per-tensor scale"),
        ("SOFTMAX", tflite("SOFTMAX"), "must", "1/256"),
    ],
)
def test_tflite_refusals(op: str, data: bytes, wrong: str, advice: str, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(data)
    with pytest.raises(UnsupportedError) as caught:
        api.load(tmp_path / "model.tflite")
    said = str(caught.value)
    assert "\n" not in said and "node 'the_node'" in said and f"({op})" in said and wrong in said and advice in said


@pytest.mark.parametrize(
    "proto",
    [
        one_node("Conv", (1, 2, 5, 5), [W]),
        one_node("Conv", (1, 2, 5, 5), [W[:, :1]], group=2),
        one_node("Elu", (1, 2), alpha=2.0),
        one_node("ReduceL2", (1, 2, 3), axes=[1]),
        one_node("ReduceMax", (1, 2, 3), axes=[1]),
        one_node("GlobalAveragePool", (1, 2, 3, 3)),
        one_node("LayerNormalization", (2, 3), [np.ones(3, np.float32)]),
        one_node("Clip", (1, 2), [np.float32(0), np.float32(5)]),
        one_node("Pad", (1, 4), [np.array([0, 1, 0, 0])], mode="edge"),
        one_node("Gemm", (1, 4), [np.ones((4, 2), np.float32), np.ones((1, 2), np.float32)]),
    ],
)
def test_the_table_of_onnx_operators_is_what_happens(proto: onnx.ModelProto) -> None:
    """What is read out of the functions' text has what they emit, but for the layout around images."""
    emitted = {node.op for node in graph_of(proto).nodes} - {"TRANSPOSE", "RESHAPE"}
    assert emitted and emitted <= set(readings()[proto.graph.node[0].op_type].ops)
