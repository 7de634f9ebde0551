# SPDX-License-Identifier: Apache-2.0
"""Which kernel computes each node: by instructions, by the bytes of its constants, or by its scratch memory."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.ir.graph import Graph, Node
from tinygen.kernels import Kernel, Launch, kernels_for
from tinygen.kernels.base import AT_ANY_SPEED, PLAIN, SMALLEST
from tinygen.kernels.doubled import doubled_kernels_for
from tinygen.ops import all_ops, call_of
from tinygen.ops.base import Call
from tinygen.room import Worth, living, runs
from tinygen.target import Target

Optimize = Literal["speed", "size", "ram", "balanced"]

#: What memory is worth.
WORTH: Mapping[Optimize, Worth] = {
    "speed": Worth(0.15),
    "balanced": Worth(0.12),
    "size": Worth(0.12),
    "ram": Worth(10.0),
}
#: Under `balanced`, weights lie in a form that costs instructions if a node's constants then take at most this share of
#: their bytes; or fewer bytes at all, where the graph asks for the smallest form.
WORTH_A_FORM = 0.7
#: Under `balanced`, a kernel that takes n times the instructions of the fastest plain one counts as if its constants
#: took this share of their bytes n - 1 times on top: of forms that are nearly as small, the faster is taken. The second
#: is for weights that ask for the smallest form at any speed.
SLOWNESS, PATIENCE = 1 / 24, 1 / 64
#: How many times as fast as another of the same form a kernel must be for its bytes not to count under `balanced`.
FAR_FASTER = 4
#: Bytes of memory that a form may take beside what plain kernels need: under `size`, or where it is asked for by name,
#: into which rows are unpacked; else no more than rounding up the arena takes in any case.
BESIDE, ROUNDING = 1024, 8
#: Bytes of code that all kernels which use a template share, where these are many: on Cortex-M4 or M0, at -O2. They
#: count for weights that ask for the smallest form at any speed; for others, it would be slow kernels that save them.
SHARED = {"common/dsp_products": 1100, "common/dsp_ring": 490, "common/v6m_eight": 460}


@dataclass(frozen=True)
class Choice:
    """A kernel that can compute a node.

    `asked`: the graph asks for the form in which the kernel stores weights; `smallest`: for whichever is smallest.
    `pace`: the speed of the fastest plain kernel, where instructions count as well as bytes, else 0; how much they
    count, says `slowness`.
    """

    kernel: Kernel
    call: Call[Any]
    asked: bool = False
    smallest: bool = False
    pace: float = 0.0
    slowness: float = SLOWNESS

    @cached_property
    def launches(self) -> Sequence[Launch]:
        """The node's C calls, with constants packed."""
        return self.kernel.launch(self.call)

    @cached_property
    def bytes(self) -> int:
        """What the packed constants occupy in flash, and the code of the calls."""
        arrays = (v for launch in self.launches for v in launch.params.values() if isinstance(v, np.ndarray))
        return sum(v.nbytes for v in arrays) + self.kernel.per_call

    @property
    def scratch(self) -> int:
        return sum(launch.scratch for launch in self.launches)

    @cached_property
    def speed(self) -> float:
        """Instructions per MAC or per output element, roughly."""
        return self.kernel.speed(self.call) if callable(self.kernel.speed) else self.kernel.speed

    @cached_property
    def price(self) -> float:
        """The bytes, and those that instructions stand for."""
        slower = max(self.speed / self.pace - 1, 0.0) if self.pace else 0.0
        return self.bytes * (1 + self.slowness * slower)

    @property
    def work(self) -> float:
        """The instructions that the node takes, roughly."""
        return self.speed * (all_ops()[self.call.op].macs(self.call) or self.call.output.elements)


