# SPDX-License-Identifier: Apache-2.0
"""All bytes of a tensor, as they are: outputs that are constants, and views of constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.kernels.moves import Move, move_kernels
from tinygen.ops.base import Call


def whole(call: Call[Any]) -> Sequence[Move]:
    """All of input 0, in order."""
    return (Move((call.input(0).elements,), (1,), (1,)),)


KERNELS = move_kernels(("COPY", "RESHAPE", "SQUEEZE", "EXPAND_DIMS"), whole)
