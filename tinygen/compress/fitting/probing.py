# SPDX-License-Identifier: Apache-2.0
"""What would become of a graph if its layers were changed so or so: for those who search among many ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import numpy as np

from tinygen.compress.base import Sample
from tinygen.compress.fitting.layerwise import Declined, Fitted, Layer, LayerWalk, layers_of
from tinygen.ir.graph import Graph, Node

#: Largest integer of a weight.
TOP = 127


def alternatives(
    graph: Graph,
    samples: Sequence[Sample],
    chosen: Callable[[Node], bool],
    fits: Callable[[Layer], Iterator[Fitted | None]],
) -> Iterator[tuple[Node, list[Graph | None]]]:
    """For each layer that is `chosen`: `graph` with each of what `fits` makes of this layer only.

    None where that is None, or could not run.
    """
    walk = LayerWalk(graph, samples)
    for index in walk.through(chosen):
        seen, made = walk.seen(index), list[Graph | None]()
        for fitted in fits(seen.layer):
            made.append(None)
            if fitted is not None:
                with suppress(Declined):
                    made[-1] = walk.refitted(index, seen, fitted)
        yield graph.nodes[index], made


def made_good(
    graph: Graph, samples: Sequence[Sample], node: Node, fit: Callable[[Layer], Fitted | None]
) -> Graph | None:
    """`graph` with what `fit` makes of one layer, and all layers behind it fitted to that in turn, in int8.

    None where that is None, or could not run.
    """
    walk = LayerWalk(graph, samples)
    names = [n.outputs[0] for n in layers_of(graph)]
    later = set(names[names.index(node.outputs[0]) :])
    for index in walk.through(lambda n: n.outputs[0] in later):
        seen, first = walk.seen(index), graph.nodes[index].outputs == node.outputs
        fitted = fit(seen.layer) if first else _rounded(seen.layer)
        try:
            if fitted is None:
                return None
            walk.graph = walk.refitted(index, seen, fitted)
        except Declined:
            if first:
                return None
    return walk.graph


def _rounded(layer: Layer) -> Fitted:
    """The weights that `layer` should have, in int8."""
    scales = np.maximum(np.abs(layer.target).max(axis=2) / TOP, layer.smallest)
    return Fitted(np.rint(layer.target / scales[:, :, None]).astype(np.int64), scales)