def select(graph: Graph, target: Target, optimize: Optimize, room: int | None = None) -> dict[str, Choice]:
    """The choice for each node of `graph` that runs, by its first output. Raises `UnsupportedError` where none can.

    Of the kernels whose memory fits `room` bytes, beside the tensors that live meanwhile (None: as much as is worth
    the instructions it saves, see `WORTH`), under ``speed`` the one with the fewest instructions, under ``size`` the
    one whose constants take least flash. The others do the same, but take only forms that cost no instructions, save
    much of a node's constants and a larger share of all constants than they add to all instructions, or are asked for
    (`Graph.storage`). Kernels for a form of weights are taken one after the other, as long as all that choose one save
    more than its code.
    """
    running = [node for node in graph.nodes if runs(graph, node)]
    options = {n.outputs[0]: able(graph, n, target, optimize) for n in running}
    options = _fitting(graph, options, optimize, room)
    if optimize == "ram":
        optimize = "balanced"  # in all but memory
    if optimize == "balanced":
        options = {name: _fast(some) for name, some in options.items()}
    forms = {o.kernel.template for some in options.values() for o in some if o.kernel.form != PLAIN}
    if optimize == "speed":
        return _chosen(options, forms, optimize)
    taken, chosen = set[str](), _chosen(options, (), optimize)
    rate = _rate(chosen) if optimize == "balanced" and forms else math.inf
    options = {name: _worth(some, rate) for name, some in options.items()}
    while forms > taken:
        more = {form: _chosen(options, {*taken, form}, optimize) for form in sorted(forms - taken)}
        best = min(more, key=lambda form: _flash(more[form]))
        if _flash(more[best]) >= _flash(chosen):
            break
        taken, chosen = {*taken, best}, more[best]
    return chosen


def variants(choice: Choice, target: Target, optimize: Optimize) -> list[Choice]:
    """`choice` and what differs from it only in how much scratch memory it takes, that with least first.

    Not what has more constants, of which it may be chosen to have few; but under ``speed``, weights may lie in twice
    the flash.
    """
    kernel = choice.kernel
    same = [k for k in kernels_for(choice.call.op) if (k.template, k.form) == (kernel.template, kernel.form)]
    options = [o for o in _able(choice, same, target) if o.bytes <= choice.bytes]
    if optimize == "speed":
        options += _able(choice, doubled_kernels_for(kernel.template), target)
    return sorted(options, key=lambda o: (o.scratch, o.speed))


def _able(choice: Choice, kernels: Sequence[Kernel], target: Target) -> list[Choice]:
    """`choice` with each of the `kernels` that can compute it."""
    return [replace(choice, kernel=k) for k in kernels if k.requires <= target.features and k.takes(choice.call)]


def _fitting(
    graph: Graph, options: Mapping[str, Sequence[Choice]], optimize: Optimize, room: int | None
) -> dict[str, list[Choice]]:
    """Those `options` whose memory fits `room`, or (None) as much as plain kernels are worth and a little for forms.

    Where none fits, those that need least.
    """
    live = living(graph)
    needs = {name: [live[name].need(o.kernel, o.call, o.launches) for o in some] for name, some in options.items()}
    table = {name: list(zip(needs[name], some, strict=True)) for name, some in options.items()}
    if room is None:
        usual = {name: [way for way in ways if _usual(way[1])] or ways for name, ways in table.items()}
        room = WORTH[optimize].peak({name: [(need, o.work) for need, o in ways] for name, ways in usual.items()})
        table = {name: [(need - _beside(o, optimize), o) for need, o in ways] for name, ways in table.items()}
    limits = {name: max(room, min(needs[name])) for name in options}
    return {name: [o for need, o in ways if need <= limits[name]] for name, ways in table.items()}


def _beside(option: Choice, optimize: Optimize) -> int:
    """Bytes of memory that `option` may take beside what plain kernels need."""
    if option.kernel.form == PLAIN:
        return 0
    return BESIDE if optimize == "size" or option.asked else ROUNDING


def _usual(option: Choice) -> bool:
    return option.asked or option.kernel.form == PLAIN


def _fast(options: Sequence[Choice]) -> list[Choice]:
    """Those `options` beside which none of the same form is n times as fast and no larger, by n - 1 times SLOWNESS.

    A kernel for more of the core's instructions that is `FAR_FASTER` may be larger.
    """

    def beats(fast: Choice, slow: Choice) -> bool:
        times = slow.speed / fast.speed
        special = slow.kernel.requires < fast.kernel.requires and times >= FAR_FASTER
        return special or (times > 1 and fast.bytes <= slow.bytes * (1 + SLOWNESS * (times - 1)))

    def beaten(slow: Choice) -> bool:
        same = (o for o in options if o.kernel.form == slow.kernel.form != PLAIN)
        return not slow.smallest and any(beats(o, slow) for o in same)

    return [o for o in options if not beaten(o)]


