# SPDX-License-Identifier: Apache-2.0
"""A Graph as a TensorFlow function of its inputs, whose layers' weights, biases and scales can be variables."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, Real
from tinygen.ops import Call, call_of
from tinygen.ops.convolution import OPERANDS
from tinygen.quantize.layers import is_layer
from tinygen.train.layers import Layer, is_trainable
from tinygen.train.operators import compute_of, convolved, limits_of
from tinygen.train.tensors import check, flat, is_float, rounded_steps, settled, steps_of


class Network:
    """`graph`, int8 or float; layers whose outputs are in `trained` have variables.

    `original` is what the graph was made of, whose weights say where latent ones start: see `Layer`.

    Raises `UnsupportedError`, which names the node, where training does not know an operator.
    """

    def __init__(
        self,
        graph: Graph,
        trained: Collection[str] = (),
        scaled: bool = False,
        fixed: bool = True,
        original: Graph | None = None,
    ) -> None:
        self.graph = graph
        self.calls = {node.outputs[0]: call_of(graph, node) for node in graph.nodes}
        for node in graph.nodes:
            _check(graph, node, self.calls[node.outputs[0]])
        self.layers = {
            name: Layer(call, name in trained, scaled, fixed, _weights(original, name))
            for name, call in self.calls.items()
            if call.op in OPERANDS and is_trainable(call)
        }

    @property
    def variables(self) -> list[Any]:
        """What is trained."""
        return [variable for layer in self.layers.values() for variable in layer.variables]

    def inputs(self, samples: Sequence[Sequence[Array]]) -> list[Array]:
        """`samples` as this function takes them: for each input [samples, elements], in steps from the zero point."""
        stacks = (
            np.stack([np.asarray(sample[i]).ravel() for sample in samples]) for i in range(len(self.graph.inputs))
        )
        tensors = (self.graph.types[name] for name in self.graph.inputs)
        return [steps_of(tensor, stack) for tensor, stack in zip(tensors, stacks, strict=True)]

    def __call__(self, inputs: Sequence[Any]) -> dict[str, Any]:
        """Every tensor by name, [samples, elements] in steps from its zero point."""
        values: dict[str, Any] = dict(zip(self.graph.inputs, inputs, strict=True))
        for node in self.graph.nodes:
            values.update(zip(node.outputs, self._run(node, values), strict=True))
        return values

    def _run(self, node: Node, values: Mapping[str, Any]) -> tuple[Any, ...]:
        call = self.calls[node.outputs[0]]
        if call.op in OPERANDS:
            return (self._layer(call, self.layers.get(node.outputs[0]), values[node.inputs[0]]),)
        compute = compute_of(call)
        assert compute is not None  # as _check has seen
        return compute(call, [values.get(name) for name in node.inputs])

    def _layer(self, call: Call[Any], layer: Layer | None, steps: Any) -> Any:
        if layer is not None:
            made = layer.requantized(convolved(call, steps, layer.integers()))
            return rounded_steps(call.output, flat(made, call.output), limits_of(call))
        bias = call.constant(2).astype(np.float32) if call.has(2) else np.float32(0)
        made = convolved(call, steps, call.constant(1).astype(np.float32)) + bias
        return settled(call.output, flat(made, call.output), limits_of(call))


def _weights(graph: Graph | None, name: str) -> Real | None:
    """The weights of the layer of `graph` that computes `name`, in real numbers; None if there is no such layer."""
    node = graph.producer(name) if graph is not None else None
    if graph is None or node is None or not is_layer(graph, node):
        return None
    weights = node.inputs[OPERANDS[node.op].weights]
    return graph.types[weights].dequantize(graph.constants[weights])


def _check(graph: Graph, node: Node, call: Call[Any]) -> None:
    for name in (*(n for n in node.inputs if n and n not in graph.constants), *node.outputs):
        check(name, graph.types[name])
    layer = is_layer(graph, node) and (is_trainable(call) or is_float(call.output))
    if not layer and compute_of(call) is None:
        raise UnsupportedError(f"node '{node.name}': training does not know {node.op} with such operands")
