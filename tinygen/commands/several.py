# SPDX-License-Identifier: Apache-2.0
"""`tinygen build` for several models that never run at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tinygen.commands.terminal import OUT
from tinygen.compress.recipe import Recipe
from tinygen.errors import UsageError
from tinygen.sharing import build_shared


def build_several(
    models: Sequence[Path], out: Path | None, recipe: Recipe | None, as_json: bool, asked: dict[str, Any]
) -> None:
    """Build `models` into one C file in `out`, and print what they need; `asked` are the command's other options."""
    if asked["weights"] == "blob" or asked["push_rows"] or asked["packages"] or asked["sections"]:
        raise UsageError(
            "several models in one C file go with neither --weights blob, --push-rows, --section nor --package"
        )
    if asked["cache_weights"] != "none":
        raise UsageError("several models in one C file do not go with --cache-weights: build them one by one")
    asked.pop("options")
    made = build_shared(models, recipe=recipe, **asked)
    folder = made.write(out if out is not None else Path(made.name))
    if as_json:
        click.echo(json.dumps(made.report, indent=1))
        return
    for one in made.builds:
        ram, flash = one.report["ram"], one.report["flash"]
        OUT.print(f"{one.name} by itself: {ram['arena']:,} bytes of arena, {flash['total']:,} of flash")
    report = made.report
    stack = "unknown" if report["ram"]["stack"] is None else f"{report['ram']['stack']:,}"
    OUT.print(f"\none arena for all: {report['arena']:,} bytes instead of {report['apart']['arena']:,}, stack {stack}")
    if report["flash"]["total"] is not None:
        flash, apart = report["flash"], report["apart"]["flash"]
        parts = f"{flash['constants']:,} constants, {flash['code']:,} code, linked"
        OUT.print(f"flash: {flash['total']:,} bytes instead of {apart:,}: {parts}")
    OUT.print(f"wrote {folder}/{made.name}.h, {made.name}.c; check them with: tinygen verify {folder}")
