# SPDX-License-Identifier: Apache-2.0
"""What a network is tuned towards: answers of the original, compared as probabilities or as numbers.

G. Hinton, O. Vinyals, J. Dean, Distilling the Knowledge in a Neural Network, 2015: the logits of classifiers, divided
by a temperature, carry what the teacher takes for similar.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tinygen.batch import run_real_samples, run_samples
from tinygen.errors import UnsupportedError
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array, Real
from tinygen.quantize.report import decibels
from tinygen.train.network import Network
from tinygen.train.tensors import is_float, real

#: Operators between logits and output that change no order.
_BEHIND = frozenset({"DEQUANTIZE", "QUANTIZE", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "CAST"})
#: Samples that are run at a time.
PIECE = 64


def logits_of(graph: Graph) -> str | None:
    """What the softmax at the end of `graph` gets; None if there is none."""
    name = graph.outputs[0]
    while (node := graph.producer(name)) is not None and node.op in _BEHIND:
        name = node.inputs[0]
    return node.inputs[0] if node is not None and node.op in ("SOFTMAX", "LOG_SOFTMAX") else None


def compared(student: Graph, teacher: Graph) -> tuple[str, str, bool]:
    """The tensors of both that are compared, and whether they are logits of classes."""
    ours, theirs = logits_of(student), logits_of(teacher)
    if ours is not None and theirs is not None:
        return ours, theirs, True
    return student.outputs[0], teacher.outputs[0], False


def real_inputs(graph: Graph, samples: Sequence[Sequence[Array]]) -> list[list[Array]]:
    """`samples` of int8 `graph` as a float graph takes them."""
    types = [graph.types[name] for name in graph.inputs]
    return [[t.dequantize(v).astype(np.float32) for t, v in zip(types, s, strict=True)] for s in samples]


class Teacher:
    """Tensor `name` of `graph` in real numbers, for samples of int8 `student`: [samples, elements].

    `known` says whether it answers with classes; there are `classes` of them.
    """

    def __init__(self, graph: Graph, name: str, student: Graph, known: bool) -> None:
        self.graph, self.name, self.student, self.known = graph, name, student, known
        self.classes = graph.types[name].elements
        self._ask = asking(graph, name)

    def __call__(self, samples: Sequence[Sequence[Array]]) -> Real:
        real = is_float(self.graph.types[self.graph.inputs[0]])
        return self._ask(real_inputs(self.student, samples) if real else samples)

    def winners(self, samples: Sequence[Sequence[Array]]) -> Array:
        """The class with the largest answer, for each sample."""
        return np.asarray(self(samples).argmax(axis=1))


#: Samples → a tensor in real numbers for each: [samples, elements].
Asked = Callable[[Sequence[Sequence[Array]]], Real]


def asking(graph: Graph, name: str) -> Asked:
    """Tensor `name` in real numbers for samples of `graph`, int8 or float."""
    tensor = graph.types[name]
    try:
        return running(Network(graph), name)
    except UnsupportedError:  # then numpy, which knows all operators and takes longer
        if is_float(graph.types[graph.inputs[0]]) and is_float(tensor):
            return lambda some: np.stack([values[name].ravel() for values in run_real_samples(graph, some, [name])])
        return lambda some: exact(graph, name, some)


def exact(graph: Graph, name: str, samples: Sequence[Sequence[Array]]) -> Real:
    """The same from the integer reference."""
    tensor = graph.types[name]
    return np.stack([tensor.dequantize(values[name]).ravel() for values in run_samples(graph, samples, [name])])


def running(network: Network, name: str) -> Asked:
    """The same as `network` computes it."""
    tensor = network.graph.types[name]
    kinds = [tf.TensorSpec([None, network.graph.types[n].elements], tf.float32) for n in network.graph.inputs]
    call = tf.function(lambda *x: network(x)[name], kinds, autograph=False)

    def ask(samples: Sequence[Sequence[Array]]) -> Real:
        pieces = (samples[start : start + PIECE] for start in range(0, len(samples), PIECE))
        return np.concatenate([real(tensor, call(*network.inputs(p)).numpy()) for p in pieces]).astype(np.float64)

    return ask


class Hints:
    """What layers inside of the teacher answer (A. Romero et al., FitNets: Hints for Thin Deep Nets, 2015).

    Only layers of `network` that the teacher has under the same name and of the same size are asked for.
    """

    def __init__(self, network: Network, teacher: Graph) -> None:
        self.network, self.teacher = network, Network(teacher)
        ours, theirs = network.graph.types, teacher.types
        outputs = [node.outputs[0] for node in teacher.nodes if node.outputs[0] in network.layers]
        self.names = [name for name in outputs if theirs[name].elements == ours[name].elements]

    def gap(self, inputs: Sequence[Any], made: Mapping[str, Any]) -> Any:
        """The mean over tensors of how far `made` is from the teacher's, as a share of their power."""
        ours, theirs = self.network.graph, self.teacher.graph
        pairs = zip(ours.inputs, theirs.inputs, inputs, strict=True)
        shown = self.teacher([real(ours.types[a], v) if is_float(theirs.types[b]) else v for a, b, v in pairs])
        gaps = [tf.constant(0.0)]
        for name in self.names:
            wanted = tf.stop_gradient(real(theirs.types[name], shown[name]))
            off = real(ours.types[name], made[name]) - wanted
            gaps.append(tf.reduce_mean(off**2) / (tf.reduce_mean(wanted**2) + 1e-12))
        return tf.add_n(gaps) / max(len(self.names), 1)


@dataclass(frozen=True)
class Loss:
    """How far real answers are from the teacher's; `share` of it by labels, where there are any.

    For classes: the divergence (Kullback and Leibler's) of probabilities at `temperature`, times its square; otherwise
    the mean square in units of the teacher's variance, `power`.
    """

    classes: bool
    temperature: float
    share: float
    power: float

    def __call__(self, made: Any, wanted: Any, labels: Any) -> Any:
        """The mean over samples; all are [samples, elements], `labels` one-hot."""
        if not self.classes:
            return tf.reduce_mean((made - wanted) ** 2) / self.power
        soft = tf.nn.softmax(wanted / self.temperature)
        gap = tf.math.log(soft + 1e-12) - tf.nn.log_softmax(made / self.temperature)
        loss = self.temperature**2 * tf.reduce_mean(tf.reduce_sum(soft * gap, axis=1))
        if self.share == 0:
            return loss
        hard = -tf.reduce_mean(tf.reduce_sum(labels * tf.nn.log_softmax(made), axis=1))
        return (1 - self.share) * loss + self.share * hard


@dataclass(frozen=True, order=True)
class Score:
    """How near answers are to the teacher's: the share of samples with the same largest one, and dB of the outputs."""

    agreement: float
    sqnr: float

    @classmethod
    def of(cls, made: Real, wanted: Real, classes: bool) -> Score:
        """Without classes, only dB count."""
        same = float(np.mean(made.argmax(axis=1) == wanted.argmax(axis=1))) if classes else 1.0
        if classes:  # what counts is what leaves the network
            made, wanted = _softmax(made), _softmax(wanted)
        return cls(same, decibels(float(np.sum(wanted**2)), float(np.sum((made - wanted) ** 2))))

    def __str__(self) -> str:
        return f"agreement {self.agreement:.1%}, {self.sqnr:.1f} dB"


def _softmax(logits: Real) -> Real:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
