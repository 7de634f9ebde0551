# SPDX-License-Identifier: Apache-2.0
"""Activations of some layers in int16: which of them, by what they buy (see `tinygen.quantize.borders` for how).

Whole groups of tensors (those that share a scale) go to int16, with zero point 0 and a range twice that of the
samples. A node that reads or writes one computes in int16 (TFLite's 16x8: the weights stay int8); QUANTIZE nodes stand
where its other tensors are int8. The model's own inputs and outputs stay int8 unless an output's node is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tinygen.batch import elements
from tinygen.errors import UsageError
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array, Quant, Real
from tinygen.ops import call_of, op_of
from tinygen.quantize.assign import assign
from tinygen.quantize.borders import OPERATORS, activations, with_borders
from tinygen.quantize.calibrate import Statistics
from tinygen.quantize.choose import large_enough
from tinygen.quantize.groups import Groups
from tinygen.quantize.options import Options, Wide
from tinygen.quantize.ranges import fake
from tinygen.quantize.refine import refine
from tinygen.quantize.report import Widened, closeness, outputs
from tinygen.reference import run_real

#: Samples that gains are measured on, at most and at least; between them, as many as have so many elements in all.
MOST, FEWEST, HELD = 64, 16, 1 << 20
#: The least gain, in dB, for which a group goes to int16.
WORTHWHILE = 0.1


@dataclass(frozen=True)
class Measured:
    """Groups of the float graph's tensors, their int8 quantizations and statistics, and samples to measure on.

    `int8` is what comes of all that without any int16; `fitted`: with fitted weights or biases.
    """

    groups: Groups
    quants: Mapping[str, Quant]
    statistics: Mapping[str, Statistics]
    samples: Sequence[Sequence[Array]]
    int8: Graph
    fitted: bool

    @cached_property
    def compared(self) -> Sequence[Sequence[Array]]:
        """The samples that are compared."""
        return self.samples[: min(MOST, max(FEWEST, HELD // elements(self.groups.graph)))]

    @cached_property
    def exact(self) -> Mapping[str, Array]:
        """The outputs of the float graph for these."""
        return outputs(self.groups.graph, self.compared)


def widened(measured: Measured, asked: Wide, target: float) -> tuple[Groups, dict[str, Quant], tuple[Widened, ...]]:
    """Groups and quantizations with what is `asked` for in int16, and what that bought.

    ``auto``: by measured gain, until the outputs' signal-to-noise ratio has gained `target` dB; ``all``: whatever can
    be; names of nodes: what these compute. Raises `UsageError` for a name that no node has, or one that has no int16.
    """
    candidates = _candidates(measured.groups)
    if asked == "auto":
        order = sorted(candidates, key=_harm(measured, candidates).__getitem__, reverse=True)
        chosen, bought = _greedy(measured, order, target)
    else:
        parts = (
            [candidates] * bool(candidates) if asked == "all" else [[group] for group in _named(measured.groups, asked)]
        )
        chosen, bought = _at_once(measured, parts)
    return *_bordered(measured, frozenset(chosen)), bought


# --- Which --------------------------------------------------------------------------------------------------------


def _can(groups: Groups, group: str) -> bool:
    """Whether every tensor of `group` is computed by an operator that has a form for int16."""
    makers = [groups.graph.producer(n) for n in groups.members(group) if n not in groups.graph.constants]
    return bool(makers) and all(node is not None and node.op in OPERATORS for node in makers)


def _candidates(groups: Groups) -> list[str]:
    """The groups that could be int16, without those of the model's outputs."""
    graph, ports = groups.graph, {groups.of.get(n) for n in groups.graph.outputs}
    names = [n for node in graph.nodes for n in activations(groups, node.outputs)]
    return [g for g in dict.fromkeys(groups.of[n] for n in names) if g not in ports and _can(groups, g)]


def _named(groups: Groups, names: Sequence[str]) -> list[str]:
    """The groups of what the nodes called `names` compute."""
    nodes, chosen = {node.name: node for node in groups.graph.nodes}, list[str]()
    for name in names:
        if name not in nodes:
            raise UsageError(f"16 bits for '{name}': the prepared model has no such node; see the layers of the report")
        found = [groups.of[n] for n in activations(groups, nodes[name].outputs)]
        if not found or not all(_can(groups, g) for g in found):
            raise UsageError(
                f"16 bits for '{name}' ({nodes[name].op}): it, or what shares its scale, has no form for int16"
            )
        chosen += found
    return list(dict.fromkeys(chosen))


