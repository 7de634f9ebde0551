# SPDX-License-Identifier: Apache-2.0
"""How much of what a layer loses the layers behind it make good, when they are fitted in turn.

Techniques fit each layer to the inputs that it gets by then, so that noise of the first layers counts less than where
layers are fitted apart from each other, as for the curves. How much less is measured for one way of each layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinygen.compress.base import Sample
from tinygen.compress.fitting.layerwise import layers_of
from tinygen.compress.fitting.probing import made_good
from tinygen.ir.graph import Graph, Node
from tinygen.search.curves import TINY, Curves, Option, Probe

#: The least and the most that a gain may be: it is measured on few samples.
LEAST, MOST = 0.05, 2.0
#: The gain of sparse ways, which lose more on other samples than on those that they are fitted to.
SPARSE = 2.0
#: The share of a layer's bytes that the way has for which it is measured.
SHARE = 0.4


def made_good_by_others(graph: Graph, samples: Sequence[Sample], curves: Curves, probe: Probe) -> Curves:
    """`curves` of `graph`, but with the noise that is left when the layers behind each one have made it good."""
    nodes = {node.name: node for node in layers_of(graph)}
    return {name: _corrected(graph, samples, nodes[name], options, probe) for name, options in curves.items()}


def _corrected(
    graph: Graph, samples: Sequence[Sample], node: Node, options: Sequence[Option], probe: Probe
) -> list[Option]:
    """The options of a layer, dense ones by the gain of one of their kind: grids for codes, or others.

    Zeros are put everywhere before any weights are shared, so that nothing makes good what they cost.
    """
    gains = dict[bool, float]()
    for kind in (True, False):
        alike = [o for o in options[1:] if o.way.zeros is None and (o.way.step is not None) == kind]
        gains[kind] = _gain(graph, samples, node, _usual(alike, options[0].bytes), probe) if alike else 1.0
    return [
        replace(o, noise=o.noise * (SPARSE if o.way.zeros is not None else gains[o.way.step is not None]))
        for o in options
    ]


def _gain(graph: Graph, samples: Sequence[Sample], node: Node, option: Option, probe: Probe) -> float:
    changed = made_good(graph, samples, node, option.way.fit)
    return 1.0 if changed is None else float(np.clip(probe.noise(changed) / max(option.noise, TINY), LEAST, MOST))


def _usual(options: Sequence[Option], whole: int) -> Option:
    """The option of a layer of `whole` bytes that is neither large nor small."""
    return min(options, key=lambda option: abs(option.bytes - SHARE * whole))
