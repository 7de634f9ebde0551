# SPDX-License-Identifier: Apache-2.0
"""ARG_MIN: the index of the first smallest element along one axis (reference/arg_min_max.h)."""

from __future__ import annotations

import numpy as np

from tinygen.ops.arg import arg_op

OP = arg_op("ARG_MIN", np.argmin)
