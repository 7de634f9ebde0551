# SPDX-License-Identifier: Apache-2.0
"""Estimated cycles, out of executed instructions and a core's table of what each class of them takes."""

from __future__ import annotations

from collections.abc import Mapping

from tinygen.errors import UsageError
from tinygen.target import Target, Timing

#: What every estimate is told with.
CAVEAT = "no wait states but those of constants, no stalls but those of the table"


def timing_of(target: Target) -> Timing:
    """The table of a target's core; `UsageError` if it has none."""
    if target.timing is None:
        raise UsageError(f"nothing is known of how long instructions take on {target.core}: leave out --cycles")
    return target.timing


def estimated(histogram: Mapping[str, int], timing: Timing) -> int:
    """Cycles of instructions of these classes; a class that the table lacks takes one."""
    return round(sum(count * timing.cycles.get(kind, 1.0) for kind, count in histogram.items()))
