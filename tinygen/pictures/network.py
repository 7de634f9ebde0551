# SPDX-License-Identifier: Apache-2.0
"""The network as a list of steps with the lines between them at its left, as version control draws history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinygen.pictures import svg

#: Pixels from step to step, and between lanes.
STEP, LANE = 36, 14


@dataclass(frozen=True)
class Network:
    """`inputs` are the names of the model's inputs, `layers` those of report.json."""

    title: str
    inputs: Sequence[str]
    layers: Sequence[Mapping[str, Any]]

    @property
    def height(self) -> int:
        return STEP * (len(self.inputs) + len(self.layers))

    def elements(self) -> Iterator[str]:
        """The SVG elements: lines first, so that dots lie on them."""
        lanes = list(self._lanes())
        left = LANE * (max((lane for _, lane, _ in lanes), default=0) + 1) + 12
        for source, lane, goal in lanes:
            yield _edge(source, lane, goal)
        for row, name in enumerate(self.inputs):
            yield from _node(row, left, "c", "input", name, "")
        for row, layer in enumerate(self.layers, len(self.inputs)):
            shape = "×".join(map(str, layer["output_shape"]))
            yield from _node(row, left, "a", layer["op"], layer["name"], shape)

    def _lanes(self) -> Iterator[tuple[int, int, int]]:
        """(row of the producer, lane, row of the consumer): lane 0 where they are neighbours, else the first free."""
        made = {name: row for row, name in enumerate(self.inputs)}
        for row, layer in enumerate(self.layers, len(self.inputs)):
            made |= {output["name"]: row for output in layer["outputs"]}
        taken = list[tuple[int, int, int]]()
        for row, layer in enumerate(self.layers, len(self.inputs)):
            for source in sorted({made[name] for name in layer["inputs"] if name in made}):
                lane = 0 if source == row - 1 else self._free(taken, source, row)
                taken.append((source, lane, row))
        yield from taken

    @staticmethod
    def _free(taken: Sequence[tuple[int, int, int]], source: int, goal: int) -> int:
        lane = 1
        while any(used == lane and start < goal and source < end for start, used, end in taken):
            lane += 1
        return lane


def _edge(source: int, lane: int, goal: int) -> str:
    """From the right of the producer's dot through the lane to the consumer's."""
    y1, y2, x = STEP * source + STEP / 2, STEP * goal + STEP / 2, 8 + LANE * lane
    if lane == 0:
        return f'<path class="line" d="M8 {y1:g}V{y2:g}"/>'
    bend = STEP / 2
    return f'<path class="line" d="M8 {y1:g}Q{x} {y1:g} {x} {y1 + bend:g}V{y2 - bend:g}Q{x} {y2:g} 8 {y2:g}"/>'


def _node(row: int, left: float, kind: str, op: str, name: str, shape: str) -> Iterator[str]:
    y = STEP * row + STEP / 2
    yield f'<circle class="{kind}" cx="8" cy="{y:g}" r="5"/>'
    yield f'<svg x="{left:g}" y="{y - STEP / 2:g}" width="100%" height="{STEP}">'
    yield f"{svg.text(0, 15, op)}{svg.text(0, 30, '  '.join(filter(None, (shape, name))), 'dim')}</svg>"
