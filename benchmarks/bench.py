# SPDX-License-Identifier: Apache-2.0
"""The four MLPerf Tiny networks: instructions, flash and RAM beside those of TensorFlow Lite Micro with CMSIS-NN.

    python -m benchmarks.bench [--optimize balanced|speed|size|ram] [--cores all] [--json]

The emitted C is built for cortex-m4, runs under QEMU and must equal the golden vectors before its numbers count. The
exit code is 1 if a limit is missed, another if nothing could be measured. docs/benchmarks.md says what is compared.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.table import Table

from benchmarks.command import on_the_zoo
from tests import zoo
from tinygen import toolchain
from tinygen.errors import TinygenError, VerificationError
from tinygen.lower import Optimize
from tinygen.target import load_target
from tinygen.verify.build_dir import BuildDir
from tinygen.verify.qemu import run_qemu

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: The core for which flash, RAM and stack of both sides are known.
CORE = "cortex-m4"
CORES = ("cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55")
#: Flash may be at most this share of the peer's; RAM must be below the peer's.
FLASH_LIMITS = {"KWS": 0.45, "IC": 0.65, "AD": 0.95, "VWW": 0.65}
#: Models with dead channels, which are measured with and without the pass that removes them.
HALF_DEAD = ("VWW",)
KEPT = ("dead-channels",)


@dataclass(frozen=True)
class Peer:
    """What TensorFlow Lite Micro needs for a model: see benchmarks/tflm.toml."""

    zoo: str
    macs: int
    constants: int
    flash: int
    ram: int
    stack: int
    reference: int
    instructions: Mapping[str, int]


@dataclass(frozen=True)
class Cost:
    """What the emitted C needs on `CORE`, in bytes: `ram` is arena + .data + .bss, `stack` the call graph's bound."""

    macs: int
    constants: int
    flash: int
    ram: int
    stack: int | None


@dataclass(frozen=True)
class Row:
    """A model on both sides; `instructions` per core, None where it does not fit the emulated machine.

    `without` are lossless passes that were left out.
    """

    model: str
    peer: Peer
    cost: Cost
    instructions: Mapping[str, int | None]
    without: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What tables call the row."""
        return f"{self.model}, dead channels kept" if self.without else self.model

    @property
    def flash_ok(self) -> bool:
        return self.cost.flash <= FLASH_LIMITS[self.model] * self.peer.flash

    @property
    def ram_ok(self) -> bool:
        return self.cost.ram < self.peer.ram

    @property
    def note(self) -> str | None:
        """What to say with the figures, lest they mislead."""
        if self.model not in HALF_DEAD:
            return None
        left = f"{self.cost.macs:,} of {self.peer.macs:,} MACs are left" if not self.without else "tinygen kept them"
        return f"{self.title}: half of the channels are dead, constant for every input: {left}; TFLM computes them all"


def read_peers() -> tuple[dict[str, str], dict[str, Peer]]:
    """Provenance of the peer's figures, and the figures by model."""
    data = tomllib.loads(Path(__file__).with_name("tflm.toml").read_text(encoding="utf-8"))
    return data["provenance"], {name: Peer(**table) for name, table in data["models"].items()}


def measure_all(peers: Mapping[str, Peer], cores: Sequence[str], optimize: Optimize) -> list[Row]:
    """A row for each model, and another one for those with dead channels, in which they are kept."""
    rows = []
    for model, peer in peers.items():
        rows.append(measure(model, peer, cores, optimize))
        if model in HALF_DEAD:
            rows.append(measure(model, peer, cores, optimize, KEPT))
    return rows


def measure(model: str, peer: Peer, cores: Sequence[str], optimize: Optimize, without: tuple[str, ...] = ()) -> Row:
    """Build and run one model. `VerificationError` if its outputs are not the golden ones."""
    with tempfile.TemporaryDirectory() as temporary:
        built = zoo.build(peer.zoo, Path(temporary) / CORE, CORE, optimize, without)
        counted = {
            core: count_instructions(peer.zoo, Path(temporary) / core, core, optimize, without) for core in cores
        }
        return Row(model, peer, cost_of(built), counted, without)


