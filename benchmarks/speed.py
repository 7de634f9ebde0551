# SPDX-License-Identifier: Apache-2.0
"""Instructions on every core beside those of TensorFlow Lite Micro, code sizes, and the goals for both.

    python -m benchmarks.speed [--cores cortex-m4 cortex-m55 …] [--compiler clang] [--json]

Every program must give the golden outputs before its instructions count. The exit code is 1 if a goal is missed.
``--write docs/performance.md`` also profiles, estimates cycles, compiles with clang, and writes the page.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from rich.console import Console

from benchmarks import bench
from benchmarks.bench import tomllib
from benchmarks.command import on_the_zoo
from tests import zoo
from tinygen import toolchain
from tinygen.clang import COMPILERS, compiler_for
from tinygen.errors import ToolError, VerificationError
from tinygen.lower import Optimize
from tinygen.target import load_target
from tinygen.verify.qemu import run_qemu

CORES = ("cortex-m0plus", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55")
#: Where code is measured: one core of each family of kernels.
FAMILIES = ("cortex-m0plus", "cortex-m4", "cortex-m55")
KEPT = "VWW, dead channels kept"
#: Rows of the tables, and their models of the zoo.
MODELS = {
    "KWS": "mlperf_tiny/kws01_int8",
    "IC": "mlperf_tiny/ic01_int8",
    "AD": "mlperf_tiny/ad01_int8",
    "VWW": "mlperf_tiny/vww01_int8",
    KEPT: "mlperf_tiny/vww01_int8",
    "SWW": "mlperf_tiny/sww01_int8",
    "person_detect": "tflm/person_detect",
    "IC large": "mlperf_tiny/ic_large_int8",
}


@dataclass(frozen=True)
class Speed:
    """One inference of a model on a core; `instructions` None where the program does not fit the emulated machine."""

    model: str
    core: str
    compiler: str
    macs: int
    instructions: int | None
    peer: int | None
    peer_macs: int

    @property
    def ratio(self) -> float | None:
        """Our instructions to the peer's."""
        return self.instructions / self.peer if self.instructions and self.peer else None


@dataclass(frozen=True)
class Code:
    """Bytes of a library's code, without constants."""

    model: str
    core: str
    optimize: Optimize
    bytes: int


@dataclass(frozen=True)
class Verdict:
    """A goal, and what was reached."""

    what: str
    core: str
    model: str
    limit: int
    reached: int

    @property
    def ok(self) -> bool:
        return self.reached <= self.limit


