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
from tinygen.ops import all_ops, call_of, op_of
from tinygen.ops.base import Call
from tinygen.target import Target

Optimize = Literal["speed", "size", "ram", "balanced"]

#: Under `balanced`, weights lie in a form that costs instructions if a node's constants then take at most this share of
#: their bytes; or fewer bytes at all, where the graph asks for the smallest form.
WORTH_A_FORM = 0.7
#: Under `balanced`, the faster of two kernels for a form is taken if its constants take at most this share of bytes.
AS_SMALL = 1.05
#: Under `balanced`, a kernel that takes n times the instructions of the fastest plain one counts as if its constants
#: took this share of their bytes n - 1 times on top: of forms that are nearly as small, the faster is taken. The second
#: is for weights that ask for the smallest form at any speed.
SLOWNESS, PATIENCE = 1 / 24, 1 / 64
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


def select(graph: Graph, target: Target, optimize: Optimize) -> dict[str, Choice]:
    """The choice for each node of `graph` that runs, by its first output. Raises `UnsupportedError` where none can.

    Under ``speed`` that with the fewest instructions, under ``ram`` with the least scratch memory, under ``size`` that
    whose constants take least flash; ``balanced`` does the same, but takes only forms that cost no instructions, save
    much of a node's constants and a larger share of all constants than they add to all instructions, or are asked for
    (`Graph.storage`). Kernels for a form of weights are taken one after the other, as long as all that choose one save
    more than its code.
    """
    running = [node for node in graph.nodes if _runs(graph, node)]
    options = {n.outputs[0]: able(graph, n, target, optimize) for n in running}
    if optimize != "speed":
        options = _fitting(options, live_bytes(graph))
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


def live_bytes(graph: Graph) -> dict[str, int]:
    """For each node that runs, by its first output: bytes of the tensors that live meanwhile, in the graph's order.

    The arena takes at least as many as the largest of these. A view is the tensor that it shows.
    """
    of = {name: name for name in graph.types}
    for node in graph.nodes:
        if not _runs(graph, node):
            of[node.outputs[0]] = of[node.inputs[0]]
    born = {name: i for i, node in enumerate(graph.nodes) for name in node.outputs}
    dead = {of[name]: i for i, node in enumerate(graph.nodes) for name in (*node.outputs, *node.inputs) if name}
    dead |= {of[name]: len(graph.nodes) for name in graph.outputs}
    spans = [(born.get(name, -1), dead[name], graph.types[name].bytes) for name in dead if name not in graph.constants]
    at = {node.outputs[0]: i for i, node in enumerate(graph.nodes) if _runs(graph, node)}
    return {name: sum(size for first, last, size in spans if first <= i <= last) for name, i in at.items()}


def _fitting(options: Mapping[str, Sequence[Choice]], live: Mapping[str, int]) -> dict[str, list[Choice]]:
    """Those `options` that need no more memory than the graph does anyway, where its nodes take what is not roomy."""
    lean = {name: [o for o in some if not o.kernel.roomy] for name, some in options.items()}
    needed = [live[name] + _plain_scratch(some) for name, some in lean.items()]
    free = {name: max(needed, default=0) - taken for name, taken in live.items()}
    return {
        name: [*lean[name], *(o for o in some if o.kernel.roomy and o.scratch <= free[name])]
        for name, some in options.items()
    }


def _plain_scratch(options: Sequence[Choice]) -> int:
    """The scratch memory of the fastest plain kernel; 0 where there is none."""
    return min(((o.speed, o.scratch) for o in options if o.kernel.form == PLAIN), default=(0, 0))[1]


def _fast(options: Sequence[Choice]) -> list[Choice]:
    """Those `options` that no faster one of the same form equals in bytes, nearly."""

    def beaten(slow: Choice) -> bool:
        same = (o for o in options if o.kernel.form == slow.kernel.form != PLAIN and o.speed < slow.speed)
        return not slow.smallest and any(o.bytes <= AS_SMALL * slow.bytes for o in same)

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


def _runs(graph: Graph, node: Node) -> bool:
    """Whether anything runs for `node`: a view of something that exists at run time costs nothing."""
    return not op_of(node).view or node.inputs[0] in graph.constants


def able(graph: Graph, node: Node, target: Target, optimize: Optimize) -> list[Choice]:
    """Every kernel that can compute `node` on `target`, in the form that the graph asks for, if it does."""
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
    if optimize == "ram":
        return min(options, key=lambda o: (o.scratch, o.speed))
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
