# SPDX-License-Identifier: Apache-2.0
"""What quantization cost, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinygen.batch import pieces, run_batch
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, DType
from tinygen.ops import op_of

#: What stands for a signal without any noise, in dB.
PERFECT = 200.0


@dataclass(frozen=True)
class Layer:
    """One tensor of the int8 graph against the float one, by the node that computes it.

    `activations` and `weights` are signal-to-noise ratios in dB (weights: None where there are none); `clipped` is the
    share of the values that float has outside of what int8 can hold.
    """

    name: str
    op: str
    activations: float
    weights: float | None
    clipped: float


@dataclass(frozen=True)
class Widened:
    """Nodes whose outputs became int16, what the model's outputs gain by that in dB, with the others that did, and by
    how many bytes the largest of these tensors grow."""

    nodes: tuple[str, ...]
    gain: float
    bytes: int


@dataclass(frozen=True)
class Report:
    """Every layer in order, the model's outputs in dB by name, and what became int16."""

    layers: tuple[Layer, ...]
    outputs: dict[str, float]
    wide: tuple[Widened, ...] = ()

    def worst(self, count: int = 10) -> list[Layer]:
        """The layers that lost most, the worst first."""
        return sorted(self.layers, key=lambda layer: layer.activations)[:count]

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        layers, wide = [asdict(layer) for layer in self.layers], [asdict(widened) for widened in self.wide]
        return {"layers": layers, "outputs": dict(self.outputs), "wide": wide}


def decibels(signal: float, noise: float) -> float:
    """Signal-to-noise ratio of two sums of squares, at most `PERFECT`."""
    if noise <= 0:
        return PERFECT
    return min(10 * math.log10(signal / noise), PERFECT) if signal > 0 else 0.0


def compare(real: Graph, integer: Graph, samples: Sequence[Sequence[Array]]) -> Report:
    """The tensors that float graph `real` and its int8 form `integer` have in common, over `samples`."""
    names = [n for node in integer.nodes for n in node.outputs if integer.types[n].dtype in (DType.INT8, DType.INT16)]
    sums = {n: np.zeros(4) for n in names}
    quantized = [inputs_of(integer, sample) for sample in samples]
    for first, exact in pieces(real, samples):
        got = run_batch(integer, quantized[first : first + len(exact[real.inputs[0]])])
        for name in names:
            sums[name] += _sums(integer, name, exact[name], got[name])
    ratios = {n: decibels(total[0], total[1]) for n, total in sums.items()}
    layers = tuple(
        Layer(node.name, node.op, ratios[n], _weights(real, integer, node), float(sums[n][2] / max(sums[n][3], 1)))
        for node in integer.nodes
        for n in node.outputs
        if n in ratios
    )
    return Report(layers, {n: ratios[n] for n in integer.outputs if n in ratios})


def outputs(graph: Graph, samples: Sequence[Sequence[Array]]) -> dict[str, Array]:
    """The outputs of `graph` on `samples`: [samples, *shape] each."""
    found = [{n: values[n] for n in graph.outputs if n in values} for _, values in pieces(graph, samples)]
    return {n: np.concatenate([values[n] for values in found]) for n in found[0]}


def closeness(exact: Mapping[str, Array], integer: Graph, samples: Sequence[Sequence[Array]]) -> float:
    """The sum of the signal-to-noise ratios in dB of all int8 outputs of `integer`; `exact` are those in float."""
    got = outputs(integer, [inputs_of(integer, sample) for sample in samples])
    names = [n for n in integer.outputs if n in exact and integer.types[n].quant is not None]
    return sum(_ratio(exact[n], integer.types[n].dequantize(got[n])) for n in names)


def _ratio(exact: Array, got: Array) -> float:
    return decibels(float(np.sum(exact**2)), float(np.sum((got - exact) ** 2)))


def _sums(graph: Graph, name: str, exact: Array, got: Array) -> Array:
    """Signal, noise, clipped values, values."""
    tensor = graph.types[name]
    low, high = ((limit - tensor.q.zero_point) * tensor.q.scale for limit in tensor.dtype.limits)
    half = tensor.q.scale / 2
    outside = np.sum((exact < low - half) | (exact > high + half))
    return np.array([np.sum(exact**2), np.sum((tensor.dequantize(got) - exact) ** 2), outside, exact.size])


def _weights(real: Graph, integer: Graph, node: Node) -> float | None:
    """The ratio for the weights of `node`; the float graph has a node of the same outputs."""
    where = op_of(node).quantize.weights
    if where is None or node.inputs[where] not in integer.constants:
        return None
    before = real.producer(node.outputs[0])
    if before is None or before.inputs[where] not in real.constants:
        return None
    exact = real.constants[before.inputs[where]].astype(np.float64)
    got = integer.types[node.inputs[where]].dequantize(integer.constants[node.inputs[where]])
    return decibels(float(np.sum(exact**2)), float(np.sum((got - exact) ** 2)))


def inputs_of(graph: Graph, sample: Sequence[Array]) -> list[Array]:
    """`sample` as the inputs of int8 `graph` take it: floats rounded half away from zero and clipped."""
    return list(_inputs(graph, sample))


def _inputs(graph: Graph, sample: Sequence[Array]) -> Iterator[Array]:
    for name, value in zip(graph.inputs, sample, strict=True):
        tensor = graph.types[name]
        if tensor.quant is None:
            yield np.asarray(value, tensor.dtype.numpy)
            continue
        scaled = np.asarray(value, np.float32) / np.float32(tensor.q.scale)
        rounded = np.trunc(scaled + np.copysign(np.float32(0.5), scaled)) + tensor.q.zero_point
        yield np.clip(rounded, *tensor.dtype.limits).astype(tensor.dtype.numpy)
