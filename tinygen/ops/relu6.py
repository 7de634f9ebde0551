# SPDX-License-Identifier: Apache-2.0
"""RELU6: x clamped to 0..6, int8 (tinygen/ops/rectifier.py).

TFLM ignores the output's scale and zero point where they differ from the input's; here LiteRT's rule holds.
"""

from __future__ import annotations

from tinygen.ops.base import Activation
from tinygen.ops.rectifier import rectifier

OP = rectifier(Activation.RELU6)
