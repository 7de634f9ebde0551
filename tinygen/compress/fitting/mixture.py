# SPDX-License-Identifier: Apache-2.0
"""What each layer may lose: measured by what changes of its weights do to the outputs of the whole network.

For each layer there are choices, from the dearest to the cheapest. The noise that a choice makes in the layer's own
outputs is computed for each; how much of it comes out of the network is measured for one of them, on a few samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.batch import Values, run_batch, step
from tinygen.compress.base import Sample, Setting
from tinygen.compress.fitting.layerwise import Fitted, Layer, variants
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array

#: Samples that outputs are compared on.
COMPARED = 62
#: Functions behind the numbers that a network decides by, which hide what noise does to these.
_DECIDING = frozenset({"SOFTMAX", "LOGISTIC", "LOG_SOFTMAX", "DEQUANTIZE", "RESHAPE", "QUANTIZE"})


@dataclass(frozen=True)
class Choice:
    """One way to store a layer's weights: what a weight takes (any unit), and the weights."""

    size: float
    fitted: Fitted


@dataclass(frozen=True)
class _Curve:
    """For each choice of a layer, its size, and the noise it makes in the network's output."""

    weights: int
    sizes: Sequence[float]
    noises: Sequence[float]


def average(value: Any) -> float:
    """N of the setting ``auto:N``; 0 if it is none."""
    text = str(value).removeprefix("auto:")
    return float(text) if str(value).startswith("auto:") and text.replace(".", "", 1).isdigit() else 0.0


def mixed(
    graph: Graph,
    samples: Sequence[Sample],
    setting: Setting,
    choices: Callable[[Layer], Sequence[Choice]],
    values: Sequence[int],
) -> Setting:
    """`setting` with the one of `values`, which the `choices` stand for, for each layer that gets ``auto``."""
    taken: dict[str, int] = {}
    for asked in dict.fromkeys(value for value in setting.values() if average(value)):
        chosen = lambda node, asked=asked: setting.of(node) == asked  # noqa: E731  # what is asked for, in one line
        taken |= spread(graph, samples, chosen, choices, average(asked))
    return setting.sharper({name: values[index] for name, index in taken.items()})


def spread(
    graph: Graph,
    samples: Sequence[Sample],
    chosen: Callable[[Node], bool],
    choices: Callable[[Layer], Sequence[Choice]],
    limit: float,
) -> dict[str, int]:
    """Which of its `choices` each layer that is `chosen` takes, by its name: a weight takes `limit` in the mean.

    From the dearest for all, what adds least noise to the network's output for what it saves is taken next.
    """
    curves = _curves(graph, samples, chosen, choices)
    taken = dict.fromkeys(curves, 0)
    most = limit * sum(curve.weights for curve in curves.values())
    while sum(curve.weights * curve.sizes[taken[name]] for name, curve in curves.items()) > most + 1e-9:
        steps = [step for name, curve in curves.items() for step in _steps(name, taken[name], curve)]
        if not steps:
            break
        _, name, index = min(steps)
        taken[name] = index
    return taken


def _steps(name: str, index: int, curve: _Curve) -> list[tuple[float, str, int]]:
    """Every cheaper choice with what it adds to the noise for what it saves."""
    size, noise = curve.sizes[index], curve.noises[index]
    return [
        ((curve.noises[i] - noise) / ((size - curve.sizes[i]) * curve.weights), name, i)
        for i in range(index + 1, len(curve.sizes))
        if curve.sizes[i] < size
    ]


def _curves(
    graph: Graph,
    samples: Sequence[Sample],
    chosen: Callable[[Node], bool],
    choices: Callable[[Layer], Sequence[Choice]],
) -> dict[str, _Curve]:
    curves = dict[str, _Curve]()
    before = run_batch(graph, samples[:COMPARED])

    def probe(layer: Layer) -> Fitted:
        made = choices(layer)
        noises = [layer.noise(choice.fitted.real) for choice in made]
        curves[layer.node.name] = _Curve(layer.stored.size, [choice.size for choice in made], noises)
        return made[len(made) // 2].fitted

    for node, variant in variants(graph, samples, chosen, probe):
        curve = curves[node.name]
        gain = harm(graph, variant, before) / max(curve.noises[len(curve.noises) // 2], 1e-300)
        curves[node.name] = _Curve(curve.weights, curve.sizes, [noise * gain for noise in curve.noises])
    return curves


def harm(graph: Graph, variant: Graph, before: Values) -> float:
    """The squared error of what the network decides by, where `variant` stands for `graph`.

    `before` are all tensors of `graph` on some samples (`tinygen.batch.run_batch`).
    """
    name, now = deciding(graph), Values()
    others = {n for n, value in variant.constants.items() if not _same(graph, variant, n, value)}
    for node in variant.nodes:
        if any(n in now or n in others for n in node.inputs):
            held = {**before, **now}
            step(variant, node, held)
            now |= {n: held[n] for n in node.outputs}
    after, tensor = now.get(name, before[name]), graph.types[name]
    return float(np.sum((tensor.dequantize(after) - tensor.dequantize(before[name])) ** 2))


def _same(graph: Graph, variant: Graph, name: str, value: Array) -> bool:
    known = graph.types.get(name) == variant.types[name]
    return known and np.array_equal(value, graph.constants[name])


def deciding(graph: Graph) -> str:
    """The first output, or where it is a function such as SOFTMAX, what that is a function of."""
    name = graph.outputs[0]
    while (node := graph.producer(name)) is not None and node.op in _DECIDING and node.inputs[0] not in graph.constants:
        name = node.inputs[0]
    return name
