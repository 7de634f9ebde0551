# SPDX-License-Identifier: Apache-2.0
"""For each layer: what each way to store its weights takes, and what it adds to the noise in the model's decision.

Layers are fitted one at a time, on the inputs that the plain model gives them. The noise in a layer's own output is
known for each way; how much of it arrives is measured for some of them, and interpolated for the others. That noise of
several layers adds up is what the knapsack supposes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinygen.batch import run_batch
from tinygen.compress.base import Sample
from tinygen.compress.fitting.layerwise import Fitted, Layer, layers_of
from tinygen.compress.fitting.mixture import COMPARED, deciding, harm
from tinygen.compress.fitting.probing import alternatives
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, TensorType
from tinygen.kernels.base import AT_ANY_SPEED, SMALLEST
from tinygen.search.ways import PLAIN, Way, fitted_in
from tinygen.selection import Optimize, able
from tinygen.target import Target

#: What noise is at least: its logarithm is taken.
TINY = 1e-12
#: A layer is large enough to be sparse with this share of all weights.
LARGE = 0.01


@dataclass(frozen=True)
class Option:
    """A layer stored in some `way`: flash in bytes, and the noise it adds to the decision.

    `noise` is a share of the decision's variance. `node`, `constants` and `types` are what the graph has then.
    """

    way: Way
    bytes: int
    noise: float
    node: Node
    constants: Mapping[str, Array]
    types: Mapping[str, TensorType]

    @classmethod
    def of(cls, graph: Graph, node: Node, way: Way, bytes_: int, noise: float) -> Option:
        """The option to have `node` as it is in `graph`."""
        names = [name for name in node.inputs if name in graph.constants]
        constants, types = {n: graph.constants[n] for n in names}, {n: graph.types[n] for n in names}
        return cls(way, bytes_, noise, node, constants, types)


#: The options of each layer, by its name, the first of which is to leave it as it is.
Curves = Mapping[str, Sequence[Option]]


def measured(
    graph: Graph,
    samples: Sequence[Sample],
    ways: Callable[[bool], Sequence[Way]],
    target: Target,
    optimize: Optimize,
    probe: Probe,
) -> dict[str, Sequence[Option]]:
    """The options of each layer of `graph`; `probe` measures what some of them add.

    `ways` are those for layers that are large, or are not.
    """
    total = sum(graph.constants[node.inputs[1]].size for node in layers_of(graph))
    found = dict[str, Sequence[Option]]()
    tried: list[tuple[Way, float]] = []

    def fits(layer: Layer) -> Iterator[Fitted | None]:
        tried.clear()
        large = layer.node.op != "DEPTHWISE_CONV_2D" and layer.stored.size >= LARGE * total
        for way, fitted in fitted_in(ways(large), layer):
            tried.append((way, layer.noise(fitted.real) if fitted is not None else np.inf))
            yield fitted

    for node, variants in alternatives(graph, samples, lambda node: True, fits):
        made = [_option(graph, node, PLAIN, 0.0, target, optimize)]
        useful = [(v, w, n) for v, (w, n) in zip(variants, tried, strict=True) if v is not None]
        noises = probe.noises([v for v, _, _ in useful], [n for _, _, n in useful])
        for (variant, way, _), noise in zip(useful, noises, strict=True):
            changed = next(n for n in variant.nodes if n.outputs == node.outputs)
            made.append(_option(variant, changed, way, noise, target, optimize))
        kept = _frontier(made[1:], made[0].bytes) | _frontier([o for o in made if o.way.usual], made[0].bytes)
        found[node.name] = [made[0], *sorted(kept.values(), key=lambda o: (-o.bytes, o.noise))]
    return found


def _frontier(options: Sequence[Option], most: int) -> dict[Way, Option]:
    """Those of fewer than `most` bytes that add less noise than every smaller one."""
    best: list[Option] = []
    for option in sorted(options, key=lambda o: (o.bytes, o.noise)):
        if option.bytes < most and (not best or option.noise < best[-1].noise):
            best.append(option)
    return {option.way: option for option in best}


def _option(graph: Graph, node: Node, way: Way, noise: float, target: Target, optimize: Optimize) -> Option:
    """`node` of `graph`, in the smallest form that its weights have."""
    weights = node.inputs[1]
    if way != PLAIN:
        graph = replace(graph, storage={**graph.storage, weights: AT_ANY_SPEED})
    best = min(able(graph, node, target, optimize), key=lambda choice: choice.bytes)
    return Option.of(graph, node, way, best.bytes, noise)


class Probe:
    """Measures on a few samples what variants of a graph add to the noise in its decision."""

    def __init__(self, graph: Graph, samples: Sequence[Sample], probes: int) -> None:
        self.graph, self.probes = graph, probes
        self.before = run_batch(graph, samples[-COMPARED:])
        name = deciding(graph)
        decided = graph.types[name].dequantize(self.before[name])
        self.power = float(np.sum((decided - decided.mean()) ** 2)) + 1e-30

    def noises(self, variants: Sequence[Graph], own: Sequence[float]) -> list[float]:
        """The noise of each, given that in the layers' `own` outputs; measured for some that are evenly spread."""
        if not variants:
            return []
        order = np.argsort(own, kind="stable")
        chosen = np.unique(np.linspace(0, len(order) - 1, self.probes).round().astype(int))
        levels, known = np.log(np.maximum(own, TINY)), [order[i] for i in chosen]
        arrived = np.log([max(self.noise(variants[i]), TINY) for i in known])
        return [float(value) for value in np.exp(np.interp(levels, levels[known], np.maximum.accumulate(arrived)))]

    def noise(self, variant: Graph) -> float:
        """What `variant` adds, as a share of the decision's variance."""
        return harm(self.graph, variant, self.before) / self.power


def combined(graph: Graph, options: Sequence[Option]) -> Graph:
    """`graph` with its layers as in `options`, each asking for its smallest form."""
    made = {option.node.outputs: option for option in options if option.way != PLAIN}
    constants, types, storage = dict(graph.constants), dict(graph.types), dict(graph.storage)
    for option in made.values():
        constants |= option.constants
        types |= option.types
        storage[option.node.inputs[1]] = SMALLEST
    nodes = tuple(made[n.outputs].node if n.outputs in made else n for n in graph.nodes)
    return replace(graph, nodes=nodes, types=types, constants=constants, storage=storage).pruned()
