# SPDX-License-Identifier: Apache-2.0
"""Tuning a graph towards a teacher on a few hundred samples: mini-batches, Adam, and the best state is kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tinygen.ir.graph import Graph
from tinygen.ir.types import Array, Real
from tinygen.train.adam import Adam, cosine
from tinygen.train.network import Network
from tinygen.train.options import DEFAULT, Options
from tinygen.train.rebuild import rebuilt, trainable
from tinygen.train.samples import Lot, drawn, lots
from tinygen.train.teacher import Hints, Loss, Score, Teacher, compared, exact
from tinygen.train.tensors import real

#: Checks on the held-back samples in all, and how many of them in a row may bring nothing after a share of the steps:
#: while the rate is high, weights that change places make more noise than they are worth.
CHECKS, PATIENCE, LATE = 25, 10, 0.6


@dataclass(frozen=True)
class Progress:
    """Where tuning is: the loss on samples that are held back, at the start, now, and at best."""

    step: int
    steps: int
    first: float
    loss: float
    best: float


@dataclass(frozen=True)
class Tuned:
    """The graph, and how near it comes to the teacher on samples that it was not tuned on, before and after."""

    graph: Graph
    before: Score
    after: Score
    steps: int


def tune(
    graph: Graph,
    teacher: Graph,
    samples: Sequence[Sequence[Array]],
    labels: Array | None = None,
    layers: Collection[str] | None = None,
    options: Options = DEFAULT,
    steps: int = 300,
    heard: Callable[[Progress], None] = lambda progress: None,
) -> Tuned:
    """int8 `graph` with weights, biases and scales with which it answers more as `teacher` does.

    `samples` are inputs of `graph`, `labels` their classes; `teacher` is int8 or float. Only `layers`, by their
    outputs' names, are trained. Every fifth sample is held back, to stop early and to choose the best state by. What
    comes back is never further from the teacher on these, by what the integers say: if nothing helps, it is `graph`.
    """
    tf.config.experimental.enable_op_determinism()
    chosen = [n.outputs[0] for n in trainable(graph) if layers is None or n.outputs[0] in layers]
    network = Network(graph, chosen, options.scales, options.codebook == "fixed", teacher)
    ours, theirs, classes = compared(graph, teacher)
    fit, held = lots(Teacher(teacher, theirs, graph, classes), samples, labels, options)
    share = options.labels if labels is not None else 0.0
    loss = Loss(classes, options.temperature, share, max(float(np.var(held.wanted)), 1e-12))

    def judged(some: Graph) -> tuple[float, Score]:
        made = exact(some, ours, held.samples)
        return float(loss(made, held.wanted, held.labels)), Score.of(made, held.wanted, classes)

    hints = Hints(network, teacher) if options.hints else None
    first, before = judged(graph)
    if not network.variables:
        return Tuned(graph, before, before, 0)
    taken = _descend(network, ours, loss, hints, fit, held, options, steps, heard)
    made = rebuilt(graph, {name: network.layers[name].learned() for name in chosen})
    last, after = judged(made)
    return Tuned(made, before, after, taken) if last < first else Tuned(graph, before, before, taken)


def _descend(
    network: Network,
    name: str,
    loss: Loss,
    hints: Hints | None,
    fit: Lot,
    held: Lot,
    options: Options,
    steps: int,
    heard: Callable[[Progress], None],
) -> int:
    """Train the variables of `network`, which end in the state that is best on `held`; the steps that this took."""
    variables, adam = network.variables, Adam(network.variables)
    tensor, layers = network.graph.types[name], list(network.layers.values())

    def distance(inputs: Sequence[Any], wanted: Any, labels: Any, guided: bool = False) -> Any:
        made = network(inputs)
        lost = loss(real(tensor, made[name]), wanted, labels)
        return lost + options.hints * hints.gap(inputs, made) if guided and hints else lost

    @tf.function(autograph=False, reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def step(rate: Any, wanted: Any, labels: Any, *inputs: Any) -> None:
        with tf.GradientTape() as tape:
            lost = distance(inputs, wanted, labels, guided=True)
        adam.step(tape.gradient(lost, variables), rate)
        for layer in layers:
            layer.settle()
        adam.average()

    judge = tf.function(lambda wanted, y, *x: distance(x, wanted, y), autograph=False, reduce_retracing=True)

    def judged() -> float:
        pieces = list(held.pieces(network, options.batch))
        return float(sum(len(wanted) * float(judge(wanted, y, *x)) for wanted, y, x in pieces)) / len(held.samples)

    first = best = judged()
    state, idle, every = _values(variables), 0, max(1, steps // CHECKS)
    taken = 0
    for taken, (wanted, y, x) in enumerate(_batches(network, fit, options, steps), start=1):
        step(tf.constant(cosine(options.rate, taken - 1, steps), tf.float32), wanted, y, *x)
        if taken % every and taken != steps:
            continue
        here = _values(variables)
        _assign(variables, _values(adam.averages))
        now, idle = judged(), idle + 1
        if now < best:
            best, state, idle = now, _values(variables), 0
        _assign(variables, here)
        heard(Progress(taken, steps, first, now, best))
        if idle >= PATIENCE and taken >= LATE * steps:
            break
    _assign(variables, state)
    return taken


def _values(variables: Sequence[Any]) -> list[Array]:
    return [variable.numpy() for variable in variables]


def _assign(variables: Sequence[Any], values: Sequence[Array]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _batches(network: Network, fit: Lot, options: Options, steps: int) -> Iterator[tuple[Real, Real, list[Array]]]:
    """As many batches as there are steps."""
    for indices in drawn(len(fit.samples), options.batch, steps, options.seed):
        yield fit.batch(network, indices)
