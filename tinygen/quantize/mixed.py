"""Activations of some layers in int16: which, and where they meet those in int8.

Whole groups of tensors (those that share a scale) go to int16, with zero point 0 and a range twice that of the
samples. A node that reads or writes one computes in int16 (TFLite's 16x8: the weights stay int8); QUANTIZE nodes stand
where its other tensors are int8. The model's own inputs and outputs stay int8 unless an output's node is asked for.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tinygen.errors import UsageError
from tinygen.ir.graph import Attrs, Graph, Node
from tinygen.ir.types import Array, DType, Quant, Real, TensorType
from tinygen.ops import call_of, op_of
from tinygen.passes.rewrite import fresh
from tinygen.quantize.assign import assign
from tinygen.quantize.calibrate import Statistics
from tinygen.quantize.choose import large_enough
from tinygen.quantize.groups import Groups
from tinygen.quantize.options import Wide
from tinygen.quantize.ranges import MIN_SCALE, fake
from tinygen.quantize.report import Widened, decibels
from tinygen.reference import run_real

#: Operators that have a form for int16, in TFLM, too.
OPERATORS = frozenset(
    {
        *("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "ADD", "SUB", "MUL", "MEAN"),
        *("AVERAGE_POOL_2D", "MAX_POOL_2D", "RELU", "LOGISTIC", "TANH", "SOFTMAX", "CONCATENATION", "PACK", "UNPACK"),
        *("SPLIT", "SPLIT_V", "SLICE", "STRIDED_SLICE", "PAD", "TRANSPOSE", "RESHAPE", "SQUEEZE", "EXPAND_DIMS"),
    }
)
#: Operators whose int16 output has scale 1/32768.
_FIXED = 2.0**-15
#: How far int16 reaches beyond the samples: it has bits to spare for what they do not show.
HEADROOM = 2.0
#: Samples that gains are measured on.
COMPARED = 8
#: The least gain, in dB, for which a group goes to int16; how many in a row may gain less before no more are tried.
WORTHWHILE, PATIENCE = 0.1, 3


@dataclass(frozen=True)
class Measured:
    """Groups of the float graph's tensors, their int8 quantizations and statistics, and samples to measure on.

    `stored` is the float graph with the weights and biases of the int8 graph.
    """

    groups: Groups
    quants: Mapping[str, Quant]
    statistics: Mapping[str, Statistics]
    samples: Sequence[Sequence[Array]]
    stored: Graph


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
    return *_mixed(measured, frozenset(chosen)), bought


# --- Which --------------------------------------------------------------------------------------------------------


def _activations(groups: Groups, names: Sequence[str]) -> list[str]:
    return [n for n in names if n in groups.of and n not in groups.graph.constants]


def _can(groups: Groups, group: str) -> bool:
    """Whether every tensor of `group` is computed by an operator that has a form for int16."""
    makers = [groups.graph.producer(n) for n in groups.members(group) if n not in groups.graph.constants]
    return bool(makers) and all(node is not None and node.op in OPERATORS for node in makers)


def _candidates(groups: Groups) -> list[str]:
    """The groups that could be int16, without those of the model's outputs."""
    graph, ports = groups.graph, {groups.of.get(n) for n in groups.graph.outputs}
    names = [n for node in graph.nodes for n in _activations(groups, node.outputs)]
    return [g for g in dict.fromkeys(groups.of[n] for n in names) if g not in ports and _can(groups, g)]


def _named(groups: Groups, names: Sequence[str]) -> list[str]:
    """The groups of what the nodes called `names` compute."""
    nodes, chosen = {node.name: node for node in groups.graph.nodes}, list[str]()
    for name in names:
        if name not in nodes:
            raise UsageError(f"16 bits for '{name}': the prepared model has no such node; see the layers of the report")
        found = [groups.of[n] for n in _activations(groups, nodes[name].outputs)]
        if not found or not all(_can(groups, g) for g in found):
            raise UsageError(
                f"16 bits for '{name}' ({nodes[name].op}): it, or what shares its scale, has no form for int16"
            )
        chosen += found
    return list(dict.fromkeys(chosen))


