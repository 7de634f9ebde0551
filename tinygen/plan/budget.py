# SPDX-License-Identifier: Apache-2.0
"""Does it fit? RAM and flash against what the user or the board allows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tinygen.errors import BudgetError, UsageError
from tinygen.ir.program import Program
from tinygen.plan.arena import Plan, demand

_UNITS = {"": 1, "K": 1024, "M": 1024 * 1024}


def parse_bytes(text: str, option: str) -> int:
    """``65536``, ``64K``, ``64KiB`` or ``1M`` as bytes (K is 1024); `UsageError` that names `option` otherwise."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)\s*([KM]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    value = int(float(match[1]) * _UNITS[match[2].upper()]) if match else 0
    if value <= 0:
        raise UsageError(f"{option} {text}: expected a positive number of bytes such as 65536, 64K or 1M")
    return value


@dataclass(frozen=True)
class Budget:
    """Bytes allowed; None where there is no limit. `source` names who set it, for messages."""

    ram: int | None = None
    flash: int | None = None
    ram_source: str = "--ram"
    flash_source: str = "--flash"

    @property
    def whole_ram(self) -> bool:
        """Whether the limit is for all RAM together, not for a board's main one."""
        return self.ram_source == "--ram"

    @property
    def whole_flash(self) -> bool:
        """Whether the limit is for all flash together, not for a board's main one."""
        return self.flash_source == "--flash"


def check_budget(budget: Budget, ram: int, flash: int, program: Program, plan: Plan) -> None:
    """Raise `BudgetError` if `ram` or `flash` (bytes needed) exceed the budget, naming what takes most."""
    if budget.ram is not None and ram > budget.ram:
        raise BudgetError(
            f"RAM: {ram} bytes needed, {budget.ram} allowed by {budget.ram_source}: {ram - budget.ram} too many. "
            f"Largest tensors alive together: {_listed(busiest(program))}. Use a smaller input or fewer channels there"
        )
    if budget.flash is not None and flash > budget.flash:
        layers = sorted(((s.constant_bytes, f"{s.op} '{s.name}'") for s in program.steps), reverse=True)
        raise BudgetError(
            f"flash: {flash} bytes needed, {budget.flash} allowed by {budget.flash_source}: "
            f"{flash - budget.flash} too many. Largest layers: {_listed(layers[:3])}. Use smaller layers there"
        )


def busiest(program: Program) -> list[tuple[int, str]]:
    """The three largest buffers of the step at which most bytes are alive, as (bytes, name), largest first."""
    buffers = demand(program).buffers
    alive = [[b for b in buffers if b.first <= step <= b.last] for step in range(-1, len(program.steps) + 1)]
    worst = max(alive, key=lambda live: sum(b.bytes for b in live))
    return sorted(((b.bytes, f"'{_short(b.name)}'") for b in worst), reverse=True)[:3]


def _short(name: str) -> str:
    """The first of the names that an exporter joined with ';', and what tinygen put behind them (``:scratch0``)."""
    return re.sub(r";[^:]*", "", name)


def _listed(items: Sequence[tuple[int, str]]) -> str:
    return ", ".join(f"{name} ({size} bytes)" for size, name in items)
