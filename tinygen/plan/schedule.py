# SPDX-License-Identifier: Apache-2.0
"""The order of execution that keeps the fewest bytes alive at its worst step.

What is alive after some tasks does not depend on their order, so dynamic programming over sets of finished tasks, one
layer per size of set, finds the best order. Two rules keep the layers small: a set that cannot beat the given order is
dropped, and a task that costs nothing runs at once. Where a layer is still too large, its most promising sets go on;
then the result may not be the best, but it is never worse than the given order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

#: Steps tried, over all layers: about a second. Enough for any graph of a dozen tasks, and most of hundreds.
_EFFORT = 100_000


@dataclass(frozen=True)
class Task:
    """One step: the tensors it reads and writes, and the bytes it needs besides while it runs.

    `overlays`: of those among `reads` that the first tensor of `writes` may lie over, how many bytes that saves, if
    nothing needs them afterwards. It lies over one of them at most.
    """

    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    scratch: int = 0
    overlays: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _State:
    """After some tasks: which (bit mask), which can run next, bytes alive, the most so far, and the way here."""

    done: int
    ready: tuple[int, ...]
    live: int
    peak: int
    before: _State | None = None


def order(tasks: Sequence[Task], sizes: Mapping[str, int], keep: Collection[str] = ()) -> tuple[int, ...]:
    """An order of `tasks` (indexes) with the smallest peak of live bytes found; the given one unless it is beaten.

    `sizes` are bytes; tensors it lacks (constants) take none. Tensors that no task writes are inputs, alive from the
    start; those in `keep` (graph outputs) stay to the end. Raises `ValueError` if `tasks` cannot run as given.
    """
    memory = _Memory(tasks, sizes, keep)
    given = tuple(range(len(tasks)))
    limit = memory.peak(given)
    layer = [memory.start()]
    for _ in tasks:
        layer = _next_layer(memory, layer, limit, _EFFORT // len(tasks))
    return _sequence(layer[0]) if layer and layer[0].peak < limit else given


def peak(
    tasks: Sequence[Task], sizes: Mapping[str, int], keep: Collection[str] = (), sequence: Sequence[int] | None = None
) -> int:
    """The most bytes alive at any step when `tasks` run in `sequence` (default: as given); arguments as for `order`."""
    return _Memory(tasks, sizes, keep).peak(range(len(tasks)) if sequence is None else sequence)


def _next_layer(memory: _Memory, layer: Sequence[_State], limit: int, effort: int) -> list[_State]:
    """The states one task after `layer` that stay below `limit`, most promising first."""
    found: dict[int, _State] = {}
    for state in layer:
        for after in memory.choices(state):
            if after.peak < limit and (after.done not in found or after.peak < found[after.done].peak):
                found[after.done] = after
        effort -= len(state.ready)
        if effort <= 0:
            break
    return sorted(found.values(), key=lambda state: (state.peak, state.live))


def _sequence(state: _State) -> tuple[int, ...]:
    """The tasks that led to `state`."""
    steps = []
    while state.before is not None:
        steps.append((state.done ^ state.before.done).bit_length() - 1)
        state = state.before
    return tuple(reversed(steps))


class _Memory:
    """Who needs what, and how running a task changes what is alive."""

    def __init__(self, tasks: Sequence[Task], sizes: Mapping[str, int], keep: Collection[str]) -> None:
        self.tasks, self.sizes, self.keep = tasks, sizes, frozenset(keep)
        self.writer = {name: i for i, task in enumerate(tasks) for name in task.writes}
        if len(self.writer) != sum(len(task.writes) for task in tasks):
            raise ValueError("a tensor is written twice")
        self.readers: dict[str, int] = {}
        for i, task in enumerate(tasks):
            for name in task.reads:
                self.readers[name] = self.readers.get(name, 0) | 1 << i
        self.needs = [sum({1 << self.writer[r] for r in task.reads if r in self.writer}) for task in tasks]
        self.users = [[j for j, needs in enumerate(self.needs) if needs >> i & 1] for i in range(len(tasks))]

    def start(self) -> _State:
        """Before the first task, with a peak that no order can avoid: what each task needs even when it runs alone."""
        inputs = self._bytes(name for name in self.readers if name not in self.writer)
        least = [self._bytes({*t.reads, *t.writes}) + t.scratch - self._saved(t, t.overlays) for t in self.tasks]
        ready = tuple(i for i, needs in enumerate(self.needs) if not needs)
        return _State(0, ready, inputs, max([inputs, self._bytes(self.keep & self.writer.keys()), *least]))

    def choices(self, state: _State) -> list[_State]:
        """The states that one more task leads to.

        Only one, if a task raises neither the peak nor what stays alive: from any order, it can be moved to here, and
        no step takes more than before.
        """
        found = []
        for task in state.ready:
            after = self.run(state, task)
            if after.peak == state.peak and after.live <= state.live:
                return [after]
            found.append(after)
        return found

    def run(self, state: _State, index: int) -> _State:
        """The state after task `index`, whose inputs are there."""
        task, done = self.tasks[index], state.done | 1 << index
        freed = [r for r in dict.fromkeys(task.reads) if r not in self.keep and not self.readers[r] & ~done]
        during = state.live + self._bytes(task.writes) + task.scratch - self._saved(task, freed)
        stays = [w for w in task.writes if w in self.keep or w in self.readers]
        ready = [i for i in state.ready if i != index]
        ready += [i for i in self.users[index] if not self.needs[i] & ~done]
        live = state.live + self._bytes(stays) - self._bytes(freed)
        return _State(done, tuple(sorted(ready)), live, max(state.peak, during), state)

    def peak(self, sequence: Sequence[int]) -> int:
        state = self.start()
        for index in sequence:
            if index not in state.ready:
                raise ValueError(f"task '{self.tasks[index].name}' runs before one whose result it reads, or twice")
            state = self.run(state, index)
        return state.peak

    def _saved(self, task: Task, freed: Collection[str]) -> int:
        """Bytes that `task` saves by writing its first output over one of its inputs in `freed`."""
        return max((saved for name, saved in task.overlays.items() if name in freed), default=0)

    def _bytes(self, names: Iterable[str]) -> int:
        return sum(self.sizes.get(name, 0) for name in names)