def _harm(measured: Measured, candidates: Sequence[str]) -> dict[str, float]:
    """For each group, the relative squared error at the outputs when it alone is rounded to int8."""
    groups, harm = measured.groups, dict.fromkeys(candidates, 0.0)
    for sample in measured.samples[: COMPARED // 2]:
        exact = run_real(measured.stored, sample)
        for group in candidates:
            changed = _rounded(measured, {group}, exact)
            for name in set(changed) & set(groups.graph.outputs):
                harm[group] += float(np.sum((changed[name] - exact[name]) ** 2) / (np.sum(exact[name] ** 2) + 1e-30))
    return harm


def _rounded(measured: Measured, rounded: Container[str], exact: Mapping[str, Real]) -> dict[str, Real]:
    """The tensors that become other numbers than `exact` when the groups in `rounded` are rounded to int8."""
    of, quants = measured.groups.of, measured.quants
    ours = [n for n in measured.stored.inputs if of.get(n) in rounded]
    changed = {n: fake(exact[n], quants[of[n]]) for n in ours}
    for node in measured.stored.nodes:
        if changed.keys() & set(node.inputs):
            values = [changed.get(n, exact[n]) if n else None for n in node.inputs]
            changed |= zip(node.outputs, op_of(node).real(call_of(measured.stored, node), values), strict=True)
        ours = [n for n in node.outputs if of.get(n) in rounded]
        changed |= {n: fake(changed.get(n, exact[n]), quants[of[n]]) for n in ours}
    return changed


def _greedy(measured: Measured, order: Sequence[str], target: float) -> tuple[list[str], tuple[Widened, ...]]:
    """Group by group, whatever raises the measured signal-to-noise ratio of the outputs, up to `target` dB in all."""
    chosen, bought, idle = list[str](), list[Widened](), 0
    start = before = _closeness(measured, frozenset())
    for group in order:
        if before - start >= target or idle >= PATIENCE:
            break
        after = _closeness(measured, frozenset((*chosen, group)))
        if after - before < WORTHWHILE:
            idle += 1
            continue
        chosen.append(group)
        bought.append(_bought(measured.groups, [group], after - before))
        before, idle = after, 0
    return chosen, tuple(bought)


def _at_once(measured: Measured, parts: Sequence[Sequence[str]]) -> tuple[list[str], tuple[Widened, ...]]:
    """All of the groups in `parts`, and what each part bought after those before."""
    chosen, bought, before = list[str](), list[Widened](), _closeness(measured, frozenset())
    for part in parts:
        chosen += part
        after = _closeness(measured, frozenset(chosen))
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


def _closeness(measured: Measured, chosen: frozenset[str]) -> float:
    """The signal-to-noise ratio of the outputs, in dB, with all activations but `chosen` rounded to int8."""
    groups, quants = _mixed(measured, chosen)
    integer = assign(groups, large_enough(groups, quants))
    if any(op_of(node).problems(call_of(integer, node)) for node in integer.nodes):
        return -np.inf
    others, outputs = set(measured.quants) - chosen, measured.groups.graph.outputs
    sums = np.zeros((len(outputs), 2))
    for sample in measured.samples[:COMPARED]:
        exact = run_real(measured.groups.graph, sample)
        got = _rounded(measured, others, run_real(measured.stored, sample))
        for row, name in zip(sums, outputs, strict=True):
            row += np.sum(exact[name] ** 2), np.sum((got.get(name, exact[name]) - exact[name]) ** 2)
    return float(np.mean([decibels(signal, noise) for signal, noise in sums.tolist()]))


def with_weights(real: Graph, integer: Graph) -> Graph:
    """Float graph `real` with the weights and biases of `integer`, which has the same nodes."""
    types, constants, nodes = dict(real.types), dict(real.constants), list[Node]()
    for node, other in zip(real.nodes, integer.nodes, strict=True):
        rule, inputs = op_of(node).quantize, [*node.inputs, *[""] * (len(other.inputs) - len(node.inputs))]
        for index, name in enumerate(other.inputs):
            if index in (rule.weights, rule.bias) and name in integer.constants:
                inputs[index] = new = fresh(replace(real, types=types), f"{node.outputs[0]}:{index}")
                constants[new] = integer.types[name].dequantize(integer.constants[name]).astype(np.float32)
                types[new] = TensorType(constants[new].shape, DType.FLOAT32)
        nodes.append(replace(node, inputs=tuple(inputs)))
    return replace(real, nodes=tuple(nodes), types=types, constants=constants)


# --- How ----------------------------------------------------------------------------------------------------------


@dataclass
class _Rewriting:
    """The float graph as QUANTIZE nodes come between int8 and int16."""

    groups: Groups
    quants: dict[str, Quant]
    wide: set[str]
    types: dict[str, TensorType]
    of: dict[str, str]
    nodes: list[Node] = field(default_factory=list)

    def tensor(self, like: str, suffix: str, quant: Quant, wide: bool) -> str:
        """A new tensor of the shape of `like`, a group of its own."""
        name = fresh(replace(self.groups.graph, types=self.types), f"{like}:{suffix}")
        self.types[name], self.of[name], self.quants[name] = self.types[like], name, quant
        if wide:
            self.wide.add(name)
        return name

    def is_wide(self, name: str) -> bool:
        return self.of[name] in self.wide


def _mixed(measured: Measured, chosen: frozenset[str]) -> tuple[Groups, dict[str, Quant]]:
    """The groups with `chosen` in int16 and QUANTIZE nodes where they meet the others; and all quantizations."""
    groups, int8 = measured.groups, measured.quants
    quants = {g: _int16(measured, g) if g in chosen else q for g, q in int8.items()}
    made = _Rewriting(groups, quants, set(chosen), dict(groups.graph.types), dict(groups.of))
    converted: dict[tuple[str, bool], str] = {}
    for node in groups.graph.nodes:
        inputs, outputs = (_activations(groups, names) for names in (node.inputs, node.outputs))
        if node.op == "QUANTIZE" or not inputs or not outputs:
            made.nodes.append(node)
            continue
        wide = node.op in OPERATORS and any(made.is_wide(n) for n in (*inputs, *outputs))
        names = {n: _converted(made, n, wide, int8, converted) for n in inputs if made.is_wide(n) != wide}
        narrow = [n for n in outputs if wide and not made.is_wide(n)]
        results = {n: made.tensor(n, "int16", _int16(measured, groups.of[n]), True) for n in narrow}
        swapped = {**names, **results}
        made.nodes.append(
            replace(
                node,
                inputs=tuple(swapped.get(n, n) for n in node.inputs),
                outputs=tuple(swapped.get(n, n) for n in node.outputs),
            )
        )
        made.nodes += [Node(n, "QUANTIZE", (w,), (n,), Attrs()) for n, w in results.items()]
    graph = replace(groups.graph, nodes=tuple(made.nodes), types=made.types)
    return Groups(graph, made.of, groups.fixed, frozenset(made.wide)), made.quants


def _converted(
    made: _Rewriting, name: str, wide: bool, int8: Mapping[str, Quant], known: dict[tuple[str, bool], str]
) -> str:
    """`name` in int16 or in int8, by a QUANTIZE node that all readers share."""
    if (name, wide) not in known:
        quant = int8[made.of[name]]
        # int8 in steps of 1/128 of its own fits int16 exactly, whatever the zero point
        quant = Quant.per_tensor(quant.scale / 128, 0) if wide else quant
        known[name, wide] = made.tensor(name, "int16" if wide else "int8", quant, wide)
        made.nodes.append(Node(known[name, wide], "QUANTIZE", (name,), (known[name, wide],), Attrs()))
    return known[name, wide]


def _int16(measured: Measured, group: str) -> Quant:
    """int16 for all that `group` held on the samples, and more."""
    if group in measured.groups.fixed:
        return Quant.per_tensor(_FIXED, 0)
    seen = measured.statistics[group]
    largest = HEADROOM * max(abs(seen.low), abs(seen.high))
    return Quant.per_tensor(max(largest / (2**15 - 1), MIN_SCALE), 0)