@cache
def goals() -> Mapping[str, Mapping[str, Mapping[str, int]]]:
    """The tables of benchmarks/goals.toml."""
    text = Path(__file__).with_name("goals.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def without(model: str) -> tuple[str, ...]:
    """The passes that are left out for a row."""
    return bench.KEPT if model == KEPT else ()


def measure(model: str, core: str, compiler: str = "gcc") -> Speed:
    """Build, run on the golden inputs, compare. `VerificationError` if an output differs."""
    _, peers = bench.read_peers()
    peer = peers.get(model.partition(",")[0])
    runs = zoo.golden(MODELS[model])
    with tempfile.TemporaryDirectory() as folder:
        built = zoo.build(MODELS[model], Path(folder), core, "balanced", without(model))
        count = None
        try:
            done = run_qemu(built, [run.inputs for run in runs], load_target(core), compiler=compiler)
        except ToolError as error:
            if "cannot be emulated" not in str(error):
                raise
        else:
            count = done.instructions
            wrong = zoo.difference(runs, done.outputs)
            if wrong:
                raise VerificationError(f"{model} on {done.where}, compiled by {compiler}: {wrong}")
        macs = built.report["macs"]
    theirs = peer.instructions.get(core) if peer else None
    return Speed(model, core, compiler, macs, count, theirs, peer.macs if peer else macs)


def measure_code(model: str, core: str, optimize: Optimize, compiler: str = "gcc") -> Code:
    """The code of the library that is built for `optimize`."""
    target = load_target(core)
    with tempfile.TemporaryDirectory() as folder:
        built = zoo.build(MODELS[model], Path(folder), core, optimize, without(model))
        level = built.report["flash"]["optimization"]
        size = toolchain.flash_size(built.path, built.name, target, level, compiler_for(target, compiler))
    return Code(model, core, optimize, size.code)


def codes(cores: Sequence[str]) -> list[Code]:
    """What the goals for code are held against."""
    wanted = [(model, optimize) for optimize, limits in goals()["code"].items() for model in limits]
    return [measure_code(model, core, optimize) for core in cores for model, optimize in wanted]  # type: ignore[arg-type]  # a key of goals.toml


def verdicts(speeds: Sequence[Speed], sizes: Sequence[Code]) -> Iterator[Verdict]:
    """Every goal that something was measured for."""
    for s in speeds:
        limit = goals()["instructions"].get(s.core, {}).get(s.model)
        if limit is not None and s.instructions is not None and s.compiler == "gcc":
            yield Verdict("instructions", s.core, s.model, limit, s.instructions)
    for c in sizes:
        yield Verdict(f"code, {c.optimize}", c.core, c.model, goals()["code"][c.optimize][c.model], c.bytes)


def geomean(ratios: Sequence[float]) -> float:
    """The geometric mean."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def mean_ratio(speeds: Sequence[Speed]) -> float | None:
    """The geometric mean of the ratios to the peer, VWW with dead channels; None where none is known."""
    known = [s.ratio for s in speeds if s.ratio is not None and s.model != "VWW"]
    return geomean(known) if known else None


def cells(s: Speed) -> tuple[str, ...]:
    """A row of the table of instructions."""
    mine = f"{s.instructions:,}" if s.instructions else "does not fit the machine"
    per_mac = f"{s.instructions / s.macs:.2f}" if s.instructions else "—"
    theirs = (f"{s.peer:,}", f"{s.peer / s.peer_macs:.2f}") if s.peer else ("—", "—")
    return s.model, f"{s.macs:,}", mine, per_mac, *theirs, f"{s.ratio:.2f}" if s.ratio else "—"


def show(speeds: Sequence[Speed], sizes: Sequence[Code]) -> None:
    """Print everything."""
    console = Console(soft_wrap=True, highlight=False, width=110)
    columns = ("model", "MACs", "tinygen", "per MAC", "TFLM + CMSIS-NN", "per MAC", "ratio")
    for core in dict.fromkeys(s.core for s in speeds):
        rows = [s for s in speeds if s.core == core]
        table = bench.new_table(f"\nInstructions of one inference, {core} under QEMU (not cycles)", columns)
        for s in rows:
            table.add_row(*cells(s))
        console.print(table)
        mean = mean_ratio(rows)
        if mean:
            console.print(f"geometric mean of the ratios, dead channels kept: {mean:.2f}")
    table = bench.new_table("\nGoals", ("what", "core", "model", "limit", "reached", ""))
    for v in verdicts(speeds, sizes):
        verdict = "ok" if v.ok else "[bold red]MISSED[/]"
        table.add_row(v.what, v.core, v.model, f"{v.limit:,}", f"{v.reached:,}", verdict)
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Instructions and code on every core, and the goals for them.")
    parser.add_argument("--cores", nargs="+", choices=CORES, default=CORES)
    parser.add_argument("--compiler", choices=COMPILERS, default="gcc")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return on_the_zoo(parser, arguments, measured)


def measured(options: argparse.Namespace) -> bool:
    """Measure and print; whether every goal is met."""
    speeds = [measure(model, core, options.compiler) for core in options.cores for model in MODELS]
    sizes = codes([core for core in options.cores if core in FAMILIES]) if options.compiler == "gcc" else []
    if options.json:
        print(json.dumps({"speeds": [asdict(s) for s in speeds], "code": [asdict(c) for c in sizes]}, indent=1))
    else:
        show(speeds, sizes)
    return all(v.ok for v in verdicts(speeds, sizes))


if __name__ == "__main__":
    sys.exit(main())
