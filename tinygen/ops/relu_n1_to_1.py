# SPDX-License-Identifier: Apache-2.0
"""RELU_N1_TO_1: x clamped to -1..1, int8 (tinygen/ops/rectifier.py)."""

from __future__ import annotations

from tinygen.ops.base import Activation
from tinygen.ops.rectifier import rectifier

OP = rectifier(Activation.RELU_N1_TO_1)
