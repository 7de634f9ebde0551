# SPDX-License-Identifier: Apache-2.0
"""ONNX operators that compute each element from one element of each input."""

from __future__ import annotations

import math

import numpy as np

from tinygen.frontends.onnx.build import Builder
from tinygen.frontends.onnx.node import OnnxNode
from tinygen.frontends.onnx.registry import handles
from tinygen.ir.types import DType
from tinygen.ops.gelu import GeluAttrs
from tinygen.ops.hard_sigmoid import HardSigmoidAttrs
from tinygen.ops.leaky_relu import LeakyReluAttrs
from tinygen.ops.shapes import broadcast_shape

_UNARY = {
    "Relu": "RELU",
    "Sigmoid": "LOGISTIC",
    "Tanh": "TANH",
    "HardSwish": "HARD_SWISH",
    "Exp": "EXP",
    "Log": "LOG",
    "Sqrt": "SQRT",
    "Abs": "ABS",
    "Neg": "NEG",
    "Erf": "ERF",
}
_BINARY = {"Add": "ADD", "Sub": "SUB", "Mul": "MUL", "Sum": "ADD", "Max": "MAXIMUM", "Min": "MINIMUM"}

#: The clamps that are operators of their own.
_CLAMPS = {(0.0, math.inf): "RELU", (0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}


def floating(b: Builder, node: OnnxNode) -> None:
    """Refuse a node that computes with integers at run time."""
    dtypes = {b.types[name].dtype for name in node.inputs if name}
    node.need(
        dtypes == {DType.FLOAT32},
        "it computes with integers at run time; expected float32 numbers: give them to the model as float32",
    )


@handles(*_UNARY)
def unary(b: Builder, node: OnnxNode) -> str:
    floating(b, node)
    return b.emit(_UNARY[node.op], [node.input(0)])


@handles(*_BINARY)
def binary(b: Builder, node: OnnxNode) -> str:
    """Two inputs, or for some operators any number of them, joined one after the other."""
    floating(b, node)
    result = node.input(0)
    for other in node.inputs[1:]:
        result = combine(b, _BINARY[node.op], result, other)
    return result


def combine(b: Builder, op: str, first: str, second: str) -> str:
    """`op` of two tensors that broadcast."""
    if broadcast_shape(b.shape(first), b.shape(second)) is None:
        raise ValueError(f"shapes {list(b.shape(first))} and {list(b.shape(second))} do not broadcast")
    return b.emit(op, [first, second])


@handles("Div")
def div(b: Builder, node: OnnxNode) -> str:
    """A product with the reciprocal."""
    floating(b, node)
    dividend, divisor = node.input(0), node.input(1)
    if divisor in b.known:
        value = b.known[divisor].astype(np.float64)
        node.need(bool(np.all(value != 0)), "it divides by a constant that holds 0: put a small number in its place")
        return combine(b, "MUL", dividend, b.floats(1 / value))
    inverse = b.emit("POW", [divisor, b.floats(-1.0)])
    if dividend in b.known and np.all(b.known[dividend] == 1) and b.rank(dividend) <= b.rank(divisor):
        return inverse
    return combine(b, "MUL", dividend, inverse)


@handles("Reciprocal")
def reciprocal(b: Builder, node: OnnxNode) -> str:
    return b.emit("POW", [node.input(0), b.floats(-1.0)])


@handles("Pow")
def power(b: Builder, node: OnnxNode) -> str:
    floating_base = b.types[node.input(0)].dtype is DType.FLOAT32
    node.need(
        floating_base,
        "it computes with integers at run time; expected float32 numbers: give them to the model as float32",
    )
    exponent = b.known.get(node.input(1))
    uniform = exponent is not None and exponent.size > 0 and bool(np.all(exponent == exponent.ravel()[0]))
    node.need(uniform, "the exponent must be a constant, the same for all elements: write other powers as products")
    assert exponent is not None
    value = float(exponent.ravel()[0])
    x = node.input(0)
    if value == 1:
        return x
    if value == -0.5:
        return b.emit("RSQRT", [x])
    if value in (0.5, 2.0):
        return b.emit("SQRT", [x]) if value == 0.5 else b.emit("MUL", [x, x])
    return b.emit("POW", [x, b.floats(value)])


@handles("Clip")
def clip(b: Builder, node: OnnxNode) -> str:
    floating(b, node)
    low, high = (_limit(b, node, i, name, d) for i, name, d in ((1, "min", -math.inf), (2, "max", math.inf)))
    return clamp(b, node.input(0), low, high)


def _limit(b: Builder, node: OnnxNode, index: int, name: str, default: float) -> float:
    if not node.has(index):
        value = float(node.attr(name, default))
        return default if abs(value) > 3e38 else value  # operator set 6 wrote float32's largest number
    node.need(
        node.input(index) in b.known,
        f"the limit '{name}' must be a constant: store it in the model, or use Min and Max",
    )
    return float(b.known[node.input(index)].reshape(()))


def clamp(b: Builder, x: str, low: float, high: float) -> str:
    """`x` between two limits, either of which may be infinite."""
    if (low, high) in _CLAMPS:
        return b.emit(_CLAMPS[low, high], [x])
    if low > -math.inf:
        x = b.emit("MAXIMUM", [x, b.floats(low)])
    return b.emit("MINIMUM", [x, b.floats(high)]) if high < math.inf else x


@handles("LeakyRelu")
def leaky_relu(b: Builder, node: OnnxNode) -> str:
    return b.emit("LEAKY_RELU", [node.input(0)], LeakyReluAttrs(float(node.attr("alpha", 0.01))))


@handles("PRelu")
def prelu(b: Builder, node: OnnxNode) -> str:
    node.need(node.input(1) in b.known, "the slope must be a constant: store it in the model, or use LeakyRelu")
    return combine(b, "PRELU", node.input(0), node.input(1))


@handles("Elu")
def elu(b: Builder, node: OnnxNode) -> str:
    """TFLite's has alpha 1; another one scales the negative side."""
    x, alpha = node.input(0), float(node.attr("alpha", 1.0))
    if alpha == 1:
        return b.emit("ELU", [x])
    negative = b.emit("ELU", [b.emit("MINIMUM", [x, b.floats(0.0)])])
    return b.emit("ADD", [b.emit("RELU", [x]), b.emit("MUL", [negative, b.floats(alpha)])])


@handles("HardSigmoid")
def hard_sigmoid(b: Builder, node: OnnxNode) -> str:
    attrs = HardSigmoidAttrs(float(node.attr("alpha", 0.2)), float(node.attr("beta", 0.5)))
    return b.emit("HARD_SIGMOID", [node.input(0)], attrs)


@handles("Gelu")
def gelu(b: Builder, node: OnnxNode) -> str:
    return b.emit("GELU", [node.input(0)], GeluAttrs(node.attr("approximate", "none") == "tanh"))


@handles("Identity")
def identity(b: Builder, node: OnnxNode) -> str:
    return node.input(0)


@handles("Dropout")
def dropout(b: Builder, node: OnnxNode) -> str:
    """Nothing, in inference."""
    node.single_output()
    training = node.has(2) and bool(np.any(b.known.get(node.input(2), np.ones(1))))
    node.need(not training, "it is in training mode: export the model for inference")
    return node.input(0)


@handles("Cast", "CastLike")
def cast(b: Builder, node: OnnxNode) -> str:
    """Between kinds of floats: nothing. All activations are float32 here."""
    to = int(node.attr("to", 1))
    floats = {1, 10, 11, 16}  # float, float16, double, bfloat16 in onnx.TensorProto.DataType
    both = b.types[node.input(0)].dtype is DType.FLOAT32 and to in floats and node.op == "Cast"
    indices = b.types[node.input(0)].dtype is DType.INT32 and to in {6, 7}  # int32, int64
    node.need(both or indices, "only casts from float to float are supported at run time: leave the values in float32")
    return node.input(0)


@handles("Mean")
def mean(b: Builder, node: OnnxNode) -> str:
    """Of several tensors, element by element."""
    floating(b, node)
    total = node.input(0)
    for other in node.inputs[1:]:
        total = combine(b, "ADD", total, other)
    return b.emit("MUL", [total, b.floats(1 / len(node.inputs))])
