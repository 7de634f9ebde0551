# SPDX-License-Identifier: Apache-2.0
"""Techniques one after the other, and what each of them bought."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.batch import run_samples
from tinygen.compress.base import Evidence, Sample, Stage, Technique, check_order, check_patterns, check_tools
from tinygen.emit.render import emit
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array, Real
from tinygen.layout import laid_out
from tinygen.measure import measure, weight_bytes
from tinygen.passes import LOSSLESS, Pass, run_passes
from tinygen.passes.base import macs
from tinygen.quantize.report import decibels
from tinygen.selection import Optimize
from tinygen.target import Target


@dataclass(frozen=True)
class Quality:
    """How near a graph is to the original on held-back samples.

    `agreement` is the share of samples whose largest output is the same one, `sqnr` the signal-to-noise ratio of the
    outputs in dB, `accuracy` the share of labels met (None without labels).
    """

    agreement: float
    sqnr: float
    accuracy: float | None


@dataclass(frozen=True)
class Bought:
    """A graph after one technique (`name`; ``start`` before the first): its costs on the target, and its quality.

    `weights` are the bytes of weights and biases as they are stored, `constants` those of all packed constants, `flash`
    those and the code (linked, if a compiler is there), `ram` the arena and the stack.
    """

    name: str
    done: tuple[str, ...]
    declined: tuple[str, ...]
    weights: int
    constants: int
    flash: int
    ram: int
    macs: int
    quality: Quality

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "done": list(self.done), "declined": list(self.declined), "quality": vars(self.quality)}


def compress(
    graph: Graph,
    techniques: Sequence[Technique],
    evidence: Evidence,
    target: Target,
    optimize: Optimize = "balanced",
    heard: Callable[[Bought], None] = lambda bought: None,
    passes: Sequence[Pass] = LOSSLESS,
) -> tuple[Graph, tuple[Bought, ...]]:
    """`graph` (int8) after `techniques`, and what each of them bought; `heard` gets each line as soon as it is known.

    `passes` run before the first technique and after each.

    Quality is measured on the held-back evidence, against its truth or else against `graph` itself. Raises
    `UsageError` for an order of techniques in which a later one would undo an earlier one.
    """
    check_order(techniques)
    check_tools(techniques)
    evidence = replace(evidence, teacher=graph) if evidence.teacher is None else evidence
    lines = list[Bought]()
    original = evidence.truth if evidence.truth is not None else _answers(graph, evidence.held_back)

    def note(name: str, graph: Graph, done: tuple[str, ...] = (), declined: tuple[str, ...] = ()) -> None:
        found = quality(original, _answers(graph, evidence.held_back), evidence.labels)
        lines.append(Bought(name, done, declined, *_costs(graph, target, optimize), macs(graph), found))
        heard(lines[-1])

    graph, _ = run_passes(graph, passes)
    note("start", graph)
    for technique in techniques:
        check_patterns(technique, graph)
        result = technique.run(graph, evidence)
        made, _ = run_passes(result.graph, passes)
        before, done, declined = lines[-1].flash, result.done, result.declined
        note(technique.name, made, done, declined)
        if technique.stage is Stage.STORAGE and (after := lines[-1].flash) > before:
            lines.pop()
            why = f"flash would be {after} bytes instead of {before}: kernels for it take more code than it saves"
            note(technique.name, graph, (), (*declined, why))
            continue
        graph = made
    return graph, tuple(lines)


def _costs(graph: Graph, target: Target, optimize: Optimize) -> tuple[int, int, int, int]:
    """Bytes of weights and biases, of all constants, of flash and of RAM."""
    _, program, layout = laid_out(replace(graph, name="m"), target, optimize)  # any name will do in C
    sources = {name: text.encode() for name, text in emit(program, layout, ()).items()}
    memory = measure(sources, program, layout, target, optimize)
    return weight_bytes(program), program.constant_bytes, memory.flash, memory.ram


def _answers(graph: Graph, samples: Sequence[Sample]) -> list[Real]:
    """The first output of `graph` in real numbers, for each sample."""
    tensor = graph.types[graph.outputs[0]]
    return [tensor.dequantize(values[graph.outputs[0]]) for values in run_samples(graph, samples)]


def quality(original: Sequence[Real], now: Sequence[Real], labels: Array | None) -> Quality:
    """How near the answers `now` are to the `original` ones, both in real numbers, with class `labels` or without."""
    signal = sum(float(np.sum(a**2)) for a in original)
    noise = sum(float(np.sum((a - b) ** 2)) for a, b in zip(original, now, strict=True))
    winners = np.array([int(np.argmax(b)) for b in now])
    same = winners == np.array([int(np.argmax(a)) for a in original])
    accuracy = float(np.mean(winners == np.asarray(labels))) if labels is not None and len(now) else None
    return Quality(float(np.mean(same)) if len(now) else 1.0, decibels(signal, noise), accuracy)
