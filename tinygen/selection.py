"""Which kernel computes each node: by instructions, by the bytes of its constants, or by its scratch memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.ir.graph import Graph, Node
from tinygen.kernels import Kernel, Launch, kernels_for
from tinygen.kernels.base import PLAIN
from tinygen.ops import all_ops, call_of, op_of
from tinygen.ops.base import Call
from tinygen.target import Target

Optimize = Literal["speed", "size", "ram", "balanced"]


@dataclass(frozen=True)
class Choice:
    """A kernel that can compute a node. `asked`: the graph asks for the form in which the kernel stores weights."""

    kernel: Kernel
    call: Call[Any]
    asked: bool = False

    @cached_property
    def launches(self) -> Sequence[Launch]:
        """The node's C calls, with constants packed."""
        return self.kernel.launch(self.call)

    @property
    def bytes(self) -> int:
        """What the packed constants occupy in flash."""
        return sum(v.nbytes for launch in self.launches for v in launch.params.values() if isinstance(v, np.ndarray))

    @property
    def scratch(self) -> int:
        return sum(launch.scratch for launch in self.launches)

    @cached_property
    def speed(self) -> float:
        """Instructions per MAC or per output element, roughly."""
        return self.kernel.speed(self.call) if callable(self.kernel.speed) else self.kernel.speed

    @property
    def work(self) -> float:
        """The instructions that the node takes, roughly."""
        return self.speed * (all_ops()[self.call.op].macs(self.call) or self.call.output.elements)


def select(graph: Graph, target: Target, optimize: Optimize) -> dict[str, Choice]:
    """The choice for each node of `graph` that runs, by its first output. Raises `UnsupportedError` where none can.

    Under ``speed`` that with the fewest instructions, under ``ram`` with the least scratch memory. Otherwise that whose
    constants take least flash, if all that choose a kernel for its form of weights together save more than its code.
    """
    options = {node.outputs[0]: able(graph, node, target, optimize) for node in graph.nodes if _runs(graph, node)}
    refused: set[str] = set()
    while True:
        chosen = {
            name: _best([o for o in some if o.asked or o.kernel.template not in refused], optimize)
            for name, some in options.items()
        }
        useless = set(_useless(options, chosen, optimize)) - refused
        if not useless:
            return chosen
        refused |= useless


def _runs(graph: Graph, node: Node) -> bool:
    """Whether anything runs for `node`: a view of something that exists at run time costs nothing."""
    return not op_of(node).view or node.inputs[0] in graph.constants


def able(graph: Graph, node: Node, target: Target, optimize: Optimize) -> list[Choice]:
    """Every kernel that can compute `node` on `target`, in the form that the graph asks for, if it does."""
    call = call_of(graph, node)
    asked = next((graph.storage[n] for n in node.inputs if n in graph.storage), None)
    offered = [k for k in kernels_for(call.op) if not k.asked or optimize == "size" or k.form == asked]
    kernels = [k for k in offered if k.requires <= target.features and k.takes(call)]
    if asked is not None and any(k.form == asked for k in kernels):
        return [Choice(k, call, asked=True) for k in kernels if k.form == asked]
    usual = [Choice(k, call) for k in kernels]
    if not usual:
        raise UnsupportedError(
            f"node '{call.name}' ({call.op}): no kernel computes {_types(call)} on {target.name}; see docs/operators.md"
        )
    return usual


def _types(call: Call[Any]) -> str:
    return f"{', '.join(str(t) for t in call.inputs if t)} → {', '.join(map(str, call.outputs))}"


def _best(options: Sequence[Choice], optimize: Optimize) -> Choice:
    if optimize == "speed":
        return min(options, key=lambda o: o.speed)
    if optimize == "ram":
        return min(options, key=lambda o: (o.scratch, o.speed))
    return min(options, key=lambda o: (o.bytes if _forms(options) else 0, o.speed))


def _forms(options: Sequence[Choice]) -> bool:
    """Whether an option stores weights in a form of its own: else there is no need to pack them for all kernels."""
    return any(o.kernel.form != PLAIN for o in options)


def _useless(
    options: Mapping[str, Sequence[Choice]], chosen: Mapping[str, Choice], optimize: Optimize
) -> Iterator[str]:
    """Templates whose kernels were chosen for their form of weights, but save less than their code."""
    if optimize == "speed":
        return
    saved, code = dict[str, int](), dict[str, int]()
    for name, choice in chosen.items():
        plain = [o.bytes for o in options[name] if o.kernel.form == PLAIN]
        if choice.kernel.form != PLAIN and not choice.asked and plain:
            template = choice.kernel.template
            saved[template] = saved.get(template, 0) + min(plain) - choice.bytes
            code[template] = max(code.get(template, 0), choice.kernel.code)
    yield from (template for template, total in saved.items() if total <= code[template])
