# SPDX-License-Identifier: Apache-2.0
"""What a chain does as a list of few different actions: moves inside windows, and calls of parts of layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tinygen.ops.rows import Span
from tinygen.stripes.flow import Chain, Event
from tinygen.stripes.layout import Rows, Window


@dataclass(frozen=True)
class Place:
    """Where rows of a map begin: at `offset` bytes of the window of `window`, or where cursor number `cursor` is."""

    window: str = ""
    offset: int = 0
    cursor: int | None = None


@dataclass(frozen=True)
class Shift:
    """Move `bytes` inside the window of `window` from offset `source` to offset `target`, which is less."""

    window: str
    target: int
    source: int
    bytes: int


@dataclass(frozen=True)
class Fire:
    """A part of layer number `layer`, by call number `kind` of it.

    `reads` has the place of each of the layer's maps. `steps` tells by how many bytes cursors advance afterwards.
    """

    layer: int
    kind: int
    reads: tuple[Place, ...]
    write: Place
    steps: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Row:
    """The point at which the next row of the source has to come from outside, to `write`."""

    write: Place


Action = Shift | Fire | Row


@dataclass(frozen=True)
class Schedule:
    """`order`: which of `actions` run, one after the other.

    `cursors` are the maps through which the cursors run, from their beginnings.
    """

    actions: tuple[Action, ...]
    order: tuple[int, ...]
    cursors: tuple[str, ...]


def schedule(chain: Chain, events: Sequence[Event], rows: Rows) -> Schedule:
    """The actions of `events`."""
    return _Scheduler(chain, events, rows).schedule()


@dataclass
class _Scheduler:
    chain: Chain
    events: Sequence[Event]
    rows: Rows
    #: By layer, number of its map, and the map; -1 for all that write.
    cursors: dict[tuple[int, int, str], int] = field(default_factory=dict)

    def schedule(self) -> Schedule:
        actions = [action for i, event in enumerate(self.events) for action in self._actions(i, event)]
        actions = self._advanced(actions)
        numbers: dict[Action, int] = {}
        order = tuple(numbers.setdefault(action, len(numbers)) for action in actions)
        return Schedule(tuple(numbers), order, tuple(name for _, _, name in self.cursors))

    def _actions(self, index: int, event: Event) -> list[Action]:
        root = self.rows.root(event.output)
        window = self.rows.windows.get(root)
        write = self._end(window, event) if window else self._cursor(-1, 0, root)
        action = Row(write) if event.layer is None else self._fire(event.layer, event, write)
        kept = self.rows.kept(index)
        return [self._shift(event, window, kept), action] if window and kept else [action]

    def _shift(self, event: Event, window: Window, kept: int) -> Shift:
        """What makes room for the event's rows: the last `kept` rows of the window move."""
        bytes_ = self.chain.rows[window.name]
        source = window.rows - kept
        return Shift(window.name, (source - event.made) * bytes_, source * bytes_, kept * bytes_)

    def _end(self, window: Window, event: Event) -> Place:
        made = max(event.made, 1)
        return Place(window.name, (window.rows - made) * self.chain.rows[window.name])

    def _cursor(self, layer: int, number: int, name: str) -> Place:
        return Place(cursor=self.cursors.setdefault((layer, number, name), len(self.cursors)))

    def _fire(self, number: int, event: Event, write: Place) -> Fire:
        assert event.part is not None
        reads = tuple(self._read(number, i, span, event) for i, span in enumerate(event.part.spans))
        return Fire(number, event.part.kind, reads, write, self._steps(number, event, reads, write))

    def _read(self, number: int, place: int, span: Span, event: Event) -> Place:
        """Where layer `number` finds rows `span` of its map number `place`."""
        name = self.chain.layers[number].maps[place]
        if name in self.chain.whole:
            return self._cursor(number, place, name)
        root = self.rows.root(name)
        if root not in self.rows.windows:
            return self._cursor(-1, 0, root)
        window, (top, bottom) = self.rows.windows[root], span
        back = event.known[name] - top if top < bottom else window.rows
        return Place(root, (window.rows - back) * self.chain.rows[root])

    def _steps(self, number: int, event: Event, reads: Sequence[Place], write: Place) -> tuple[tuple[int, int], ...]:
        """Cursors that read stand at the part's first row here, and are advanced by `_advanced`."""
        assert event.part is not None
        steps = {
            place.cursor: top * self.chain.rows[name]
            for place, name, (top, _) in zip(reads, self.chain.layers[number].maps, event.part.spans, strict=True)
            if place.cursor is not None and name in self.chain.sources
        }
        if write.cursor is not None and event.output == self.chain.target:
            steps[write.cursor] = event.made * self.chain.rows[event.output]
        return tuple(steps.items())

    def _advanced(self, actions: Sequence[Action]) -> list[Action]:
        """Reading cursors advance to where the layer's next part reads; the last one by whatever the one before did."""
        reading = {number for (layer, _, _), number in self.cursors.items() if layer >= 0}
        done: list[Action] = []
        following: dict[int, int] = {}
        for action in reversed(actions):
            if isinstance(action, Fire):
                steps = []
                for cursor, at in action.steps:
                    if cursor in reading:
                        steps.append((cursor, following.get(cursor, at) - at))
                        following[cursor] = at
                    else:
                        steps.append((cursor, at))
                action = replace(action, steps=tuple(steps))
            done.append(action)
        return _ended(done[::-1], reading)


def _ended(actions: Sequence[Action], reading: set[int]) -> list[Action]:
    """The last part of each layer that reads by a cursor advances it like one before that is the same otherwise."""
    seen: dict[Fire, tuple[tuple[int, int], ...]] = {}
    last = {action.layer: i for i, action in enumerate(actions) if isinstance(action, Fire)}
    done = list(actions)
    for i, action in enumerate(actions):
        if not isinstance(action, Fire):
            continue
        key = replace(action, steps=())
        if last[action.layer] == i and key in seen and any(c in reading for c, _ in action.steps):
            done[i] = replace(action, steps=seen[key])
        seen[key] = action.steps
    return done
