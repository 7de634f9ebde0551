# SPDX-License-Identifier: Apache-2.0
"""Which ONNX nodes stand for an operator: layers, pools and functions; `onnx_movement` has those that move values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.export.onnx_registry import operand, shared_order, writes
from tinygen.export.onnx_writer import NCHW, Order, Writer
from tinygen.ir.graph import Node
from tinygen.ops import Activation
from tinygen.ops.convolution import OPERANDS


def result(w: Writer, node: Node, value: str, order: Order) -> None:
    """The node's output is `value` after its fused activation."""
    activation = getattr(node.attrs, "activation", Activation.NONE)
    if activation is Activation.RELU:
        value = w.node("Relu", [value])
    elif activation is not Activation.NONE:
        value = w.node("Clip", [value, *(w.real(limit) for limit in activation.limits)])
    w.write(node.outputs[0], value, order)


# --- Functions of one value ----------------------------------------------------------------------------------------

_UNARY = {
    "ABS": "Abs",
    "ELU": "Elu",
    "ERF": "Erf",
    "EXP": "Exp",
    "HARD_SWISH": "HardSwish",
    "LOG": "Log",
    "LOGISTIC": "Sigmoid",
    "NEG": "Neg",
    "RELU": "Relu",
    "SQRT": "Sqrt",
    "TANH": "Tanh",
}


@writes(*_UNARY, "LEAKY_RELU", "HARD_SIGMOID")
def unary(w: Writer, node: Node) -> None:
    source, attrs = node.inputs[0], node.attrs
    op = {**_UNARY, "LEAKY_RELU": "LeakyRelu", "HARD_SIGMOID": "HardSigmoid"}[node.op]
    order, values = w.order(source), {k: getattr(attrs, k) for k in ("alpha", "beta") if hasattr(attrs, k)}
    w.write(node.outputs[0], w.node(op, [w.read(source, order)], **values), order)


@writes("RELU6", "RELU_N1_TO_1")
def clip(w: Writer, node: Node) -> None:
    order = w.order(node.inputs[0])
    limits = [w.real(limit) for limit in Activation[node.op].limits]
    w.write(node.outputs[0], w.node("Clip", [w.read(node.inputs[0], order), *limits]), order)


@writes("RSQRT")
def rsqrt(w: Writer, node: Node) -> None:
    order = w.order(node.inputs[0])
    w.write(node.outputs[0], w.node("Pow", [w.read(node.inputs[0], order), w.real(-0.5)]), order)


@writes("SILU")
def silu(w: Writer, node: Node) -> None:
    order = w.order(node.inputs[0])
    x = w.read(node.inputs[0], order)
    w.write(node.outputs[0], w.node("Mul", [x, w.node("Sigmoid", [x])]), order)


@writes("GELU")
def gelu(w: Writer, node: Node) -> None:
    """Spelled out, since ONNX's own is newer than the operator set: x / 2 (1 + erf(x / √2)), or tanh for erf."""
    attrs: Any = node.attrs
    order = w.order(node.inputs[0])
    x = w.read(node.inputs[0], order)
    if attrs.approximate:
        cube = w.node("Mul", [w.node("Mul", [w.node("Mul", [x, x]), x]), w.real(0.044715)])
        inner = w.node("Tanh", [w.node("Mul", [w.node("Add", [x, cube]), w.real(np.sqrt(2 / np.pi))])])
    else:
        inner = w.node("Erf", [w.node("Mul", [x, w.real(np.sqrt(0.5))])])
    half = w.node("Mul", [x, w.real(0.5)])
    w.write(node.outputs[0], w.node("Mul", [half, w.node("Add", [inner, w.real(1)])]), order)


@writes("SOFTMAX", "LOG_SOFTMAX")
def softmax(w: Writer, node: Node) -> None:
    source = node.inputs[0]
    if getattr(node.attrs, "beta", 1.0) != 1:
        raise w.refuse(node, "its beta is not 1, and ONNX's Softmax has none")
    order = w.order(source)
    op = {"SOFTMAX": "Softmax", "LOG_SOFTMAX": "LogSoftmax"}[node.op]
    w.write(node.outputs[0], w.node(op, [w.read(source, order)], axis=order.index(w.rank(source) - 1)), order)


# --- Functions of two values ---------------------------------------------------------------------------------------

_BINARY = {
    "ADD": "Add",
    "MAXIMUM": "Max",
    "MINIMUM": "Min",
    "MUL": "Mul",
    "POW": "Pow",
    "PRELU": "PRelu",
    "SUB": "Sub",
}


@writes(*_BINARY)
def binary(w: Writer, node: Node) -> None:
    order = shared_order(w, node)
    result(w, node, w.node(_BINARY[node.op], [operand(w, name, order) for name in node.inputs]), order)


# --- Layers --------------------------------------------------------------------------------------------------------


