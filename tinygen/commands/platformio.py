# SPDX-License-Identifier: Apache-2.0
"""``tinygen platformio``: a PlatformIO project around a build."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.text import Text

from tinygen import platformio
from tinygen.commands.terminal import ERR, OUT, json_option
from tinygen.errors import UsageError
from tinygen.files import write_files
from tinygen.verify.build_dir import read_build


@click.command(name="platformio")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the project (default: the model's name, -platformio)."
)
@click.option(
    "--vectors", type=click.IntRange(1, 1000), default=4, show_default=True, help="Random input sets to test."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the random inputs.")
@click.option("--inputs", type=click.Path(path_type=Path), help="Your own inputs (.npz) instead of random ones.")
@json_option
def platformio_(folder: Path, out: Path | None, vectors: int, seed: int, inputs: Path | None, as_json: bool) -> None:
    """Write a PlatformIO project around the C in FOLDER. It has a firmware, and tests that run under QEMU."""
    name = read_build(folder).name
    goal = out if out is not None else Path(f"{name}-platformio")
    if (goal / "platformio.ini").exists() or (goal.exists() and not goal.is_dir()):
        raise UsageError(f"'{goal}' is there already: remove it, or choose another folder with --out")
    with ERR.status(Text(f"writing {goal}")):
        files = platformio.project(folder, vectors, seed, inputs)
        write_files(goal, files)
    if as_json:
        click.echo(json.dumps({"project": str(goal), "files": sorted(files)}, indent=1))
    else:
        OUT.print(f"wrote {goal}; test it on six emulated machines with: pio test -d {goal}")
