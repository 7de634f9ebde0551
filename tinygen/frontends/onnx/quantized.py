# SPDX-License-Identifier: Apache-2.0
"""Quantized ONNX models: QuantizeLinear and DequantizeLinear (QDQ), and operators that contain them (QOperator).

They are read as float models whose tensors say how they are quantized: QuantizeLinear becomes a QUANTIZE that stays in
float and carries scale and zero point (`ops.quantize.Given`), DequantizeLinear of it vanishes, and a QOperator is the
float operator between the two. uint8 becomes int8 by a shift of 128 that changes no value. Constants are real numbers
from the start; `tinygen/quantize/given.py` finds the integers they were again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tinygen.frontends.onnx.build import Builder
from tinygen.frontends.onnx.node import OnnxNode
from tinygen.frontends.onnx.registry import handlers, handles
from tinygen.ir.types import Array, Quant
from tinygen.ops.quantize import Given


@handles("QuantizeLinear")
def quantize_linear(b: Builder, node: OnnxNode) -> str:
    """Constants stay the real numbers that they are: weights find their scale again, others get one that is finer."""
    return node.input(0) if node.input(0) in b.known else quantized(b, node, node.input(0), 1)


@handles("DequantizeLinear")
def dequantize_linear(b: Builder, node: OnnxNode) -> str:
    """Of constants, the real numbers. What QuantizeLinear made means real numbers already."""
    node.need(not node.attr("block_size", 0), "blocked quantization is not supported: quantize by channel")
    if node.input(0) in b.known and b.known[node.input(0)].dtype.kind == "f":
        return node.input(0)
    return real(b, node, 0, int(node.attr("axis", 1)))


def quantized(b: Builder, node: OnnxNode, x: str, scale: int) -> str:
    """`x` with the scale that is input `scale` of `node`, and the zero point that is the next input."""
    value = constant(b, node, scale)
    zero = constant(b, node, scale + 1) if node.has(scale + 1) else np.zeros(1, np.uint8)
    node.need(value.size == zero.size == 1, "a tensor computed at run time needs one scale: quantize it per tensor")
    node.need(zero.dtype.name in ("int8", "uint8"), f"{zero.dtype.name} is not supported: quantize to int8 or uint8")
    step = float(np.float32(value.ravel()[0]))
    node.need(0 < step < np.inf, f"the scale {step} is not positive: quantize the model again")
    return b.emit("QUANTIZE", [x], Given(step, int(zero.ravel()[0]) - (128 if zero.dtype == np.uint8 else 0)))


def constant(b: Builder, node: OnnxNode, index: int) -> Array:
    """Input `index`, a scale or zero point, which must be constant."""
    name = node.input(index)
    node.need(name in b.known, "scales and zero points must be constant: quantize the model statically")
    return b.known[name]


def real(b: Builder, node: OnnxNode, index: int, axis: int = 0) -> str:
    """Input `index` in real numbers; its scale and zero point are the next two inputs, along `axis` if several."""
    name = node.input(index)
    if name not in b.known:
        return name
    value, scale = b.known[name], constant(b, node, index + 1)
    zero = constant(b, node, index + 2) if node.has(index + 2) else np.zeros(1, value.dtype)
    axis = axis % value.ndim if value.ndim else 0
    shape = [-1 if i == axis else 1 for i in range(value.ndim)]
    scale, zero = (v.reshape(shape) if v.size > 1 else v.reshape(()) for v in (scale, zero))
    result = b.floats((value.astype(np.float64) - zero) * scale.astype(np.float64))
    b.types[result] = replace(b.types[result], quant=_stored(scale, zero, axis))
    return result


def _stored(scale: Array, zero: Array, axis: int) -> Quant:
    """How a constant was quantized, zero points in int8."""
    shift = 128 if zero.dtype == np.uint8 else 0
    scales = tuple(float(np.float32(s)) for s in scale.ravel())
    zeros = tuple(int(z) - shift for z in np.broadcast_to(zero.ravel(), (len(scales),)))
    return Quant(scales, zeros, axis if len(scales) > 1 else None)


def float_form(b: Builder, node: OnnxNode, op: str, *inputs: str) -> str:
    """The float operator `op` with the attributes of `node`."""
    result = handlers()[op](b, replace(node, op=op, inputs=inputs))
    return result if isinstance(result, str) else result[0]


def int32_bias(b: Builder, node: OnnxNode, index: int) -> tuple[str, ...]:
    """The optional bias in real numbers: its scale is the product of those of the inputs before it."""
    if not node.has(index):
        return ()
    scale = constant(b, node, 1).astype(np.float64).ravel() * constant(b, node, 4).astype(np.float64).ravel()
    return (b.floats(constant(b, node, index) * scale),)


@handles("QLinearConv")
def conv(b: Builder, node: OnnxNode) -> str:
    result = float_form(b, node, "Conv", real(b, node, 0), real(b, node, 3), *int32_bias(b, node, 8))
    return quantized(b, node, result, 6)


@handles("QLinearMatMul")
def matmul(b: Builder, node: OnnxNode) -> str:
    return quantized(b, node, float_form(b, node, "MatMul", real(b, node, 0), real(b, node, 3, -1)), 6)


@handles("com.microsoft.QGemm")
def gemm(b: Builder, node: OnnxNode) -> str:
    """onnxruntime's: the bias is int32, and without a scale the result is float."""
    axis = 0 if node.attr("transB", 0) else 1
    alpha = np.float32(node.attr("alpha", 1.0))
    bias = tuple(b.floats(b.known[name] * alpha) for name in int32_bias(b, node, 6))
    result = float_form(b, node, "Gemm", real(b, node, 0), real(b, node, 3, axis), *bias)
    return quantized(b, node, result, 7) if node.has(7) else result


def _binary(op: str) -> Callable[[Builder, OnnxNode], str]:
    def build(b: Builder, node: OnnxNode) -> str:
        return quantized(b, node, float_form(b, node, op, real(b, node, 0), real(b, node, 3)), 6)

    return build


def _unary(op: str) -> Callable[[Builder, OnnxNode], str]:
    def build(b: Builder, node: OnnxNode) -> str:
        node.need(not node.attr("channels_last", 0), "channels_last is not supported: quantize the model as exported")
        return quantized(b, node, float_form(b, node, op, real(b, node, 0)), 3)

    return build


#: onnxruntime's own operators.
_MICROSOFT = {
    "QLinearAdd": _binary("Add"),
    "QLinearMul": _binary("Mul"),
    "QLinearAveragePool": _unary("AveragePool"),
    "QLinearGlobalAveragePool": _unary("GlobalAveragePool"),
    "QLinearLeakyRelu": _unary("LeakyRelu"),
    "QLinearSigmoid": _unary("Sigmoid"),
}
for _name, _builder in _MICROSOFT.items():
    handles(f"com.microsoft.{_name}")(_builder)

#: The operators of models in QOperator form: integers in and out.
QOPERATORS = frozenset(
    {"QLinearConv", "QLinearMatMul", "com.microsoft.QGemm", *(f"com.microsoft.{name}" for name in _MICROSOFT)}
)
