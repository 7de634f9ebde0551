# SPDX-License-Identifier: Apache-2.0
"""The command that shows where instructions go."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from tinygen import running
from tinygen.clang import COMPILERS
from tinygen.commands.terminal import ERR, OUT, columns, cut, json_option
from tinygen.verify.profile import Profile


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the random input.")
@click.option("--cycles", is_flag=True, help="Estimate cycles, too; this takes longer.")
@click.option("--compiler", type=click.Choice(COMPILERS), default="gcc", show_default=True, help="What compiles the C.")
@json_option
def profile(folder: Path, seed: int, cycles: bool, compiler: str, as_json: bool) -> None:
    """Count the instructions of each layer in FOLDER under QEMU."""
    with ERR.status(Text(f"profiling {folder}")):
        found = running.profile(folder, seed=seed, cycles=cycles, compiler=compiler)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=1))
        return
    OUT.print(_table(found))
    for line in found.lines():
        OUT.print(line)


def _table(found: Profile) -> Table:
    table = Table(box=None, pad_edge=False)
    columns(table, "step")
    columns(table, "operator", "name", "kernel", shrink=True)
    estimate = ("≈ cycles",) if found.cycles is not None else ()
    columns(table, "output", "MACs", "instructions", "per MAC", "share", *estimate, numbers=True)
    for layer in found.layers:
        per_mac = "" if layer.per_mac is None else f"{layer.per_mac:.2f}"
        numbers = f"{layer.macs:,}", f"{layer.instructions:,}", per_mac, f"{layer.share:.1%}"
        shape = "×".join(map(str, layer.output_shape))
        cycles = (f"{layer.cycles:,}",) if layer.cycles is not None else ()
        names = (cut(text) for text in (layer.op, layer.name, layer.kernel))
        table.add_row(str(layer.step), *names, shape, *numbers, *cycles)
    return table