def _harm(measured: Measured, candidates: Sequence[str]) -> dict[str, float]:
    """For each group, the relative squared error at the outputs when it alone is rounded to int8."""
    groups, harm = measured.groups, dict.fromkeys(candidates, 0.0)
    for sample in measured.compared[:FEWEST]:
        exact = run_real(groups.graph, sample)
        for group in candidates:
            changed = _rounded(groups, group, measured.quants[group], exact)
            for name in set(changed) & set(groups.graph.outputs):
                harm[group] += float(np.sum((changed[name] - exact[name]) ** 2) / (np.sum(exact[name] ** 2) + 1e-30))
    return harm


def _rounded(groups: Groups, group: str, quant: Quant, exact: Mapping[str, Real]) -> dict[str, Real]:
    """The tensors that become other numbers than `exact` when `group` is rounded."""
    changed: dict[str, Real] = {}
    for node in groups.graph.nodes:
        if changed.keys() & set(node.inputs):
            values = [changed.get(n, exact[n]) if n else None for n in node.inputs]
            changed |= zip(node.outputs, op_of(node).real(call_of(groups.graph, node), values), strict=True)
        ours = [n for n in node.outputs if groups.of.get(n) == group]
        changed |= {n: fake(changed.get(n, exact[n]), quant) for n in ours}
    return changed


def _greedy(measured: Measured, order: Sequence[str], target: float) -> tuple[list[str], tuple[Widened, ...]]:
    """The first groups of `order`, as many (1, 2, 4 …, all) as raise the outputs' ratio by `target` dB, or most, less
    those that it can do without, the last first; with what each is worth to the rest.

    Not one by one from the start: noise of one group hides that of another where a network comes to a decision.
    """
    counts = [1 << i for i in range(len(order).bit_length()) if 1 << i < len(order)] + [len(order)] * bool(order)
    before = best = _tried(measured, frozenset())
    goal, chosen = before + target, list[str]()
    for count in counts if target > 0 else []:
        trial = _tried(measured, frozenset(order[:count]))
        if trial > best + WORTHWHILE:
            best, chosen = trial, list(order[:count])
        if best >= goal:
            break
    bought = list[Widened]()
    for group in reversed(chosen):
        less = _tried(measured, frozenset(chosen) - {group})
        if less >= min(goal, best - WORTHWHILE):
            chosen.remove(group)
            best = less
        else:
            bought.append(_bought(measured.groups, [group], best - less))
    return chosen, tuple(reversed(bought))


def _at_once(measured: Measured, parts: Sequence[Sequence[str]]) -> tuple[list[str], tuple[Widened, ...]]:
    """All of the groups in `parts`, and what each part bought after those before."""
    chosen, bought, before = list[str](), list[Widened](), _tried(measured, frozenset())
    for part in parts:
        chosen += part
        after = _tried(measured, frozenset(chosen))
        bought.append(_bought(measured.groups, part, after - before))
        before = after
    return chosen, tuple(bought)


def _bought(groups: Groups, part: Sequence[str], gain: float) -> Widened:
    nodes, extra = list[str](), 0
    for group in part:
        members = [n for n in groups.members(group) if n not in groups.graph.constants]
        nodes += [node.name for n in members if (node := groups.graph.producer(n)) is not None]
        extra += max(groups.graph.types[n].elements for n in members)
    return Widened(tuple(nodes), gain, extra)


def _tried(measured: Measured, chosen: frozenset[str]) -> float:
    """The signal-to-noise ratio of the outputs, in dB, with `chosen` in int16, and biases fitted if they shall be.

    0 where an operator cannot be computed so.
    """
    groups, quants = _bordered(measured, chosen)
    integer, samples = assign(groups, large_enough(groups, quants)), measured.compared
    if any(op_of(node).problems(call_of(integer, node)) for node in integer.nodes):
        return 0.0
    if measured.fitted:
        fitted = _with_weights(integer, measured.int8)
        integer = refine(groups.graph, fitted, samples, Options(rounding="bias"))
    return closeness(measured.exact, integer, samples) / len(integer.outputs)


def _with_weights(integer: Graph, int8: Graph) -> Graph:
    """`integer` with the weights of `int8`, which have been fitted."""
    fitted = {
        name: int8.constants[name]
        for name, value in integer.constants.items()
        if value.dtype == np.int8 and name in int8.constants and int8.types[name] == integer.types[name]
    }
    return replace(integer, constants={**integer.constants, **fitted})


def _bordered(measured: Measured, chosen: frozenset[str]) -> tuple[Groups, dict[str, Quant]]:
    return with_borders(measured.groups, measured.quants, measured.statistics, chosen)