def cost_of(built: BuildDir) -> Cost:
    """What a build for `CORE` needs."""
    ram, flash = built.report["ram"], built.report["flash"]
    constants = sum(layer["constant_bytes"] for layer in built.report["layers"])
    return Cost(built.report["macs"], constants, flash["total"], ram["arena"] + _variables(built), ram["stack"])


def _variables(built: BuildDir) -> int:
    """Bytes of .data and .bss of the compiled library."""
    target = load_target(CORE)
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "library.o"
        toolchain.compile_object(built.source, out, target, built.report["flash"]["optimization"])
        table = toolchain.run([toolchain.find_size(), out]).stdout
    _, data, bss = re.findall(r"\d+", table.splitlines()[1])[:3]
    return int(data) + int(bss)


def count_instructions(
    name: str, folder: Path, core: str, optimize: Optimize, without: tuple[str, ...] = ()
) -> int | None:
    """Instructions of one inference, on the first golden input set."""
    runs = zoo.golden(name)
    target = load_target(core)
    built = zoo.build(name, folder, core, optimize, without)
    try:
        done = run_qemu(built, [run.inputs for run in runs], target)
    except TinygenError as error:
        if "cannot be emulated" in str(error):
            return None
        raise
    wrong = zoo.difference(runs, done.outputs)
    if wrong:
        raise VerificationError(f"{name} on {done.where}: {wrong}")
    return done.instructions


def tables(rows: Sequence[Row], cores: Sequence[str]) -> list[Table]:
    """Instructions on each core, flash, RAM and stack; tinygen beside its peer."""
    return [_speed(rows, core) for core in cores] + [_flash(rows), _ram(rows)]


def new_table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="left" if column in ("model", "") else "right")
    return table


def _speed(rows: Sequence[Row], core: str) -> Table:
    columns = ("model", "MACs", "tinygen", "per MAC", "TFLM + CMSIS-NN", "per MAC", "ratio")
    table = new_table(f"\nInstructions of one inference, {core} under QEMU (not cycles)", columns)
    for row in rows:
        mine, theirs, macs = row.instructions[core], row.peer.instructions[core], row.cost.macs
        cells = (f"{mine:,}", f"{mine / macs:.2f}") if mine else ("does not fit the machine", "")
        ratio = f"{mine / theirs:.2f}" if mine else ""
        table.add_row(row.title, f"{macs:,}", *cells, f"{theirs:,}", f"{theirs / row.peer.macs:.2f}", ratio)
    return table


def _flash(rows: Sequence[Row]) -> Table:
    columns = ("model", "weights and biases", "tinygen", "TFLM + CMSIS-NN", "ratio", "limit", "")
    table = new_table(f"\nFlash in bytes, {CORE}: code and constants in a firmware, less the same without", columns)
    for row in rows:
        mine, theirs, limit = row.cost.flash, row.peer.flash, FLASH_LIMITS[row.model]
        cells = f"{mine:,}", f"{theirs:,}", f"{mine / theirs:.3f}", f"{limit:.2f}", _ok(row.flash_ok)
        table.add_row(row.title, f"{row.peer.constants:,}", *cells)
    return table


def _ram(rows: Sequence[Row]) -> Table:
    columns = ("model", "tinygen", "TFLM + CMSIS-NN", "ratio", "limit", "", "stack: tinygen", "TFLM + CMSIS-NN")
    table = new_table(f"\nRAM in bytes, {CORE}: arena with inputs and outputs + .data + .bss; stack by itself", columns)
    for row in rows:
        mine, theirs = row.cost.ram, row.peer.ram
        stack = "unknown" if row.cost.stack is None else f"{row.cost.stack:,}"
        cells = f"{mine:,}", f"{theirs:,}", f"{mine / theirs:.3f}", "< 1", _ok(row.ram_ok), stack, f"{row.peer.stack:,}"
        table.add_row(row.title, *cells)
    return table


