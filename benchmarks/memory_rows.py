# SPDX-License-Identifier: Apache-2.0
"""What `benchmarks.memory` measures, as rows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Need:
    """What a network needs on a Cortex-M4 with one way to optimize: `ram` is arena + .data + .bss, in bytes.

    `goal`: what it is to need at most; `tflm`: what it needs there, with CMSIS-NN. None where nothing is known.
    """

    model: str
    optimize: str
    ram: int
    arena: int
    lower_bound: int
    stack: int | None
    instructions: int
    goal: int | None
    tflm: int | None

    @property
    def ok(self) -> bool:
        return self.goal is None or self.ram <= self.goal


@dataclass(frozen=True)
class Arena:
    """Bytes of a model's arena: before, now, and of the same program if no two buffers overlapped."""

    model: str
    optimize: str
    before: int
    now: int
    apart: int
