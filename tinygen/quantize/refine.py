# SPDX-License-Identifier: Apache-2.0
"""Weights and biases that fit the calibration samples: layer by layer, in the order of the network.

What a layer multiplies is known from running the samples through float and int8 layers so far. From that follow the
scales of its weights, their integers (`tinygen.quantize.rounding`), and its bias, which takes up the mean of what is
left, and of what earlier layers did to the inputs (bias correction; M. Nagel et al., Data-Free Quantization, 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinygen.batch import Values, elements, side_by_side, start, step
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, DType, Quant, Real, TensorType
from tinygen.ops import call_of
from tinygen.ops.convolution import OPERANDS
from tinygen.passes.rewrite import fresh
from tinygen.quantize.assign import MAX_BIAS, bias_quant, steps
from tinygen.quantize.layers import MAX_DEPTH, PIXELS, columns, is_layer, moments, rows, uncolumned
from tinygen.quantize.options import Options
from tinygen.quantize.report import inputs_of
from tinygen.quantize.rounding import Fit, by_columns, descend, fitted_scales

#: Samples that are used, and elements of all tensors on them.
MIN_SAMPLES, MAX_SAMPLES, MAX_ELEMENTS = 16, 128, 1 << 25


def refine(real: Graph, integer: Graph, samples: Sequence[Sequence[Array]], settings: Options) -> Graph:
    """`integer` with weights and biases that fit `samples` better; `real` is the float graph with the same nodes."""
    used = samples[: max(MIN_SAMPLES, min(MAX_SAMPLES, MAX_ELEMENTS // elements(real)))]
    exact, got = start(real, used), start(integer, [inputs_of(integer, sample) for sample in used])
    last = {name: index for index, node in enumerate(integer.nodes) for name in node.inputs}
    for index, before in enumerate(real.nodes):
        if is_layer(integer, integer.nodes[index]):
            integer = _refined(real, before, integer, integer.nodes[index], exact, got, settings)
        node = integer.nodes[index]
        step(real, before, exact)
        step(integer, node, got)
        for name in {n for n in node.inputs if last.get(n) == index}:
            exact.pop(name, None)
            got.pop(name, None)
    return integer


def _refined(
    real: Graph, before: Node, integer: Graph, node: Node, exact: Values, got: Values, settings: Options
) -> Graph:
    """`integer` with other weights and another bias in `node`."""
    call, where = call_of(integer, node), OPERANDS[node.op]
    now, then = got[node.inputs[where.input]], exact[before.inputs[where.input]]
    quantized = rows(call, call.input(where.input).dequantize(side_by_side(now)), PIXELS)
    inputs = rows(call, side_by_side(then), PIXELS)
    found = moments(quantized, inputs, 0 if settings.rounding == "bias" else MAX_DEPTH)
    name = node.inputs[where.weights]
    groups, stored, tensor = quantized.shape[1], integer.constants[name], integer.types[name]
    weights = columns(node.op, real.constants[before.inputs[where.weights]].astype(np.float64), groups)
    scales = np.broadcast_to(np.asarray(tensor.q.scales), stored.shape[where.channel]).reshape(weights.shape[:2])
    integers = columns(node.op, stored, groups).astype(np.float64)
    bias = _bias(real, before).reshape(weights.shape[:2])
    if found.covariance is not None:
        fit = Fit.of(weights, found.covariance, scales)
        if settings.scales == "fitted":
            floor = np.abs(bias) / (call.input(where.input).q.scale * MAX_BIAS)
            fit = replace(fit, scales=fitted_scales(fit, floor))
        integers = by_columns(fit)
        if settings.rounding == "adaptive":
            integers = descend(fit, integers)
        scales = fit.scales
    lost = np.einsum("gfd,gd->gf", weights, found.mean_in_float)
    shift = lost - np.einsum("gfd,gd->gf", integers * scales[:, :, None], found.mean)
    kept = uncolumned(node.op, integers, stored.shape).astype(np.int8)
    return _with(integer, node, kept, scales.ravel(), (bias + shift).ravel())


def _bias(graph: Graph, node: Node) -> Real:
    """The bias of a float layer; zeros where there is none."""
    where = OPERANDS[node.op]
    name = node.inputs[where.bias] if len(node.inputs) > where.bias else ""
    channels = graph.types[node.inputs[where.weights]].shape[where.channel]
    return graph.constants[name].astype(np.float64).ravel() if name else np.zeros(channels)


def _with(integer: Graph, node: Node, weights: Array, scales: Real, bias: Real) -> Graph:
    """`integer` with these integer `weights`, their `scales` and this real `bias` in `node`."""
    where, types, constants = OPERANDS[node.op], dict(integer.types), dict(integer.constants)
    name, source = node.inputs[where.weights], integer.types[node.inputs[where.input]].q.scale
    constants[name] = weights
    quant = Quant(tuple(scales.tolist()), (0,) * len(scales), where.channel)
    types[name] = replace(types[name], quant=quant)
    inputs = [*node.inputs, *[""] * (where.bias + 1 - len(node.inputs))]
    inputs[where.bias] = inputs[where.bias] or fresh(integer, f"{node.outputs[0]}:bias")
    kind = DType.INT64 if integer.types[node.outputs[0]].dtype is DType.INT16 else DType.INT32
    types[inputs[where.bias]] = TensorType(bias.shape, kind, bias_quant(source, scales))
    constants[inputs[where.bias]] = steps(bias, source * scales, kind)
    changed = replace(node, inputs=tuple(inputs))
    nodes = tuple(changed if n is node else n for n in integer.nodes)
    return replace(integer, nodes=nodes, types=types, constants=constants)
