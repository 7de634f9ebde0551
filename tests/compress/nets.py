# SPDX-License-Identifier: Apache-2.0
"""Small networks with weights of the tests' choosing, in real numbers first and then in int8 on random samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygen.compress import Evidence
from tinygen.ir.graph import Attrs, Graph, Node
from tinygen.ir.types import Array, DType, Real, TensorType
from tinygen.ops import Activation
from tinygen.ops.binary import ActivationAttrs
from tinygen.ops.concatenation import ConcatenationAttrs
from tinygen.ops.convolution import ConvAttrs
from tinygen.ops.fully_connected import FullyConnectedAttrs
from tinygen.ops.pooling import PoolAttrs
from tinygen.quantize import Options, quantize
from tinygen.quantize.options import Wide
from tinygen.quantize.report import decibels, inputs_of
from tinygen.reference import run

REAL = DType.FLOAT32
RELU = Activation.RELU


@dataclass
class Net:
    """A float network in the making. Each method adds a node and returns its name, which is its output's."""

    shape: tuple[int, ...]
    seed: int = 0
    types: dict[str, TensorType] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.types["x"] = TensorType(self.shape, REAL)

    def constant(self, name: str, value: Array) -> str:
        self.types[name] = TensorType(value.shape, DType.of(value))
        self.constants[name] = value
        return name

    def add(self, op: str, name: str, inputs: Sequence[str], shape: tuple[int, ...], attrs: Any = None) -> str:
        self.types[name] = TensorType(shape, REAL)
        self.nodes.append(Node(name, op, tuple(inputs), (name,), attrs or Attrs()))
        return name

    def parameters(self, name: str, shape: tuple[int, ...], weights: Array | None, filters: int) -> list[str]:
        values = self.rng.normal(size=shape) if weights is None else weights.reshape(shape)
        bias = self.rng.normal(size=filters) * 0.2
        named = {f"{name}:w": values, f"{name}:b": bias}
        return [self.constant(n, v.astype(np.float32)) for n, v in named.items()]

    def conv(
        self,
        name: str,
        source: str,
        filters: int,
        size: tuple[int, int] = (1, 1),
        weights: Array | None = None,
        **a: Any,
    ) -> str:
        n, height, width, channels = self.types[source].shape
        attrs = ConvAttrs(**{"activation": RELU, "padding": tuple(s // 2 for s in size for _ in range(2)), **a})
        sides = [
            (side + sum(attrs.padding[2 * i : 2 * i + 2]) - size[i]) // attrs.stride[i] + 1
            for i, side in enumerate((height, width))
        ]
        parameters = self.parameters(name, (filters, *size, channels), weights, filters)
        return self.add("CONV_2D", name, [source, *parameters], (n, *sides, filters), attrs)

    def depthwise(self, name: str, source: str) -> str:
        shape = self.types[source].shape
        parameters = self.parameters(name, (1, 3, 3, shape[3]), None, shape[3])
        attrs = ConvAttrs(padding=(1, 1, 1, 1), activation=RELU)
        return self.add("DEPTHWISE_CONV_2D", name, [source, *parameters], shape, attrs)

    def dense(
        self, name: str, source: str, units: int, weights: Array | None = None, activation: Activation = RELU
    ) -> str:
        rows, depth = self.types[source].shape
        parameters = self.parameters(name, (units, depth), weights, units)
        attrs = FullyConnectedAttrs(activation=activation)
        return self.add("FULLY_CONNECTED", name, [source, *parameters], (rows, units), attrs)

    def sum(self, name: str, first: str, second: str) -> str:
        return self.add("ADD", name, [first, second], self.types[first].shape, ActivationAttrs())

    def concat(self, name: str, first: str, second: str) -> str:
        shapes = self.types[first].shape, self.types[second].shape
        shape = (*shapes[0][:3], shapes[0][3] + shapes[1][3])
        return self.add("CONCATENATION", name, [first, second], shape, ConcatenationAttrs(axis=3))

    def pool(self, name: str, source: str, size: int = 2) -> str:
        n, height, width, channels = self.types[source].shape
        shape = (n, height // size, width // size, channels)
        return self.add("AVERAGE_POOL_2D", name, [source], shape, PoolAttrs((size, size), (size, size)))

    def flatten(self, name: str, source: str) -> str:
        return self.add("RESHAPE", name, [source], (1, self.types[source].elements))

    def finish(self, output: str, samples: int = 96, wide: Wide = "none") -> tuple[Graph, Evidence]:
        """The int8 network (`wide`: which activations have int16), and random samples."""
        graph = Graph("net", ("x",), (output,), tuple(self.nodes), self.types, self.constants)
        rng = np.random.default_rng(self.seed + 1)
        inputs = [rng.normal(size=self.shape).astype(np.float32) for _ in range(samples + 32)]
        made = quantize(graph, [(x,) for x in inputs[:32]], Options(ranges="minmax", equalize=False, wide=wide)).graph
        sets = [inputs_of(made, (x,)) for x in inputs]
        return made, Evidence(sets[:samples], sets[samples:])


def closeness(original: Graph, graph: Graph, evidence: Evidence) -> float:
    """Signal-to-noise ratio in dB of the first output on samples that were held back."""
    signal, noise = 0.0, 0.0
    for sample in evidence.held_back:
        exact, got = _answer(original, sample), _answer(graph, sample)
        signal, noise = signal + float(np.sum(exact**2)), noise + float(np.sum((got - exact) ** 2))
    return decibels(signal, noise)


def _answer(graph: Graph, sample: Sequence[Array]) -> Real:
    return graph.types[graph.outputs[0]].dequantize(run(graph, sample)[0])


def channels(graph: Graph) -> dict[str, int]:
    """The channels of every layer's output, by name."""
    return {node.name: graph.types[node.outputs[0]].shape[-1] for node in graph.nodes}
