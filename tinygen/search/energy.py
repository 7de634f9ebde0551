# SPDX-License-Identifier: Apache-2.0
"""What a run takes on a board, estimated from its instructions: seconds and microjoules; and such limits in words.

QEMU counts instructions and models no timing. A core's average of cycles per instruction, and the energy of a board's
cycle, turn them into estimates where somebody has measured both on real boards (see ``targets/``): good for comparing
programs on one board, and to about a quarter for the absolute figure.
"""

from __future__ import annotations

import re

from tinygen.errors import UsageError
from tinygen.target import Target

_COUNTS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_TIMES = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}


def seconds(target: Target, instructions: int) -> float | None:
    """The estimated time of `instructions` on `target`; None where its clock or its cycles are not known."""
    if target.clock is None or target.cycles is None:
        return None
    return instructions * target.cycles / target.clock


def microjoules(target: Target, instructions: int) -> float | None:
    """The estimated energy of `instructions` on `target`; None where its cycles or their energy are not known."""
    if target.energy is None or target.cycles is None:
        return None
    return instructions * target.cycles * target.energy * 1e-6


def parse_latency(text: str, target: Target) -> int:
    """``5M`` or ``750000`` (instructions), ``2ms`` or ``800us`` (time on a board, estimated) as instructions.

    Raises `UsageError` for what is neither, and for a time on a target that has no estimate of it.
    """
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,12})?)\s*([A-Za-zµ]*)", text.strip())
    value, unit = (float(match[1]), match[2]) if match else (0.0, "")
    if match and unit.upper() in _COUNTS:
        found = int(value * _COUNTS[unit.upper()])
    elif match and unit.lower() in _TIMES:
        found = int(value * _TIMES[unit.lower()] / _pace(text, target))
    else:
        found = 0
    if found <= 0:
        raise UsageError(f"--latency {text}: expected instructions such as 5M, or a time on a board such as 2ms")
    return found


def _pace(text: str, target: Target) -> float:
    """Seconds per instruction, or `UsageError`."""
    if target.clock is None:
        raise UsageError(
            f"--latency {text}: {target.name} has no clock to tell time by: name a board, or give instructions such as "
            "5M"
        )
    if target.cycles is None:
        raise UsageError(
            f"--latency {text}: nobody has measured how many cycles an instruction takes on {target.core}: give "
            "instructions such as 5M"
        )
    return target.cycles / target.clock
