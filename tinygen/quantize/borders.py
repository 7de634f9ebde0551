# SPDX-License-Identifier: Apache-2.0
"""A float graph in groups, with some groups in int16: QUANTIZE nodes where they meet int8, and their scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tinygen.ir.graph import Attrs, Node
from tinygen.ir.types import Quant, TensorType
from tinygen.passes.rewrite import fresh
from tinygen.quantize.calibrate import Statistics
from tinygen.quantize.groups import Groups
from tinygen.quantize.ranges import MIN_SCALE

#: Operators that have a form for int16, in TFLM, too.
OPERATORS = frozenset(
    {
        *("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "ADD", "SUB", "MUL", "MEAN"),
        *("AVERAGE_POOL_2D", "MAX_POOL_2D", "RELU", "LOGISTIC", "TANH", "SOFTMAX", "CONCATENATION", "PACK", "UNPACK"),
        *(
            "MAXIMUM",
            "MINIMUM",
            "SPLIT",
            "SPLIT_V",
            "SLICE",
            "STRIDED_SLICE",
            "PAD",
            "TRANSPOSE",
            "RESHAPE",
            "SQUEEZE",
            "EXPAND_DIMS",
        ),
    }
)
#: Operators whose int16 output has scale 1/32768.
_FIXED = 2.0**-15
#: How far int16 reaches beyond the samples: it has bits to spare for what they do not show.
HEADROOM = 2.0


def activations(groups: Groups, names: Sequence[str]) -> list[str]:
    return [n for n in names if n in groups.of and n not in groups.graph.constants]


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


def with_borders(
    groups: Groups, int8: Mapping[str, Quant], statistics: Mapping[str, Statistics], chosen: frozenset[str]
) -> tuple[Groups, dict[str, Quant]]:
    """The groups with `chosen` in int16 and QUANTIZE nodes where they meet the others; and all quantizations."""
    quants = {g: _int16(groups, statistics, g) if g in chosen else q for g, q in int8.items()}
    made = _Rewriting(groups, quants, set(chosen), dict(groups.graph.types), dict(groups.of))
    converted: dict[tuple[str, bool], str] = {}
    for node in groups.graph.nodes:
        inputs, outputs = (activations(groups, names) for names in (node.inputs, node.outputs))
        if node.op == "QUANTIZE" or not inputs or not outputs:
            made.nodes.append(node)
            continue
        wide = node.op in OPERATORS and any(made.is_wide(n) for n in (*inputs, *outputs))
        names = {n: _converted(made, n, wide, int8, converted) for n in inputs if made.is_wide(n) != wide}
        narrow = [n for n in outputs if wide and not made.is_wide(n)]
        results = {n: made.tensor(n, "int16", _int16(groups, statistics, groups.of[n]), True) for n in narrow}
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


def _int16(groups: Groups, statistics: Mapping[str, Statistics], group: str) -> Quant:
    """int16 for all that `group` held on the samples, and more."""
    if group in groups.fixed:
        return Quant.per_tensor(_FIXED, 0)
    seen = statistics[group]
    largest = HEADROOM * max(abs(seen.low), abs(seen.high))
    return Quant.per_tensor(max(largest / (2**15 - 1), MIN_SCALE), 0)
