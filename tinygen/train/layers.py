# SPDX-License-Identifier: Apache-2.0
"""A layer's weights, scales and bias as TensorFlow variables behind a straight-through estimator.

Forward, weights are the integers that would be stored; backward, rounding counts as the identity (Y. Bengio et al.,
Estimating or Propagating Gradients Through Stochastic Neurons, 2013). All variables are about 1 where they matter, so
that one learning rate serves them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tinygen.ir.types import Array, DType, Quant, Real, TensorType
from tinygen.ops import Call
from tinygen.ops.convolution import OPERANDS, real_bias
from tinygen.quantize.assign import MAX_BIAS
from tinygen.train.structure import structure_of

#: What a variable of 1 stands for: a logarithm of scales, and of biases so many steps of the output.
SCALES, STEPS = 0.1, 16.0
#: How far from what it is rounded to a weight may start, as a share of the way to the border.
REACH = 0.4


@tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow has no types
def straight_through(value: Any, rounded: Any) -> Any:
    """`rounded` forward, and the gradient of `value` backward."""
    return tf.identity(rounded), lambda upstream: (upstream, None)


def rounded(value: Any) -> Any:
    """To the nearest integer, half away from zero, straight through."""
    return straight_through(value, _half_away(tf.stop_gradient(value)))


def _half_away(value: Any) -> Any:
    return tf.sign(value) * tf.floor(tf.abs(value) + 0.5)


@dataclass(frozen=True)
class Learned:
    """What training made of a layer: int8 weights, float64 scales (as many as before), real biases [channels]."""

    weights: Array
    scales: Real
    bias: Real


class Layer:
    """One layer; `scaled`: its scales are trained, too; `fixed`: which value of the codebook a weight has is not.

    `original` are the weights that compression began with, in real numbers, if they have the same shape.
    """

    def __init__(
        self,
        call: Call[Any],
        trained: bool,
        scaled: bool = False,
        fixed: bool = True,
        original: Real | None = None,
    ) -> None:
        where = OPERANDS[call.op]
        stored, tensor = call.constant(where.weights), call.input(where.weights)
        self.structure = structure_of(stored)
        self.channel, self.has_bias = where.channel, call.has(where.bias)
        self.start = stored.astype(np.float32)
        self.scales, self.source = np.asarray(tensor.q.scales), call.input(where.input).q.scale
        self.target = call.output.q.scale
        self.bias = real_bias(call, [None] * (where.bias + 1)).astype(np.float64)
        self.bias_unit = STEPS * call.output.q.scale
        self.unit = max(float(np.sqrt(np.mean(self.start[stored != 0] ** 2))) if stored.any() else 1.0, 1.0)
        self.fixed = fixed and self.structure.book is not None and not self.structure.is_grid_of_few
        self.latent = tf.Variable(self._begun(tensor, original) / self.unit)
        self.book = tf.Variable(np.asarray(_or(self.structure.book, [0]), np.float32) / self.unit)
        self.gains = tf.Variable(np.zeros(len(self.scales), np.float32))
        self.shift = tf.Variable(np.zeros(len(self.bias), np.float32))
        self.variables = self._variables(scaled) if trained else []

    def _begun(self, tensor: TensorType, original: Real | None) -> Array:
        """The weights, and within the same stored values the side on which the `original` ones lie.

        Weights in the middle between two borders would all have the same way to the next.
        """
        if original is None or original.shape != self.start.shape:
            return self.start
        along = tensor.q.along(original.ndim, tensor.q.scales)
        low, high = self._cells()
        return np.asarray(np.clip(original / along, low, high), np.float32)

    def _cells(self) -> tuple[Array, Array]:
        """How low and how high each weight may lie to be rounded to what it is, with some room to the border."""
        book = self.structure.book
        if book is None or self.structure.is_grid_of_few:
            low, high = (
                np.clip(self.start + side, self.structure.low, self.structure.high) for side in (-REACH / 2, REACH / 2)
            )
            return low, high
        halves, places = REACH * np.diff(book) / 2, np.searchsorted(book, self.start)
        below, above = np.append(0.0, halves)[places], np.append(halves, 0.0)[places]
        return self.start - below, self.start + above

    def _variables(self, scaled: bool) -> list[Any]:
        coded = self.structure.book is not None and not self.structure.is_grid_of_few
        found = [self.latent] if not self.fixed else []
        found += [self.book] if coded else []
        found += [self.shift] if self.has_bias else []
        return found + ([self.gains] if scaled else [])

    def integers(self) -> Any:
        """The weights as stored, float32."""
        value = self.latent * self.unit
        if self.structure.book is None:
            made = rounded(tf.clip_by_value(value, self.structure.low, self.structure.high))
            made = straight_through(value, tf.stop_gradient(made))
        else:
            made = self._coded(value)
        return made if self.structure.kept is None else made * self.structure.kept.astype(np.float32)

    def _coded(self, value: Any) -> Any:
        """The entries of the codebook that weights have, or are nearest to."""
        entries = self.entries()
        if self.fixed:
            places = tf.constant(np.searchsorted(np.asarray(self.structure.book), self.start).astype(np.int64))
        else:
            places = tf.argmin(tf.abs(value[..., None] - entries), axis=-1)
        # as a product with zeros and ones, whose gradient is a sum in a fixed order
        chosen = tf.linalg.matvec(tf.one_hot(places, len(self.structure.book)), entries)  # type: ignore[arg-type]
        return chosen if self.fixed else chosen + (value - tf.stop_gradient(value))

    def entries(self) -> Any:
        """The codebook in integers; 0 stays 0 where weights are sparse."""
        found = rounded(tf.clip_by_value(self.book * self.unit, self.structure.low, self.structure.high))
        if self.structure.kept is None:
            return found
        return found * (np.asarray(self.structure.book) != 0).astype(np.float32)

    def real_scales(self) -> Any:
        """The scales of the weights, float64."""
        return self.scales * tf.exp(SCALES * tf.cast(self.gains, tf.float64))

    def requantized(self, products: Any) -> Any:
        """Steps of the output, not yet the last time rounded, for `products` of integers [..., channels]."""
        factor = self.real_scales() * self.source
        if self.has_bias:
            bias = self.bias + self.bias_unit * tf.cast(self.shift, tf.float64)
            products = products + rounded(tf.cast(bias / factor, tf.float32))
        return straight_through(
            products * tf.cast(factor / self.target, tf.float32), self._as_reference(tf.stop_gradient(products))
        )

    def _as_reference(self, products: Any) -> Any:
        """The same in float64, where fixed-point multipliers make no difference any more.

        As in the reference there is a rounding ahead of the shift: see `ops.numerics.multiply_by_quantized_multiplier`.
        """
        ratio = self.real_scales() * self.source / self.target
        power = 2.0 ** (tf.floor(tf.math.log(ratio) / np.log(2.0)) + 1.0)
        return tf.cast(tf.floor(tf.cast(products, tf.float64) * (ratio / power) + 0.5) * power, tf.float32)

    def settle(self) -> None:
        """Keep variables where they mean something, after each step."""
        low, high = self.structure.low / self.unit, self.structure.high / self.unit
        for variable in (self.latent, self.book):
            if any(variable is v for v in self.variables):
                variable.assign(tf.clip_by_value(variable, low, high))

    def learned(self) -> Learned:
        """What the variables stand for. Scales are as large as the bias needs to fit."""
        weights = np.rint(self.integers().numpy()).astype(np.int8)
        bias = self.bias + self.bias_unit * self.shift.numpy().astype(np.float64)
        scales = self.scales * np.exp(SCALES * self.gains.numpy().astype(np.float64))
        smallest = np.abs(bias) / (self.source * MAX_BIAS)
        floor = smallest if len(scales) > 1 else smallest.max()
        return Learned(weights, np.asarray(np.maximum(scales, floor), np.float32).astype(np.float64), bias)


def quant_of(before: Quant, scales: Real) -> Quant:
    """`before` with other scales."""
    return Quant(tuple(scales.tolist()), before.zero_points, before.axis)


def is_trainable(call: Call[Any]) -> bool:
    """Whether the node is int8 with weights that are symmetric."""
    where = OPERANDS[call.op]
    kinds = {call.input(where.input).dtype, call.input(where.weights).dtype, call.output.dtype}
    return kinds == {DType.INT8} and not any(call.input(where.weights).q.zero_points)


def _or(value: Array | None, other: list[int]) -> Any:
    return other if value is None else value
