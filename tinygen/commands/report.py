# SPDX-License-Identifier: Apache-2.0
"""``tinygen report`` and ``tinygen compare``: pictures of a build, and of what differs between two."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from tinygen import running
from tinygen.commands.terminal import ERR, OUT, columns, cut, json_option, preprocessed
from tinygen.data.preprocessing import Preprocessing
from tinygen.errors import UsageError
from tinygen.evaluation import Evaluation, evaluate
from tinygen.files import check_folder, write_files
from tinygen.pictures import page
from tinygen.pictures.png import as_png

Report = Mapping[str, Any]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Where the page goes (default: FOLDER/report.html).")
@click.option("--pictures", type=click.Path(path_type=Path), help="A folder for each picture as an SVG file.")
@click.option("--png", is_flag=True, help="The pictures as PNG files, too.")
@click.option(
    "--data", metavar="DATA", help="Samples with labels: adds the accuracy of the reference and of the C to the page."
)
@click.option("--measure/--no-measure", default=True, show_default=True, help="Count instructions under QEMU.")
@preprocessed
def report(
    folder: Path,
    out: Path | None,
    pictures: Path | None,
    png: bool,
    data: str | None,
    measure: bool,
    preprocessing: Preprocessing,
) -> None:
    """Draw the build in FOLDER as a page with pictures.

    They show memory over time, flash and instructions by layer, and the network.
    """
    if png and pictures is None:
        raise UsageError("--png: say with --pictures into which folder")
    made, goal = running.read_report(folder), out if out is not None else folder / "report.html"
    for place in (goal.parent, pictures) if pictures is not None else (goal.parent,):
        check_folder(place)
    with ERR.status(Text(f"measuring {folder}")):
        profile = running.profile(folder).as_dict() if measure else None
        tables = [_accuracy(evaluate(folder, data, preprocessing=preprocessing))] if data is not None else []
    files = page.files(made, profile) if pictures is not None else {}
    files |= {name.replace(".svg", ".png"): as_png(text) for name, text in files.items()} if png else {}
    write_files(goal.parent, {goal.name: page.page(made, profile, tables).encode()})
    OUT.print(f"wrote {goal}")
    if pictures is not None:
        write_files(pictures, files)
        OUT.print(f"wrote {', '.join(files)} to {pictures}")


def _accuracy(found: Evaluation) -> dict[str, Any]:
    """A table for the page: what ran, and its score."""
    title = f"Accuracy on {found.samples:,} samples"
    rows = [(runner, f"{score:.4f}") for runner, score in found.scores.items()]
    return {"title": title, "head": ("what ran", f"{found.metric}, against {found.against}"), "rows": rows}


@click.command()
@click.argument("left", type=click.Path(path_type=Path))
@click.argument("right", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="A page (.html) with the pictures of both side by side.")
@json_option
def compare(left: Path, right: Path, out: Path | None, as_json: bool) -> None:
    """Show what differs between the builds in LEFT and RIGHT. That is memory, and what changed layer by layer."""
    one, other = running.read_report(left), running.read_report(right)
    whole, layers = list(totals(one, other)), list(changed_layers(one, other))
    if out is not None:
        head = ("", str(left), str(right), "change")
        tables = [{"title": "What differs", "head": head, "rows": [_words(*row) for row in whole]}]
        if layers:
            title = "Constants of layers that differ, in bytes"
            tables.append({"title": title, "head": head, "rows": [_words(*row) for row in layers]})
        write_files(out.parent, {out.name: page.comparison(one, other, tables).encode()})
    if as_json:
        named = {name: {"left": a, "right": b} for name, a, b in whole}
        click.echo(json.dumps({"totals": named, "layers": [list(row) for row in layers]}, indent=1))
        return
    table = Table(box=None, pad_edge=False)
    columns(table, "", shrink=True)
    columns(table, str(left), str(right), "change", numbers=True)
    for name, *numbers in (_words(*row) for row in (*whole, *layers)):
        table.add_row(cut(name), *numbers)
    OUT.print(table)
    if out is not None:
        OUT.print(f"wrote {out}")


def totals(left: Report, right: Report) -> Iterator[tuple[str, int | None, int | None]]:
    """Bytes and multiplications of both builds as wholes."""
    for name, path in (
        ("RAM", ("ram", "total")),
        ("arena", ("ram", "arena")),
        ("stack", ("ram", "stack")),
        ("flash", ("flash", "total")),
        ("constants", ("flash", "constants")),
        ("code", ("flash", "code")),
    ):
        yield name, left[path[0]][path[1]], right[path[0]][path[1]]
    yield "multiplications", left["macs"], right["macs"]


def changed_layers(left: Report, right: Report) -> Iterator[tuple[str, int | None, int | None]]:
    """Bytes of constants of each layer that differs, or that one of the two lacks: by name."""
    a, b = ({layer["name"]: layer for layer in made["layers"]} for made in (left, right))
    for name in dict.fromkeys((*a, *b)):
        one, other = (layers[name]["constant_bytes"] if name in layers else None for layers in (a, b))
        if one != other:
            yield (a.get(name) or b[name])["op"] + " " + name, one, other


def _words(name: str, left: int | None, right: int | None) -> tuple[str, ...]:
    cells = ["none" if value is None else f"{value:,}" for value in (left, right)]
    if left is None or right is None or left == right:
        return name, *cells, ""
    return name, *cells, f"{right - left:+,}" + (f" ({right / left - 1:+.1%})" if left else "")