def _chosen(options: Mapping[str, Sequence[Choice]], forms: Collection[str], optimize: Optimize) -> dict[str, Choice]:
    """The best option for each node, of plain kernels, those of the templates `forms` and what the graph asks for."""

    def allowed(option: Choice) -> bool:
        return option.asked or option.kernel.form == PLAIN or option.kernel.template in forms

    return {name: _best([o for o in some if allowed(o)], optimize) for name, some in options.items()}


def _rate(chosen: Mapping[str, Choice]) -> float:
    """Instructions that a byte of constants is worth: those of the whole for each of its bytes."""
    return sum(o.work for o in chosen.values()) / max(1, sum(o.bytes for o in chosen.values()))


def _worth(options: Sequence[Choice], rate: float) -> list[Choice]:
    """`options` without forms that nobody asks for and that add more than `rate` instructions for each byte saved."""
    plain = [o for o in options if o.kernel.form == PLAIN]
    if math.isinf(rate) or not plain or not _forms(options):
        return list(options)
    fastest = min(plain, key=lambda o: o.speed)

    def pays(option: Choice) -> bool:
        return option.work - fastest.work <= max(0.0, rate * (fastest.bytes - option.bytes))

    return [o for o in options if o in plain or o.smallest or pays(o)]


def _flash(chosen: Mapping[str, Choice]) -> float:
    """What depends on the choice of forms: the price of packed constants, and the code of the forms' kernels."""
    code = dict[str, int]()
    for o in chosen.values():
        code[o.kernel.template] = max(code.get(o.kernel.template, 0), o.kernel.code)
        if o.slowness < SLOWNESS:
            code |= {used: SHARED[used] for used in o.kernel.uses if used in SHARED}
    return sum(o.price for o in chosen.values()) + sum(code.values())


def able(graph: Graph, node: Node, target: Target, optimize: Optimize) -> list[Choice]:
    """Every kernel that can compute `node` on `target`, in the form that the graph asks for, if one has it.

    Raises `UnsupportedError` where none can.
    """
    call = call_of(graph, node)
    asked = next((graph.storage[n] for n in node.inputs if n in graph.storage), None)
    slow = optimize == "size" or asked == AT_ANY_SPEED
    offered = [k for k in kernels_for(call.op) if not k.asked or slow or k.form == asked]
    kernels = [k for k in offered if k.requires <= target.features and k.takes(call)]
    if asked is not None and any(k.form == asked for k in kernels):
        kernels = [k for k in kernels if k.form == asked]
    usual = [Choice(k, call, asked=k.form == asked, smallest=asked in (SMALLEST, AT_ANY_SPEED)) for k in kernels]
    if not usual:
        raise UnsupportedError(
            f"node '{call.name}' ({call.op}): no kernel computes {_types(call)} on {target.name}; see docs/operators.md"
        )
    pace = min((o.speed for o in usual if o.kernel.form == PLAIN), default=0.0) if optimize == "balanced" else 0.0
    slowness = PATIENCE if asked == AT_ANY_SPEED else SLOWNESS
    return [replace(o, pace=pace, slowness=slowness) for o in usual] if _forms(usual) else usual


def _types(call: Call[Any]) -> str:
    return f"{', '.join(str(t) for t in call.inputs if t)} → {', '.join(map(str, call.outputs))}"


def _best(options: Sequence[Choice], optimize: Optimize) -> Choice:
    if optimize == "speed":
        return min(options, key=lambda o: o.speed)
    if not _forms(options):
        return min(options, key=lambda o: o.speed)
    plain = [o for o in options if o.kernel.form == PLAIN]
    if optimize == "balanced" and plain:
        fastest = min(plain, key=lambda o: o.speed)
        forms = [o for o in options if o.kernel.form != PLAIN]
        options = [fastest, *(o for o in forms if o.smallest or _worthwhile(o, fastest))]
    return min(options, key=lambda o: (o.price, o.speed))


def _worthwhile(option: Choice, fastest: Choice) -> bool:
    """Whether a form that nobody asks for is worth its instructions."""
    return option.speed <= fastest.speed or option.bytes <= WORTH_A_FORM * fastest.bytes


def _forms(options: Sequence[Choice]) -> bool:
    """Whether an option stores weights in a form of its own: else there is no need to pack them for all kernels."""
    return any(o.kernel.form != PLAIN for o in options)