def parameters(w: Writer, node: Node, weights: Order) -> list[str]:
    """Weights in the order `weights`, and the bias if there is one."""
    where = OPERANDS[node.op]
    if node.inputs[where.weights] not in w.graph.constants:
        raise w.refuse(node, "its weights are computed at run time")
    bias = node.inputs[where.bias] if len(node.inputs) > where.bias else ""
    if bias and bias not in w.graph.constants:
        raise w.refuse(node, "its bias is computed at run time")
    return [w.read(node.inputs[where.weights], weights), *([w.read(bias)] if bias else [])]


def sides(padding: Sequence[int]) -> list[int]:
    """(top, bottom, left, right) as ONNX has it: first both begins, then both ends."""
    top, bottom, left, right = padding
    return [top, left, bottom, right]


@writes("CONV_2D", "DEPTHWISE_CONV_2D")
def convolution(w: Writer, node: Node) -> None:
    attrs: Any = node.attrs
    depthwise = node.op == "DEPTHWISE_CONV_2D"
    weights, channels = w.shape(node.inputs[1]), w.shape(node.inputs[0])[3]
    value = w.node(
        "Conv",
        [w.read(node.inputs[0], NCHW), *parameters(w, node, (3, 0, 1, 2) if depthwise else NCHW)],
        kernel_shape=weights[1:3],
        strides=attrs.stride,
        dilations=attrs.dilation,
        pads=sides(attrs.padding),
        group=channels if depthwise else channels // weights[3],
    )
    result(w, node, value, NCHW)


@writes("TRANSPOSE_CONV")
def transposed_convolution(w: Writer, node: Node) -> None:
    attrs: Any = node.attrs
    weights, source, target = w.shape(node.inputs[1]), w.shape(node.inputs[2]), w.shape(node.outputs[0])
    first = attrs.padding[0], attrs.padding[2]
    full = [attrs.stride[i] * (source[1 + i] - 1) + weights[1 + i] for i in (0, 1)]
    last = [full[i] - first[i] - target[1 + i] for i in (0, 1)]
    value = w.node(
        "ConvTranspose",
        [w.read(node.inputs[2], NCHW), *parameters(w, node, (3, 0, 1, 2))],
        kernel_shape=weights[1:3],
        strides=attrs.stride,
        pads=[*first, *(max(n, 0) for n in last)],
        output_padding=[max(-n, 0) for n in last],
    )
    result(w, node, value, NCHW)


@writes("FULLY_CONNECTED")
def dense(w: Writer, node: Node) -> None:
    """Gemm of rows; what has other dimensions than two is reshaped before and after."""
    depth, source, target = w.shape(node.inputs[1])[1], node.inputs[0], node.outputs[0]
    x, rows = w.read(source), w.graph.types[source].elements // depth
    if w.shape(source) != (rows, depth):
        x = w.node("Reshape", [x, w.integers((rows, depth))])
    value = w.node("Gemm", [x, *parameters(w, node, (0, 1))], transB=1)
    if w.shape(target) != (rows, w.shape(node.inputs[1])[0]):
        value = w.node("Reshape", [value, w.integers(w.shape(target))])
    result(w, node, value, w.straight(target))


@writes("BATCH_MATMUL")
def matmul(w: Writer, node: Node) -> None:
    attrs: Any = node.attrs
    if any(name in w.graph.constants for name in node.inputs):
        raise w.refuse(node, "one of its matrices is constant, which ONNX readers take for weights")
    operands = []
    for name, turned in zip(node.inputs, (attrs.adj_x, attrs.adj_y), strict=True):
        *rest, row, column = w.straight(name)
        operands.append(w.read(name, (*rest, column, row) if turned else (*rest, row, column)))
    w.write(node.outputs[0], w.node("MatMul", operands), w.straight(node.outputs[0]))


@writes("MAX_POOL_2D", "AVERAGE_POOL_2D")
def pool(w: Writer, node: Node) -> None:
    """Averages leave the padding out, in both formats."""
    attrs: Any = node.attrs
    value = w.node(
        {"MAX_POOL_2D": "MaxPool", "AVERAGE_POOL_2D": "AveragePool"}[node.op],
        [w.read(node.inputs[0], NCHW)],
        kernel_shape=attrs.window,
        strides=attrs.stride,
        pads=sides(attrs.padding),
    )
    result(w, node, value, NCHW)


_REDUCERS = {"MEAN": "ReduceMean", "SUM": "ReduceSum", "REDUCE_MAX": "ReduceMax", "REDUCE_MIN": "ReduceMin"}


@writes(*_REDUCERS)
def reduction(w: Writer, node: Node) -> None:
    """ReduceSum has its axes in an input, the others in an attribute."""
    attrs: Any = node.attrs
    source, order = node.inputs[0], w.order(node.inputs[0])
    axes = {int(a) % w.rank(source) for a in w.graph.constants[node.inputs[1]].ravel()}
    places = sorted(order.index(axis) for axis in axes)
    x, op, keep = w.read(source, order), _REDUCERS[node.op], int(attrs.keep_dims)
    if op == "ReduceSum":
        value = w.node(op, [x, w.integers(places)], keepdims=keep)
    else:
        value = w.node(op, [x], axes=places, keepdims=keep)
    left = sorted(set(order) - axes)
    w.write(node.outputs[0], value, order if keep else tuple(left.index(a) for a in order if a not in axes))
