# SPDX-License-Identifier: Apache-2.0
"""Adam (D. Kingma, J. Ba, 2015) with a learning rate that decays as a cosine (I. Loshchilov, F. Hutter, 2017).

What is judged and kept are means of the variables over the last steps (B. Polyak, A. Juditsky, 1992): weights near the
border between two integers go to and fro.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

#: How long means of gradients and of their squares look back; what keeps the quotient finite.
MEAN, SQUARE, EPSILON = 0.9, 0.99, 1e-8
#: How long means of the variables look back.
AVERAGE = 0.95


class Adam:
    """The state of the optimizer for `variables`."""

    def __init__(self, variables: Sequence[Any]) -> None:
        self.variables = variables
        self.means = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
        self.squares = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
        self.averages = [tf.Variable(v, trainable=False) for v in variables]
        self.count = tf.Variable(0.0, trainable=False)

    def step(self, gradients: Sequence[Any], rate: Any) -> None:
        """Move each variable against its gradient (None: it has no influence)."""
        count = self.count.assign_add(1.0)
        factor = rate * tf.sqrt(1.0 - SQUARE**count) / (1.0 - MEAN**count)
        for variable, mean, square, gradient in zip(self.variables, self.means, self.squares, gradients, strict=True):
            if gradient is None:
                continue
            mean.assign(MEAN * mean + (1 - MEAN) * gradient)
            square.assign(SQUARE * square + (1 - SQUARE) * gradient**2)
            variable.assign_sub(factor * mean / (tf.sqrt(square) + EPSILON))

    def average(self) -> None:
        """Take the variables into their means."""
        for variable, average in zip(self.variables, self.averages, strict=True):
            average.assign(AVERAGE * average + (1 - AVERAGE) * variable)


def cosine(rate: float, step: int, steps: int) -> float:
    """The rate at `step` of `steps`: from `rate` down to a hundredth of it."""
    return rate * (0.01 + 0.99 * (1 + math.cos(math.pi * step / steps)) / 2)
