# SPDX-License-Identifier: Apache-2.0
"""The quantization of each group of tensors: by one method for all, or by what harms the nodes that read it least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tinygen.batch import pieces, step
from tinygen.ir.types import Array, Quant, Real
from tinygen.ops import call_of, op_of
from tinygen.quantize.assign import assign
from tinygen.quantize.calibrate import Statistics
from tinygen.quantize.groups import Groups
from tinygen.quantize.ranges import METHODS, fake, quant_of

#: How often scales that the operators find too small are raised, and by which factor.
RAISES, FACTOR = 16, 4.0


def choose(groups: Groups, statistics: Mapping[str, Statistics], methods: Mapping[str, str]) -> dict[str, Quant]:
    """Scale and zero point of each group, by the method (of `METHODS`) of each that has no fixed ones."""
    quants = {name: Quant.per_tensor(rule.scale, rule.zero_point) for name, rule in groups.fixed.items()}
    free = [name for name in statistics if name not in quants]
    return quants | {name: quant_of(*METHODS[methods[name]](statistics[name])) for name in free}


def least_harm(
    groups: Groups, statistics: Mapping[str, Statistics], others: Sequence[Sequence[Array]]
) -> dict[str, str]:
    """For each group the method whose quantization, by `statistics`, does the least harm on `others`.

    These should be samples that the statistics do not know: else nothing would speak for more than what they saw.
    """
    free = [name for name in statistics if name not in groups.fixed]
    found = {name: [quant_of(*rule(statistics[name])) for rule in METHODS.values()] for name in free}
    harm, names = _harm(groups, found, others), list(METHODS)
    return {name: names[int(np.argmin(harm[name]))] for name in free}


def _harm(
    groups: Groups, found: Mapping[str, Sequence[Quant]], samples: Sequence[Sequence[Array]]
) -> Mapping[str, Real]:
    """For each group, the relative squared error that each of its quantizations alone causes one node further on."""
    graph = groups.graph
    harm = {name: np.zeros(len(quants)) for name, quants in found.items()}
    for _, values in pieces(graph, samples):
        for name in graph.outputs:
            if groups.of.get(name) in found:
                changed = [fake(values[name], quant) for quant in found[groups.of[name]]]
                harm[groups.of[name]] += [_error(values[name], got) for got in changed]
        for node in graph.nodes:
            for name in {n for n in node.inputs if n not in graph.constants and groups.of.get(n) in found}:
                for index, quant in enumerate(found[groups.of[name]]):
                    held = {n: values[n] for n in node.inputs if n in values} | {name: fake(values[name], quant)}
                    step(graph, node, held)
                    harm[groups.of[name]][index] += sum(_error(values[n], held[n]) for n in node.outputs)
    return harm


def _error(exact: Real, got: Real) -> float:
    return float(np.sum((got - exact) ** 2) / (np.sum(exact**2) + 1e-30))


def large_enough(groups: Groups, quants: Mapping[str, Quant]) -> dict[str, Quant]:
    """`quants`, with larger scales where those that follow from the samples break an operator's constraint.

    What never rises above zero on the samples, behind a ReLU, would have a scale far below its layer's resolution.
    """
    result = dict(quants)
    for _ in range(RAISES):
        made = assign(groups, result)
        wrong = [n for node in made.nodes if op_of(node).problems(call_of(made, node)) for n in node.outputs]
        raised = {groups.of[n] for n in wrong if n in groups.of} - set(groups.fixed)
        if not raised:
            break
        for name in raised:
            result[name] = Quant.per_tensor(result[name].scale * FACTOR, result[name].zero_point)
    return result
