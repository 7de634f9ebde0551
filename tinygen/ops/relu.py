# SPDX-License-Identifier: Apache-2.0
"""RELU: x where it is positive, else 0, int8 (tinygen/ops/rectifier.py)."""

from __future__ import annotations

from tinygen.ops.base import Activation
from tinygen.ops.rectifier import rectifier

OP = rectifier(Activation.RELU)
