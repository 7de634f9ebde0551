# SPDX-License-Identifier: Apache-2.0
"""Training: an int8 Graph as a TensorFlow function that is tuned until it answers as a teacher does.

TensorFlow is an optional dependency. Importing this package does not import it; its other modules do.
"""

from __future__ import annotations

import importlib
import os
from importlib.util import find_spec

from tinygen.errors import ToolError


def require(what: str) -> None:
    """Raise `ToolError` if TensorFlow, which `what` needs, is not installed; otherwise see that it keeps quiet.

    oneDNN is left out: it adds in an order of its own, where Eigen's sums of integers in float32 are exact.
    """
    if find_spec("tensorflow") is None:
        raise ToolError(
            f"{what} trains the network with TensorFlow, which is not installed: pip install 'tinygen[train]'"
        )
    for name, value in (("TF_CPP_MIN_LOG_LEVEL", "3"), ("TF_ENABLE_ONEDNN_OPTS", "0"), ("CUDA_VISIBLE_DEVICES", "-1")):
        os.environ.setdefault(name, value)


def begin() -> None:
    """Import TensorFlow. What its libraries write to stderr as they wake up, in spite of all settings, goes nowhere."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        importlib.import_module("tensorflow").zeros(1)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
