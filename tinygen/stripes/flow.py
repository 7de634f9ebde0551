# SPDX-License-Identifier: Apache-2.0
"""In which order the parts of a chain of layers run, and how many rows of each map that asks for.

Rows of the last map are computed one band after the other, and before each of them, whatever rows of other maps it
needs and nobody has computed. Each row of each map is computed once. An input that is nearer to a source comes first,
so that a shortcut around layers takes its rows before those layers ask for more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tinygen.ir.types import TensorType
from tinygen.stripes.parts import Layer, Part, row_bytes


@dataclass(frozen=True)
class Chain:
    """Layers from the maps `sources` to that which the last one of `layers` gives.

    `heights` and `rows` (bytes of a row) are those of all maps. `pushed`: the only source comes row by row from
    outside, instead of lying in memory whole.
    """

    sources: tuple[str, ...]
    layers: tuple[Layer, ...]
    heights: Mapping[str, int]
    rows: Mapping[str, int]
    pushed: bool = False

    @property
    def whole(self) -> tuple[str, ...]:
        """The sources that lie in memory whole."""
        return () if self.pushed else self.sources

    @property
    def target(self) -> str:
        return self.layers[-1].output


@dataclass(frozen=True)
class Event:
    """Something that runs: a part of layer number `layer`, or (None) a row of a source that comes from outside.

    `known` tells how many rows of each map are there beforehand; `made` are the rows it adds to map `output`.
    """

    layer: int | None
    output: str
    made: int
    known: Mapping[str, int]
    part: Part | None = None


def chain_of(layers: Sequence[Layer], types: Mapping[str, TensorType], pushed: bool = False) -> Chain:
    """The chain of `layers` with the sizes of its maps."""
    made = {layer.output for layer in layers}
    sources = tuple(dict.fromkeys(name for layer in layers for name in layer.maps if name not in made))
    heights, rows = {s: types[s].shape[1] for s in sources}, {s: row_bytes(types[s]) for s in sources}
    for layer in layers:
        heights[layer.output], rows[layer.output] = layer.rows
    return Chain(sources, tuple(layers), heights, rows, pushed)


def events(chain: Chain) -> list[Event]:
    """All that runs, in order."""
    return _Flow(chain).run()


@dataclass
class _Flow:
    chain: Chain
    known: dict[str, int] = field(default_factory=dict)
    done: list[Event] = field(default_factory=list)

    def run(self) -> list[Event]:
        chain = self.chain
        self.known = dict.fromkeys(chain.heights, 0)
        self.known |= {name: chain.heights[name] for name in chain.whole}
        self.makers = {layer.output: i for i, layer in enumerate(chain.layers)}
        self.ran = [0] * len(chain.layers)
        depth = dict.fromkeys(chain.sources, 0)
        for layer in chain.layers:
            depth[layer.output] = 1 + max(depth[name] for name in layer.maps)
        self.order = [sorted(range(len(la.maps)), key=[depth[n] for n in la.maps].__getitem__) for la in chain.layers]
        for name in (chain.target, *chain.sources):
            self._ask(name, chain.heights[name])
        return self.done

    def _ask(self, name: str, rows: int) -> None:
        """Run whatever it takes until `rows` rows of map `name` are there."""
        while self.known[name] < rows:
            if name in self.chain.sources:
                self._add(Event(None, name, 1, dict(self.known)))
            else:
                self._part(self.makers[name])

    def _part(self, number: int) -> None:
        layer = self.chain.layers[number]
        part = layer.parts[self.ran[number]]
        self.ran[number] += 1
        for i in self.order[number]:
            self._ask(layer.maps[i], part.spans[i][1])
        self._add(Event(number, layer.output, part.made, dict(self.known), part))

    def _add(self, event: Event) -> None:
        self.known[event.output] += event.made
        self.done.append(event)
