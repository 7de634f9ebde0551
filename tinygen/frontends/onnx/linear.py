# SPDX-License-Identifier: Apache-2.0
"""ONNX operators that are matrix products: Gemm and MatMul."""

from __future__ import annotations

import numpy as np

from tinygen.frontends.onnx.build import Builder
from tinygen.frontends.onnx.elementwise import combine, floating
from tinygen.frontends.onnx.node import OnnxNode
from tinygen.frontends.onnx.registry import handles
from tinygen.ops.batch_matmul import BatchMatMulAttrs
from tinygen.ops.fully_connected import FullyConnectedAttrs


@handles("Gemm")
def gemm(b: Builder, node: OnnxNode) -> str:
    """alpha * A * B + beta * C, where A and B may be stored transposed."""
    floating(b, node)
    left, right = node.input(0), node.input(1)
    alpha, beta = float(node.attr("alpha", 1.0)), float(node.attr("beta", 1.0))
    node.need(
        b.rank(left) == b.rank(right) == 2, "both operands must be matrices: reshape them before it, or use MatMul"
    )
    if node.attr("transA", 0):
        left = b.transpose(left, (1, 0))
    addend = scaled(b, node.input(2), beta) if node.has(2) and beta else None
    if right not in b.known:
        result = b.emit("BATCH_MATMUL", [left, right], BatchMatMulAttrs(False, bool(node.attr("transB", 0))))
        result = result if alpha == 1 else combine(b, "MUL", result, b.floats(alpha))
        return combine(b, "ADD", result, addend) if addend else result
    matrix = b.known[right] if node.attr("transB", 0) else b.known[right].T
    units = matrix.shape[0]
    bias = _as_bias(b, addend, units) if addend else None
    weights = b.constant(np.asarray(matrix * np.float32(alpha), np.float32), "weights")
    if alpha == 1:
        b.stored_as(weights, right)
    result = dense(b, left, weights, bias)
    return combine(b, "ADD", result, addend) if addend and bias is None else result


def scaled(b: Builder, tensor: str, factor: float) -> str:
    """`factor` times a tensor, at once where it is constant."""
    if factor == 1:
        return tensor
    if tensor in b.known:
        return b.floats(b.known[tensor] * factor)
    return combine(b, "MUL", tensor, b.floats(factor))


def _as_bias(b: Builder, addend: str, units: int) -> str | None:
    """The addend as one value for each unit; None if it is no such thing."""
    if addend not in b.known or b.known[addend].ndim > 2:
        return None
    value = b.known[addend]
    if value.ndim == 2 and value.shape[0] != 1:
        return None
    return b.stored_as(b.floats(np.broadcast_to(value.reshape(-1), (units,))), addend)


def dense(b: Builder, x: str, weights: str, bias: str | None = None) -> str:
    """FULLY_CONNECTED over the last dimension of `x`; weights [units, depth]."""
    if b.shape(x)[-1:] != b.shape(weights)[1:]:
        raise ValueError(f"a matrix {list(b.shape(weights))} (transposed) does not fit rows of {list(b.shape(x))}")
    inputs = [x, weights] if bias is None else [x, weights, bias]
    return b.emit("FULLY_CONNECTED", inputs, FullyConnectedAttrs(keep_num_dims=True))


@handles("MatMul")
def matmul(b: Builder, node: OnnxNode) -> str:
    """numpy's product of matrices: vectors count as a row on the left, as a column on the right."""
    floating(b, node)
    left, right = node.input(0), node.input(1)
    row, column = b.rank(left) == 1, b.rank(right) == 1
    if row:
        left = b.reshape(left, (1, *b.shape(left)))
    if column:
        right = b.reshape(right, (*b.shape(right), 1))
    result = _product(b, left, right)
    shape = list(b.shape(result))
    if column:
        shape.pop()
    if row:
        shape.pop(-1 if column else -2)
    return b.reshape(result, shape)


def _product(b: Builder, left: str, right: str) -> str:
    if right in b.known and b.rank(right) == 2:
        weights = b.constant(np.ascontiguousarray(b.known[right].T), "weights")
        return dense(b, left, b.stored_as(weights, right))
    rank = max(b.rank(left), b.rank(right))
    if b.shape(left)[-1] != b.shape(right)[-2]:
        raise ValueError(f"matrices {list(b.shape(left))} and {list(b.shape(right))} do not fit")
    left, right = (b.reshape(t, (1,) * (rank - b.rank(t)) + b.shape(t)) for t in (left, right))
    return b.emit("BATCH_MATMUL", [left, right])
