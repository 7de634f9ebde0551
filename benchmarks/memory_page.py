# SPDX-License-Identifier: Apache-2.0
"""docs/memory.md: the tables of `benchmarks.memory` as a page."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from benchmarks.memory_rows import Arena, Need

HEAD = """# Memory

`make memory` builds the networks that have a goal for RAM (`benchmarks/memory.toml`) with each way to optimize, runs
them under QEMU on a Cortex-M4 against their golden vectors, plans the arenas of the zoo, and writes this page. How
memory is planned: [design.md](design.md#memory).

## Networks with goals

RAM in bytes is the arena, with inputs and outputs, and `.data` and `.bss`; stack is by itself. No arena of a program's
buffers is smaller than the lower bound, however they lie; where both are equal, the placement is proved to be the best.
TFLM is TensorFlow Lite Micro with CMSIS-NN.
"""

ZOO = """
## The zoo

Arenas in bytes as they were planned when tensors could only take the place of others, and now, with kernels, scratch
memory and layers that run together as the command chooses them. "Apart": the same program, if no two live buffers
shared a byte.
"""


def page(rows: Sequence[Need], planned: Sequence[Arena]) -> str:
    """The whole page; ends with a line feed."""
    return "\n".join([HEAD, *_needs(rows), ZOO, *_arenas(planned), ""])


def _needs(rows: Sequence[Need]) -> Iterator[str]:
    yield "| network | optimize | RAM | goal | | lower bound | stack | instructions | of those at speed | TFLM |"
    yield "|---|---|--:|--:|---|--:|--:|--:|--:|--:|"
    speed = {row.model: row.instructions for row in rows if row.optimize == "speed"}
    for row in rows:
        goal = ("", "") if row.goal is None else (f"{row.goal:,}", "met" if row.ok else "**missed**")
        stack, tflm = "" if row.stack is None else f"{row.stack:,}", f"{row.tflm:,}" if row.tflm else ""
        share = f"{row.instructions / speed[row.model]:.2f}"
        cells = (*goal, f"{row.lower_bound:,}", stack, f"{row.instructions:,}", share, tflm)
        yield f"| {row.model} | {row.optimize} | {row.ram:,} | {' | '.join(cells)} |"


def _arenas(planned: Sequence[Arena]) -> Iterator[str]:
    yield "| network | optimize | before | now | share | apart |"
    yield "|---|---|--:|--:|--:|--:|"
    for a in planned:
        yield f"| {a.model} | {a.optimize} | {a.before:,} | {a.now:,} | {a.now / a.before:.2f} | {a.apart:,} |"
    yield ""
    for mode in dict.fromkeys(a.optimize for a in planned):
        shares = [a.now / a.before for a in planned if a.optimize == mode]
        yield f"Under `{mode}`: median {statistics.median(shares):.2f}, at most {max(shares):.2f}.\n"
