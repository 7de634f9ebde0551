# SPDX-License-Identifier: Apache-2.0
"""Removing branches of residual blocks: of what a sum adds, one side stays, and the layers behind make up for it.

Networks with shortcuts hold up when single branches are taken out (A. Veit et al., Residual Networks Behave Like
Ensembles of Relatively Shallow Networks, 2016). Which branch is missed least is measured: each is removed in turn, the
layers behind are fitted to what they gave in the original, and the error of the outputs is divided by the bytes saved.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from tinygen.compress.base import Evidence, Sample, Setting, Stage
from tinygen.compress.fitting.refit import RefusedError, refit, refitted_to_sum
from tinygen.compress.fitting.sensitivity import logits
from tinygen.compress.fitting.sizes import weight_bytes
from tinygen.compress.fitting.walk import Walk, enough, walk
from tinygen.errors import UsageError
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import DType
from tinygen.ops import Activation, op_of
from tinygen.passes.base import Result, label, macs
from tinygen.passes.remove_dead import RemoveDead
from tinygen.passes.rewrite import renamed
from tinygen.quantize.layers import is_layer

#: Samples that branches are tried on.
TRIED_ON = 96


@dataclass(frozen=True)
class Branch:
    """One side of the sum `add`, which goes while tensor `stays` remains.

    `nodes` are the names of what goes with it, `bytes` the weights that this saves.
    """

    add: Node
    stays: str
    nodes: tuple[str, ...]
    bytes: int

    def matches(self, pattern: str) -> bool:
        """Whether the sum or what goes has a name that `pattern` (``fnmatch``) matches."""
        return any(fnmatch.fnmatchcase(name, pattern) for name in (self.add.name, *self.nodes))


@dataclass(frozen=True)
class Branches:
    """Remove the COUNT branches of residual sums that are missed least for the bytes they take, or ``all``.

    - `count`: how many branches go. A pattern in `layers` that matches a sum, or a layer of a branch, stands for a
      branch of its own that goes (1), or for those that stay ("none").
    """

    count: Setting = field(default=Setting(1), metadata={"main": True})
    name: ClassVar[str] = "branches"
    stage: ClassVar[Stage] = Stage.STRUCTURE

    def __post_init__(self) -> None:
        for value in self.count.values():
            if value is not None and value != "all" and not (type(value) is int and value >= 0):
                raise UsageError(f"expected count to be a number of branches or 'all', got {value!r}")
        if any(value not in (None, 0, 1) for value in self.count.layers.values()):
            raise UsageError("expected 1 or 'none' for a pattern: it stands for one branch")

    def run(self, graph: Graph, evidence: Evidence) -> Result:
        """See `Technique.run`."""
        if not evidence.samples:
            raise UsageError("branches: pass samples of the model's inputs to fit layers to")
        samples, done, declined, now = enough(graph, evidence.samples), list[str](), list[str](), graph
        for pattern in self._patterns(graph):
            offers = [b for b in branches(now) if self._may_go(b) and (pattern is None or b.matches(pattern))]
            if not offers:
                what = "further sum" if pattern is None else f"sum or layer '{pattern}'"
                declined.append(f"there is no {what} of two branches of one shape, one of which has weights")
                break
            branch = min(offers, key=lambda b: _harm(now, b, samples[:TRIED_ON]) / b.bytes)  # used at once
            made = removed(now, branch, samples)
            done.append(_line(now, branch, made))
            now = made.graph()
        return Result(now, tuple(done), tuple(declined))

    def _patterns(self, graph: Graph) -> list[str | None]:
        """What each branch that is to go has to match; None: nothing."""
        sums = sum(node.op == "ADD" for node in graph.nodes)
        more = sums if self.count.value == "all" else self.count.value or 0
        named = [pattern for pattern, value in self.count.layers.items() if value]
        return [*named, *[None] * max(0, more - len(named) * (self.count.value == "all"))]

    def _may_go(self, branch: Branch) -> bool:
        return not any(branch.matches(pattern) for pattern, value in self.count.layers.items() if not value)


def branches(graph: Graph) -> list[Branch]:
    """Every branch of `graph` that could go: the sums are `ADD` nodes of int8, whose inputs have the output's shape.

    What a search may choose from: the name of the sum, or one of `Branch.nodes`, is what a pattern of the setting says.
    """
    found = []
    for node in graph.nodes:
        tensors = [graph.types[name] for name in (*node.inputs, *node.outputs)]
        alike = len({t.shape for t in tensors}) == 1 and all(t.dtype is DType.INT8 for t in tensors)
        if node.op != "ADD" or not alike or len({*node.inputs, *graph.constants}) < len(graph.constants) + 2:
            continue
        for stays in node.inputs:
            smaller = without(graph, node, stays)
            gone = {n.name for n in graph.nodes} - {n.name for n in smaller.nodes} - {node.name}
            saved = _weights(graph) - _weights(smaller)
            if saved > 0:
                found.append(Branch(node, stays, tuple(n.name for n in graph.nodes if n.name in gone), saved))
    return found


def without(graph: Graph, add: Node, stays: str) -> Graph:
    """`graph` with `stays` in place of what `add` computes, and without what only the other branch needs.

    The layer that computes `stays` takes over the sum's output, scale and activation; where it has other readers, those
    of the sum read it instead if they are layers, which can be fitted; else a node of the activation's stands between.
    """
    target, rest = add.outputs[0], [n for n in graph.nodes if n is not add]
    maker, activation = graph.producer(stays), add.attrs.activation  # type: ignore[attr-defined]  # ADD's have one
    if maker is not None and _takes_over(graph, maker, add):
        taken = replace(renamed(maker, stays, target), attrs=replace(maker.attrs, activation=activation))  # type: ignore[call-arg]  # layers have one
        nodes = [taken if n is maker else n for n in rest]
    elif not graph.is_output(target) and _does_nothing(graph, stays, activation) and _all_layers(graph, target):
        nodes = [renamed(n, target, stays) for n in rest]
    else:
        op = "QUANTIZE" if activation is Activation.NONE else activation.name
        between = Node(add.name, op, (stays,), (target,), op_of(replace(add, op=op)).attrs())
        nodes = [between if n is add else n for n in graph.nodes]
    return RemoveDead().run(graph.with_nodes(nodes)).graph


def _takes_over(graph: Graph, maker: Node, add: Node) -> bool:
    """Whether layer `maker` has no reader but `add`, and no activation of its own."""
    alone = graph.consumers(maker.outputs[0]) == (add,) and not graph.is_output(maker.outputs[0])
    return alone and is_layer(graph, maker) and maker.attrs.activation is Activation.NONE  # type: ignore[attr-defined]


def _does_nothing(graph: Graph, name: str, activation: Activation) -> bool:
    """Whether tensor `name` lies in the range of `activation` whatever its values are."""
    values = graph.types[name].dequantize(np.array(graph.types[name].dtype.limits))
    low, high = activation.limits
    return bool(low <= values[0] and values[1] <= high)


def _all_layers(graph: Graph, name: str) -> bool:
    """Whether only layers read tensor `name`, as their input."""
    return all(is_layer(graph, n) and n.inputs.index(name) == 0 for n in graph.consumers(name))


def removed(graph: Graph, branch: Branch, samples: Sequence[Sample]) -> Walk:
    """`graph` without `branch`, its layers fitted one after the other to what they gave in `graph`."""
    smaller = without(graph, branch.add, branch.stays)
    made = walk(graph, samples, graph=smaller)
    for node in smaller.nodes:
        if node.outputs == branch.add.outputs and is_layer(smaller, node):
            with suppress(RefusedError):
                node = refitted_to_sum(made, node, branch.add)
        else:
            node = refit(made, node)
        made.add(node)
    return made


def _harm(graph: Graph, branch: Branch, samples: Sequence[Sample]) -> float:
    """The share of the outputs' variance that is lost without `branch`."""
    made = removed(graph, branch, samples)
    return sum(_lost(made, name) for name in dict.fromkeys(logits(graph, name) for name in graph.outputs))


def _lost(made: Walk, name: str) -> float:
    exact, now = (
        t.dequantize(v[name]) for t, v in ((made.original.types[name], made.truth), (made.types[name], made.now))
    )
    return float(np.mean((exact - now) ** 2) / (np.var(exact) + 1e-30))


def _weights(graph: Graph) -> int:
    return sum(weight_bytes(graph, node) for node in graph.nodes if is_layer(graph, node))


def _line(graph: Graph, branch: Branch, made: Walk) -> str:
    closest = min(made.closeness(logits(graph, name)) for name in graph.outputs)
    return (
        f"{label(branch.add)}: without {', '.join(branch.nodes)}, {branch.bytes} B less, "
        f"{macs(graph)} → {macs(made.graph())} MACs, outputs {closest:.1f} dB"
    )


TECHNIQUE = Branches
