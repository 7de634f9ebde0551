# SPDX-License-Identifier: Apache-2.0
"""A layer's int8 weights and bias for new inputs: fitted to what the original layer gave, then rounded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.compress.fitting.regression import Sums, fit
from tinygen.compress.fitting.walk import Walk
from tinygen.ir.graph import Node
from tinygen.ir.types import Array, DType, Quant, Real, TensorType
from tinygen.ops import op_of
from tinygen.ops.convolution import OPERANDS
from tinygen.quantize.assign import MAX_BIAS, bias_quant, steps
from tinygen.quantize.layers import MAX_DEPTH, columns
from tinygen.quantize.ranges import symmetric_scales
from tinygen.quantize.rounding import Fit, by_columns


class RefusedError(ValueError):
    """New weights break a constraint of their operator, which the message is."""


def refitted(walk: Walk, node: Node, before: Node) -> Node:
    """Layer `node` with weights and a bias that do now what those of `before` did in the original.

    Very deep layers keep their weights, and get another bias only.
    """
    call, where = walk.call(node), OPERANDS[node.op]
    tensor, stored = call.input(where.weights), call.constant(where.weights)
    try:
        if stored.size // stored.shape[where.channel] > MAX_DEPTH:
            return _changed(walk, node, stored, tensor.q, _means(walk, node, before))
        seen = walk.moments(node, before)
        weights = fit(seen, columns(node.op, tensor.dequantize(stored), len(seen.all.x)))
        return with_weights(walk, node, weights, seen.all)
    except RefusedError:
        return node


def refitted_to_sum(walk: Walk, node: Node, add: Node) -> Node:
    """Layer `node` with weights and a bias that do now what the original's `add` did: it computes its tensor alone.

    Raises `RefusedError` if the node's operator refuses the new weights.
    """
    call, where = walk.call(node), OPERANDS[node.op]
    tensor, stored = call.input(where.weights), call.constant(where.weights)
    seen = walk.moments_of_sum(node, add)
    if stored.size // stored.shape[where.channel] > MAX_DEPTH:
        raise RefusedError("very deep layers keep their weights")
    weights = fit(seen, columns(node.op, tensor.dequantize(stored), len(seen.all.x)))
    return with_weights(walk, node, weights, seen.all)


def _means(walk: Walk, node: Node, before: Node) -> Sums:
    """Sums without products, which would be too large: enough for a bias."""
    parts = [Sums(len(x), x.sum(axis=0), y.sum(axis=0), *[np.zeros(0)] * 3) for _, x, y in walk.rows(node, before)]
    return sum(parts[1:], start=parts[0])


def with_weights(walk: Walk, node: Node, weights: Real, sums: Sums, bias: bool = True) -> Node:
    """`node` with real `weights` [groups, filters, depth], rounded for inputs and outputs such as `sums` has seen.

    Scales are per tensor where they were. `bias`: whether there is to be one. Raises `RefusedError` if the node's
    operator refuses the new weights; nothing has changed then.
    """
    call, where = walk.call(node), OPERANDS[node.op]
    tensor, stored = call.input(where.weights), call.constant(where.weights)
    source = call.input(where.input).q.scale
    exact = uncolumned(node.op, weights, stored.shape)
    floor = np.abs(sums.bias(weights)).ravel() / (source * MAX_BIAS) if bias else np.zeros(1)
    scales = symmetric_scales(exact, where.channel, floor)
    if tensor.q.axis is None:
        scales = scales.max(keepdims=True)
    quant = Quant(tuple(scales.tolist()), (0,) * len(scales), tensor.q.axis)
    by_filter = np.broadcast_to(np.asarray(quant.scales), stored.shape[where.channel]).reshape(weights.shape[:2])
    rounded = by_columns(Fit.of(weights, sums.covariance, by_filter))
    return _changed(walk, node, uncolumned(node.op, rounded, stored.shape), quant, sums if bias else None)


def uncolumned(op: str, values: Array, shape: tuple[int, ...]) -> Array:
    """[groups, filters, depth] as weights of an operator; the reverse of `columns`."""
    return (values.transpose(2, 0, 1) if op == "DEPTHWISE_CONV_2D" else values).reshape(shape)


def _changed(walk: Walk, node: Node, integers: Array, quant: Quant, sums: Sums | None) -> Node:
    """`node` with these integer weights, and the bias that goes with them."""
    where, inputs = OPERANDS[node.op], list(node.inputs)
    old = dict(walk.types), dict(walk.constants)
    shape = integers.shape
    inputs[where.weights] = _own(walk, node, where.weights, f"{node.outputs[0]}:weights")
    walk.types[inputs[where.weights]] = TensorType(shape, DType.INT8, quant)
    walk.constants[inputs[where.weights]] = integers.astype(np.int8)
    if sums is not None:
        fitted = columns(node.op, walk.types[inputs[where.weights]].dequantize(integers), len(sums.x))
        values, source = sums.bias(fitted).ravel(), walk.types[inputs[where.input]].q.scale
        scales = np.broadcast_to(np.asarray(quant.scales), values.shape)
        inputs += [""] * (where.bias + 1 - len(inputs))
        inputs[where.bias] = _own(walk, node, where.bias, f"{node.outputs[0]}:bias")
        kind = DType.INT64 if walk.types[node.outputs[0]].dtype is DType.INT16 else DType.INT32
        walk.types[inputs[where.bias]] = TensorType(values.shape, kind, bias_quant(source, scales))
        walk.constants[inputs[where.bias]] = steps(values, source * scales, kind)
    made = replace(node, inputs=tuple(inputs))
    problems = op_of(made).problems(walk.call(made))
    if problems:
        walk.types, walk.constants = old
        raise RefusedError(problems[0])
    return made


def _own(walk: Walk, node: Node, index: int, name: str) -> str:
    """A name for constant input `index` of `node`: the one it has, unless others read it, too."""
    held = node.inputs[index] if index < len(node.inputs) else ""
    if held and sum(n.inputs.count(held) for n in walk.original.nodes) <= 1:
        return held
    while name in walk.types:
        name += "'"
    return name


def refit(walk: Walk, node: Node) -> Node:
    """`node`, refitted if it is a layer of the original that gets other inputs now."""
    before = walk.before(node)
    return refitted(walk, node, before) if before is not None and walk.changed(node, before) else node