#: What README.md calls the models.
NAMES = {
    "KWS": "keyword spotting",
    "IC": "image classification",
    "AD": "anomaly detection",
    "VWW": "person detection (VWW)",
    "VWW, dead channels kept": "the same, dead channels kept",
}


def markdown(rows: Sequence[Row]) -> str:
    """The table of README.md: bytes and million instructions on `CORE`, the peer's figures beside ours."""
    lines = [
        "| model | flash | TFLM | | RAM | TFLM | | stack | TFLM | instructions | TFLM |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        cost, peer, counted = row.cost, row.peer, row.instructions[CORE] or 0
        lines.append(
            f"| {NAMES[row.title]} | {cost.flash:,} | {peer.flash:,} | {cost.flash / peer.flash:.2f}× "
            f"| {cost.ram:,} | {peer.ram:,} | {cost.ram / peer.ram:.2f}× | {cost.stack} | {peer.stack} "
            f"| {counted / 1e6:.1f} M | {peer.instructions[CORE] / 1e6:.1f} M |"
        )
    return "\n".join(lines)


def _ok(kept: bool) -> str:
    return "ok" if kept else "[bold red]MISSED[/]"


def as_dict(rows: Sequence[Row], provenance: Mapping[str, str], optimize: str) -> dict[str, Any]:
    """Everything that the tables show, as JSON values."""
    models = [
        {
            "model": row.model,
            "without": list(row.without),
            "tinygen": {**asdict(row.cost), "instructions": dict(row.instructions)},
            "tflm": asdict(row.peer),
            "flash_ratio": row.cost.flash / row.peer.flash,
            "flash_limit": FLASH_LIMITS[row.model],
            "flash_ok": row.flash_ok,
            "ram_ratio": row.cost.ram / row.peer.ram,
            "ram_ok": row.ram_ok,
            "note": row.note,
        }
        for row in rows
    ]
    return {"core": CORE, "optimize": optimize, "ok": _all_ok(rows), "provenance": dict(provenance), "models": models}


def _all_ok(rows: Sequence[Row]) -> bool:
    return all(row.flash_ok and row.ram_ok for row in rows)


def _print(rows: Sequence[Row], cores: Sequence[str], provenance: Mapping[str, str], optimize: str) -> None:
    console = Console(soft_wrap=True, highlight=False, width=100)
    for table in tables(rows, cores):
        console.print(table)
    compiler = f"{Path(toolchain.find_cross()).name} {toolchain.version(toolchain.find_cross())}"
    console.print(f"\ntinygen: --optimize {optimize}, {compiler}; outputs equal the golden vectors")
    console.print(f"TFLM + CMSIS-NN: {provenance['sources']}, {provenance['compiler']}; {provenance['emulator']}")
    for row in rows:
        if row.note:
            console.print(row.note)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compare with TensorFlow Lite Micro and CMSIS-NN.")
    parser.add_argument("--optimize", choices=get_args(Optimize), default="balanced")
    parser.add_argument("--cores", choices=[*CORES, "all"], default=CORE, help="where instructions are counted")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--markdown", action="store_true", help="print the table of README.md")
    return on_the_zoo(parser, arguments, measured)


def measured(options: argparse.Namespace) -> bool:
    """Measure and print; whether all that can be compared is exact and no goal missed."""
    cores = CORES if options.cores == "all" else (options.cores,)
    provenance, peers = read_peers()
    rows = measure_all(peers, cores, options.optimize)
    if options.json:
        print(json.dumps(as_dict(rows, provenance, options.optimize), indent=1))
    elif options.markdown:
        print(markdown(rows))
    else:
        _print(rows, cores, provenance, options.optimize)
    return _all_ok(rows)


if __name__ == "__main__":
    sys.exit(main())
