# SPDX-License-Identifier: Apache-2.0
"""An int8 graph → everything that one build writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tinygen.compress.recipe import dumps
from tinygen.copies import Costs, waits, with_copies
from tinygen.emit.render import emit, emit_with_blob, linker_script
from tinygen.files import write_files
from tinygen.ir import store
from tinygen.ir.graph import Graph
from tinygen.ir.program import Program
from tinygen.layout import fitted, laid_out
from tinygen.measure import measure
from tinygen.packages import package_files
from tinygen.passes import Pass, run_passes
from tinygen.pictures.page import page
from tinygen.placement import EVERYTHING_USUAL, Placement, Usage, place, usage
from tinygen.plan.arena import Plan
from tinygen.plan.budget import Budget, check_budget
from tinygen.provenance import provenance
from tinygen.quantize import with_float_ports
from tinygen.report import Memory, ModelInfo, report
from tinygen.search.base import Found
from tinygen.search.files import as_report
from tinygen.selection import Optimize
from tinygen.shrink import Shrunk
from tinygen.target import Target

#: Bytes of stack that layers may take beyond what they take one after the other, where they run together.
MORE_STACK = 192
#: How often constants are laid out anew, as the code's size changes by some bytes with that.
ATTEMPTS = 3


@dataclass(frozen=True)
class Build:
    """Everything that one build produced. `files` are the contents to write, `report` the content of report.json.

    `found` is what a search found, and `plain` the build of the plain model, which did not fit; both are None where no
    search was needed. `memories` tell what lies where.
    """

    name: str
    target: Target
    graph: Graph
    program: Program
    plan: Plan
    files: Mapping[str, bytes]
    report: Mapping[str, Any]
    found: Found | None = None
    plain: Build | None = None
    memories: Sequence[Usage] = ()

    def write(self, folder: str | Path) -> Path:
        """Write all files into `folder` (made if need be), each complete or not at all; returns the folder."""
        return write_files(Path(folder), self.files)


@dataclass(frozen=True)
class Order:
    """What a build is asked for, beside the graph: `name` prefixes C symbols, `command` asks for the same again.

    `packages` are kinds of libraries whose files stand beside the C; `blob`: with the constants in one block;
    `pushed`: with an input that comes row by row; `sections` are rules as for `tinygen.placement.place`.
    `copies`: the most bytes of a layer's weights that may be copied to RAM; None: as many as pays.
    """

    name: str
    info: ModelInfo
    target: Target
    optimize: Optimize
    passes: Sequence[Pass]
    float_io: bool
    budget: Budget
    command: str
    packages: Sequence[str]
    blob: bool
    pushed: bool = False
    sections: Mapping[str, str] = field(default_factory=dict)
    copies: int | None = 0

    def assembled(self, made: Shrunk, found: Found | None = None) -> Build:
        """The build of an int8 graph, which a search `found`, whether it fits or not."""
        graph = with_float_ports(made.graph) if self.float_io else made.graph
        graph, outcomes = run_passes(replace(graph, name=self.name), self.passes)
        graph, program, layout = laid_out(graph, self.target, self.optimize, pushed=self.pushed)
        sources, weights, memory, placement = self._placed(program, layout)
        closer = self._closer(graph, memory, placement)
        if closer is not None:
            graph, program, layout = closer
            sources, weights, memory, placement = self._placed(program, layout)
        faster = self._with_copies(program, layout, memory, placement)
        if faster is not None:
            program, layout = faster
            sources, weights, memory, placement = self._placed(program, layout)
        memories = usage(program, memory.needs, self.target, placement)
        apart = [one for one in memories if one.section and one.used and one.size]
        sources |= {f"{graph.name}.ld": linker_script(graph.name, apart).encode()} if apart else {}
        files = {**sources, f"{graph.name}.tgm": store.dumps(graph)}
        files |= {f"{graph.name}.weights.bin": weights} if self.blob else {}
        told = report(
            program,
            layout,
            memory,
            self.target,
            self.info,
            outcomes,
            files,
            self.command,
            placement,
            waits(program, Costs(self.target, placement)),
        )
        told["quantization"] = made.quantization.as_dict() if made.quantization else None
        told["compression"] = [line.as_dict() for line in made.bought]
        told["search"] = None
        if found is not None:
            told["search"] = as_report(found)
            files["recipe.toml"] = dumps(found.candidate.recipe).encode()
        files["report.json"] = (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode()
        files["report.html"] = page(told).encode()
        for kind in self.packages:
            files |= package_files(kind, told)
        return Build(graph.name, self.target, graph, program, layout, files, told, found, memories=memories)

    def _placed(self, program: Program, layout: Plan) -> tuple[dict[str, bytes], bytes, Memory, Placement]:
        """The sources and constants of a program, what they cost, and where everything lies.

        What fits where depends on the code's size, and that, a little, on what lies where.
        """
        placement = EVERYTHING_USUAL
        for _ in range(ATTEMPTS):
            made = self._measured(program, layout, placement)
            better = place(program, made[2].needs, self.target, self.sections, self.blob)
            if better == placement:
                break
            placement = better
        else:
            made = self._measured(program, layout, placement)
        return *made, placement

    def _measured(self, program: Program, layout: Plan, placement: Placement) -> tuple[dict[str, bytes], bytes, Memory]:
        """The sources and constants of a program, and what they cost."""
        lines = provenance(self.command, self.info, self.target, program, layout)
        if self.blob:
            texts, weights = emit_with_blob(program, layout, lines, placement)
        else:
            texts, weights = emit(program, layout, lines, placement), b""
        sources = {name: text.encode() for name, text in texts.items()}
        return sources, weights, measure(sources, program, layout, self.target, self.optimize, placement.sections)

    def _with_copies(
        self, program: Program, layout: Plan, memory: Memory, placement: Placement
    ) -> tuple[Program, Plan] | None:
        """The same with weights copied to RAM where that pays, if any; the arena stays in the memory where it is."""
        if self.copies == 0:
            return None
        stack = (memory.stack or 0) + MORE_STACK
        limits = [
            b.size - (0 if b.section else stack)
            for b in self.target.banks
            if b.kind == "ram" and b.section == placement.arena
        ]
        if self.budget.ram is not None and (self.budget.whole_ram or placement.arena is None):
            limits.append(self.budget.ram - stack)
        made = with_copies(program, layout, Costs(self.target, placement), self.copies, min(limits, default=None))
        return None if made[0] is program else made

    def _closer(self, graph: Graph, memory: Memory, placement: Placement) -> tuple[Graph, Program, Plan] | None:
        """Where RAM does not suffice under `balanced`: a layout with layers that run together, if that fits."""
        if self.budget.ram is None or memory.ram <= self.budget.ram or self.optimize != "balanced" or self.pushed:
            return None
        if placement.arena is not None and not self.budget.whole_ram:
            return None
        room = self.budget.ram - (memory.stack or 0) - MORE_STACK
        return fitted(graph, self.target, room) if room > 0 else None

    def advice(self, build: Build) -> str:
        """What to say of RAM besides, where `build` takes too much and can do with less; else nothing."""
        ram = build.report["ram"]
        if self.budget.ram is None or ram["total"] <= self.budget.ram or self.optimize == "ram" or self.pushed:
            return ""
        *_, least = laid_out(build.graph, self.target, "ram")
        saved = ram["arena"] - least.bytes
        return f"; --optimize ram needs {ram['total'] - saved} bytes" if saved > 0 else ""

    def check(self, build: Build) -> None:
        """Raise `BudgetError` if `build` does not fit the budget."""
        usual = {one.kind: one.used for one in build.memories if one.section is None}
        ram = build.report["ram"]["total"] if self.budget.whole_ram else usual["ram"]
        flash = build.report["flash"]["total"] if self.budget.whole_flash else usual["flash"]
        check_budget(self.budget, ram, flash, build.program, build.plan)
        for one in build.memories:
            if one.section is not None:
                one.check(self.target.name)
