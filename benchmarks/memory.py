# SPDX-License-Identifier: Apache-2.0
"""RAM: what networks need with each way to optimize, beside their goals, and what the planner saves on the whole zoo.

    python -m benchmarks.memory [--zoo] [--json] [--write docs/memory.md]

The emitted C runs under QEMU and must equal the golden vectors before its numbers count. benchmarks/memory.toml has the
goals, and the arenas that tinygen planned before outputs could lie over inputs. The exit code is 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.bench import CORE, cost_of, count_instructions, new_table, read_peers, tomllib
from benchmarks.command import on_the_zoo
from benchmarks.memory_page import page
from benchmarks.memory_rows import Arena, Need
from tests import zoo
from tinygen import api
from tinygen.layout import laid_out
from tinygen.lower import Optimize
from tinygen.passes import lossless, run_passes
from tinygen.plan.arena import plan
from tinygen.target import load_target

MODES: tuple[Optimize, ...] = ("ram", "balanced", "speed")
#: Instructions under ``ram`` may be at most so many times those under ``speed``.
SLOWER = 1.10
#: The median of the zoo's arenas under ``ram``, as a share of what they took before; none may take more.
MEDIAN = 0.75


def read_goals() -> dict[str, Any]:
    """benchmarks/memory.toml."""
    return tomllib.loads(Path(__file__).with_name("memory.toml").read_text(encoding="utf-8"))


def needs(goals: Mapping[str, Any]) -> list[Need]:
    """Build and run every model with a goal."""
    _, peers = read_peers()
    rows = []
    for model, table in goals["models"].items():
        for optimize in MODES:
            with tempfile.TemporaryDirectory() as folder:
                built = zoo.build(table["zoo"], Path(folder) / "one", CORE, optimize)
                cost = cost_of(built)
                counted = count_instructions(table["zoo"], Path(folder) / "two", CORE, optimize)
            ram, tflm = built.report["ram"], peers[model].ram if model in peers else None
            bound = ram["arena_lower_bound"]
            goal = table.get(optimize)
            rows.append(Need(model, optimize, cost.ram, ram["arena"], bound, cost.stack, counted or 0, goal, tflm))
    return rows


def arenas(goals: Mapping[str, Any]) -> list[Arena]:
    """Plan every model of the zoo of which it is known what it took before."""
    target, rows = load_target(CORE), []
    for model, before in goals["before"].items():
        graph, _ = run_passes(api.load(zoo.path_of(model)), lossless(()))
        for optimize, taken in before.items():
            _, program, layout = laid_out(graph, target, optimize)
            rows.append(Arena(model, optimize, taken, layout.bytes, plan(program, overlap=False).bytes))
    return rows


def slower(rows: Sequence[Need]) -> dict[str, float]:
    """Instructions under ``ram`` as a multiple of those under ``speed``, by model."""
    counted = {(row.model, row.optimize): row.instructions for row in rows}
    return {m: counted[m, "ram"] / counted[m, "speed"] for m, o in counted if o == "speed"}


def ok(rows: Sequence[Need], planned: Sequence[Arena]) -> bool:
    """Whether all goals are met; arenas may grow where memory is not what counts most."""
    shares = [row.now / row.before for row in planned if row.optimize == "ram"]
    fine = all(row.ok for row in rows) and all(ratio <= SLOWER for ratio in slower(rows).values())
    return fine and (not shares or (max(shares) <= 1 and statistics.median(shares) <= MEDIAN))


def show(rows: Sequence[Need], planned: Sequence[Arena]) -> None:
    console = Console(soft_wrap=True, highlight=False, width=110)
    columns = ("model", "optimize", "RAM", "goal", "", "arena", "least possible", "stack", "instructions", "TFLM")
    table = new_table(f"\nRAM in bytes, {CORE}: arena with inputs and outputs + .data + .bss; stack by itself", columns)
    for row in rows:
        goal = ("", "") if row.goal is None else (f"{row.goal:,}", "ok" if row.ok else "[bold red]MISSED[/]")
        cells = (f"{row.arena:,}", f"{row.lower_bound:,}", f"{row.stack:,}" if row.stack is not None else "unknown")
        tflm = f"{row.tflm:,}" if row.tflm else ""
        table.add_row(row.model, row.optimize, f"{row.ram:,}", *goal, *cells, f"{row.instructions:,}", tflm)
    console.print(table)
    for model, ratio in slower(rows).items():
        console.print(f"{model}: under ram {ratio:.2f} times the instructions of speed, at most {SLOWER:.2f}")
    if planned:
        columns = ("model", "optimize", "before", "now", "share", "now without overlap")
        table = new_table("\nArena in bytes, before outputs could lie over inputs and now", columns)
        for a in planned:
            cells = f"{a.before:,}", f"{a.now:,}", f"{a.now / a.before:.2f}", f"{a.apart:,}"
            table.add_row(a.model, a.optimize, *cells)
        console.print(table)
        for mode in dict.fromkeys(a.optimize for a in planned):
            shares = [a.now / a.before for a in planned if a.optimize == mode]
            console.print(f"{mode}: median {statistics.median(shares):.2f}, at most {max(shares):.2f}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure RAM.")
    parser.add_argument("--zoo", action="store_true", help="plan the whole zoo, too")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--write", type=Path, help="remake this page, too; plans the zoo")
    return on_the_zoo(parser, arguments, measured)


def measured(options: argparse.Namespace) -> bool:
    """Measure, print, and write the page if asked; whether every goal is met."""
    goals = read_goals()
    rows, planned = needs(goals), arenas(goals) if options.zoo or options.write else []
    if options.write:
        options.write.write_text(page(rows, planned), encoding="utf-8")
    if options.json:
        print(json.dumps({"models": [asdict(r) for r in rows], "zoo": [asdict(a) for a in planned]}, indent=1))
    else:
        show(rows, planned)
    return ok(rows, planned)


if __name__ == "__main__":
    sys.exit(main())
