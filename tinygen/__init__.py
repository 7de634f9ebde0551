# SPDX-License-Identifier: Apache-2.0
"""tinygen: a trained neural network in, dependency-free C for a microcontroller out, proven equal bit for bit.

import tinygen

made = tinygen.build("kws.tflite", "cortex-m4", ram=64 * 1024)
made.write("kws")
tinygen.verify("kws").raise_if_wrong()
"""

from __future__ import annotations

from tinygen.api import Build, build, compress_model, inspect, load, quantize_model, save
from tinygen.data.preprocessing import Preprocessing
from tinygen.errors import (
    BudgetError,
    ModelError,
    TinygenError,
    ToolError,
    UnsupportedError,
    UsageError,
    VerificationError,
)
from tinygen.evaluation import Evaluation, evaluate
from tinygen.running import profile, read_report, run, run_on, verify
from tinygen.search.request import OutOfReach, SearchOptions
from tinygen.searching import search
from tinygen.version import VERSION as __version__

__all__ = [
    "BudgetError",
    "Build",
    "Evaluation",
    "ModelError",
    "OutOfReach",
    "Preprocessing",
    "SearchOptions",
    "TinygenError",
    "ToolError",
    "UnsupportedError",
    "UsageError",
    "VerificationError",
    "__version__",
    "build",
    "compress_model",
    "evaluate",
    "inspect",
    "load",
    "profile",
    "quantize_model",
    "read_report",
    "run",
    "run_on",
    "save",
    "search",
    "verify",
]
