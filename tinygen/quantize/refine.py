"""Weights rounded for what they are multiplied by, not each to its nearest: layer by layer, on calibration data.

For each layer, weights are rounded one input after the other, and what each rounding costs is made good in those not
yet rounded, in the least-squares sense over the inputs that the layer gets in the int8 network (GPTQ; E. Frantar et
al., 2022). The bias takes up the mean of what is left, and of what earlier layers did to the inputs (bias correction;
M. Nagel et al., Data-Free Quantization, 2019). Scales stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, DType, Real, TensorType
from tinygen.ops import Call, call_of, op_of
from tinygen.ops.convolution import OPERANDS, real_taps
from tinygen.passes.rewrite import fresh
from tinygen.quantize.assign import bias_quant, steps
from tinygen.quantize.report import inputs_of

#: Share of the mean squared input that is added to every input's, so that few samples move weights little.
DAMPING = 0.01
#: Layers with more inputs to an output than this are rounded to nearest, and only their bias corrected.
MAX_DEPTH = 2048
#: Samples that are used.
MAX_SAMPLES = 64

_LAYERS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})


@dataclass(frozen=True)
class Moments:
    """A layer's inputs by group: means [groups, depth] in the int8 network and in float, covariances in the former.

    `covariance` is [groups, depth, depth]; None where depth is more than `MAX_DEPTH`.
    """

    mean: Real
    mean_in_float: Real
    covariance: Real | None


def refine(real: Graph, integer: Graph, samples: Sequence[Sequence[Array]], rounding: bool = True) -> Graph:
    """`integer` with weights and biases that fit `samples` better; `real` is the float graph with the same nodes.

    `rounding`: weights, too, not only biases.
    """
    used = samples[:MAX_SAMPLES]
    exact = [_start(real, sample) for sample in used]
    got = [_start(integer, inputs_of(integer, sample)) for sample in used]
    last = {name: index for index, node in enumerate(integer.nodes) for name in node.inputs}
    for index, (before, node) in enumerate(zip(real.nodes, integer.nodes, strict=True)):
        if is_layer(integer, node):
            integer = _refined(real, before, integer, node, exact, got, rounding)
        node = integer.nodes[index]
        for values, graph, step, compute in (
            *((v, real, before, op_of(node).real) for v in exact),
            *((v, integer, node, op_of(node).reference) for v in got),
        ):
            _run(graph, step, values, compute)
            for name in node.inputs:
                if last.get(name) == index and name not in graph.outputs:
                    values.pop(name, None)
    return integer


def is_layer(graph: Graph, node: Node) -> bool:
    """Whether the weights of `node` can be refined."""
    return node.op in _LAYERS and node.inputs[OPERANDS[node.op].weights] in graph.constants


def _start(graph: Graph, sample: Sequence[Array]) -> dict[str, Array]:
    real = all(graph.types[n].quant is None for n in graph.inputs)
    return {n: np.asarray(v, np.float64) if real else v for n, v in zip(graph.inputs, sample, strict=True)}


def _run(graph: Graph, node: Node, values: dict[str, Array], compute: Any) -> None:
    inputs = [values[n] if n in values else graph.constants.get(n) for n in node.inputs]
    for name, result in zip(node.outputs, compute(call_of(graph, node), inputs), strict=True):
        values[name] = np.asarray(result).reshape(graph.types[name].shape)


def _refined(
    real: Graph,
    before: Node,
    integer: Graph,
    node: Node,
    exact: Sequence[dict[str, Array]],
    got: Sequence[dict[str, Array]],
    rounding: bool,
) -> Graph:
    """`integer` with other weights and another bias in `node`."""
    call, where = call_of(integer, node), OPERANDS[node.op]
    source = call.input(where.input)
    pairs = [
        (rows(call, source.dequantize(g[node.inputs[0]])), rows(call, np.asarray(e[before.inputs[0]])))
        for g, e in zip(got, exact, strict=True)
    ]
    name = node.inputs[where.weights]
    tensor, stored = integer.types[name], integer.constants[name]
    along = tensor.q.along(stored.ndim, tensor.q.scales)
    weights = real.constants[before.inputs[where.weights]].astype(np.float64)
    exact_columns, scales = columns(node.op, weights, pairs[0][0].shape[1]), np.broadcast_to(along, stored.shape)
    moments = _moments(pairs)
    integers = stored
    if rounding and moments.covariance is not None:
        rounded = round_columns(exact_columns, columns(node.op, scales, len(exact_columns)), moments.covariance)
        integers = _uncolumned(node.op, rounded, stored.shape).astype(np.int8)
    fitted = columns(node.op, tensor.dequantize(integers), len(exact_columns))
    lost = np.einsum("gfd,gd->gf", exact_columns, moments.mean_in_float)
    shift = lost - np.einsum("gfd,gd->gf", fitted, moments.mean)
    return _with(real, before, integer, node, integers, shift.ravel())


def rows(call: Call[Any], values: Real) -> Real:
    """What the weights of each group multiply, for each output pixel: [pixels, groups, depth]."""
    if call.op == "FULLY_CONNECTED":
        return values.reshape(-1, 1, call.input(1).shape[1])
    taps = np.stack(list(real_taps(call, values).values()), axis=3)
    pixels, channels = int(np.prod(taps.shape[:3])), taps.shape[-1]
    depth = 1 if call.op == "DEPTHWISE_CONV_2D" else call.input(1).shape[3]
    split = taps.reshape(pixels, taps.shape[3], channels // depth, depth)
    return split.transpose(0, 2, 1, 3).reshape(pixels, channels // depth, -1)


def columns(op: str, weights: Array, groups: int) -> Array:
    """`weights` as [groups, filters of the group, depth], in the order of `rows`."""
    if op == "DEPTHWISE_CONV_2D":
        return weights.reshape(-1, groups, weights.shape[3] // groups).transpose(1, 2, 0)
    return weights.reshape(groups, weights.shape[0] // groups, -1)


def _uncolumned(op: str, values: Array, shape: tuple[int, ...]) -> Array:
    return (values.transpose(2, 0, 1) if op == "DEPTHWISE_CONV_2D" else values).reshape(shape)


def _moments(pairs: Sequence[tuple[Real, Real]]) -> Moments:
    count = sum(len(q) for q, _ in pairs)
    mean = np.asarray(sum(q.sum(axis=0) for q, _ in pairs)) / count
    mean_in_float = np.asarray(sum(f.sum(axis=0) for _, f in pairs)) / count
    groups, depth = mean.shape
    if depth > MAX_DEPTH:
        return Moments(mean, mean_in_float, None)
    covariance = np.zeros((groups, depth, depth))
    for q, _ in pairs:
        covariance += (q - mean).transpose(1, 2, 0) @ (q - mean).transpose(1, 0, 2)
    return Moments(mean, mean_in_float, covariance / count)


def round_columns(weights: Real, scales: Real, covariance: Real) -> Real:
    """Integers within +-127 [groups, filters, depth] that, times `scales`, do for such inputs what `weights` do."""
    depth = weights.shape[-1]
    power = np.einsum("gii->gi", covariance)
    damped = covariance + np.eye(depth) * (DAMPING * power.mean(axis=1) + 1e-12)[:, None, None]
    order = np.argsort(-power.mean(axis=0), kind="stable")
    left, step = weights[:, :, order].copy(), scales[:, :, order]
    inverse = np.linalg.inv(damped[:, order][:, :, order])
    upper = np.linalg.cholesky((inverse + inverse.transpose(0, 2, 1)) / 2).transpose(0, 2, 1)
    result = np.empty_like(left)
    for i in range(depth):
        result[:, :, i] = np.clip(np.rint(left[:, :, i] / step[:, :, i]), -127, 127)
        cost = (left[:, :, i] - result[:, :, i] * step[:, :, i]) / upper[:, None, i, i]
        left[:, :, i + 1 :] -= cost[:, :, None] * upper[:, None, i, i + 1 :]
    unsorted = np.empty_like(result)
    unsorted[:, :, order] = result
    return unsorted


def _with(real: Graph, before: Node, integer: Graph, node: Node, weights: Array, shift: Real) -> Graph:
    """`integer` with these integer `weights` in `node`, and a bias that is the float one and `shift`."""
    where, types, constants = OPERANDS[node.op], dict(integer.types), dict(integer.constants)
    name, source = node.inputs[where.weights], integer.types[node.inputs[where.input]].q.scale
    constants[name] = weights
    scales = np.broadcast_to(np.asarray(types[name].q.scales), shift.shape)
    old = before.inputs[where.bias] if len(before.inputs) > where.bias else ""
    bias = shift + (real.constants[old].astype(np.float64).ravel() if old else 0.0)
    inputs = [*node.inputs, *[""] * (where.bias + 1 - len(node.inputs))]
    inputs[where.bias] = inputs[where.bias] or fresh(integer, f"{node.outputs[0]}:bias")
    kind = DType.INT64 if integer.types[node.outputs[0]].dtype is DType.INT16 else DType.INT32
    types[inputs[where.bias]] = TensorType(bias.shape, kind, bias_quant(source, scales))
    constants[inputs[where.bias]] = steps(bias, source * scales, kind)
    changed = replace(node, inputs=tuple(inputs))
    return replace(
        integer, nodes=tuple(changed if n is node else n for n in integer.nodes), types=types, constants=constants
    )
