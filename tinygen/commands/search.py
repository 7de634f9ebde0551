# SPDX-License-Identifier: Apache-2.0
"""Searching for what fits a budget: the command, the options that `build` has, too, and the tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, get_args

import click
from rich.table import Table

from tinygen.commands.progress import Display, interruptible
from tinygen.commands.terminal import OUT, columns, cut, json_option, preprocessed, shape_option, target_option
from tinygen.compress import Bought, recipe
from tinygen.compress.entropy import Entropy
from tinygen.files import check_folder
from tinygen.plan.budget import parse_bytes
from tinygen.search import energy
from tinygen.search.base import EFFORTS, Candidate, Found
from tinygen.search.files import save
from tinygen.search.picture import quality
from tinygen.search.request import OutOfReach, SearchOptions
from tinygen.searching import search
from tinygen.selection import Optimize
from tinygen.target import Target, load_target

#: Words of what was done to a layer are cut at these, which numbers of less interest follow.
_CUT = ", "


def _bytes(option: str) -> Callable[[click.Context, click.Parameter, str | None], int | None]:
    def parse(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
        return None if value is None else parse_bytes(value, option)

    return parse


def limited(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options --ram and --flash; and those of a search, which become the one argument `options`."""

    @click.option(
        "--ram", metavar="BYTES", callback=_bytes("--ram"), help="RAM budget, such as 64K (default: the board's)."
    )
    @click.option(
        "--flash",
        metavar="BYTES",
        callback=_bytes("--flash"),
        help="Flash budget, such as 256K (default: the board's).",
    )
    @click.option("--latency", metavar="LIMIT", help="Limit of a run: instructions such as 5M, or time such as 2ms.")
    @click.option(
        "--max-drop", metavar="POINTS", type=click.FloatRange(0, 100), help="Points of accuracy that may be lost."
    )
    @click.option("--effort", type=click.Choice(list(EFFORTS)), help="How hard to search  [default: normal]")
    @click.option("--study", type=click.Path(path_type=Path), help="File that keeps a search, to resume and share it.")
    @click.option("--workers", type=int, help="Processes that search, with --study.")
    @wraps(command)
    def wrapped(latency: Any, max_drop: Any, effort: Any, study: Any, workers: Any, **others: Any) -> Any:
        return command(options=SearchOptions(latency, max_drop, effort, study, workers), **others)

    return wrapped


@click.command(name="search")
@click.argument("model", type=click.Path(path_type=Path))
@target_option("Core or board that bytes are counted for.")
@click.option(
    "--calibration",
    metavar="DATA",
    required=True,
    help="Samples of the model's input: .npz, .npy, a folder, or 'random'.",
)
@click.option("--data", metavar="DATA", help="Samples with labels, to judge what is lost.")
@click.option("--optimize", type=click.Choice(get_args(Optimize)), default="balanced", show_default=True)
@click.option("--without", metavar="PASS", multiple=True, help="A lossless pass to leave out, such as dead-channels.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder to write to  [default: NAME-frontier]")
@limited
@shape_option
@preprocessed
@json_option
def search_(model: Path, target: str, out: Path | None, options: SearchOptions, as_json: bool, **others: Any) -> None:
    """Find the frontier of MODEL: its best forms for every size. Writes recipes for `tinygen build`, and a picture."""
    board, goal = load_target(target), check_folder(out or Path(f"{model.stem}-frontier"))
    with searching(f"reading {model.name}", options, target, as_json) as asked:
        found = search(model, board, options=asked, **others)
        folder = save(found, goal, model.name, board)
    if as_json:
        click.echo((folder / "frontier.json").read_text(encoding="utf-8"), nl=False)
    else:
        print_frontier(found, board)
        OUT.print(f"wrote {folder}/frontier.json, frontier.svg and a recipe for each row: tinygen build --recipe")
    if not found.fits:
        raise OutOfReach(found)


@contextmanager
def searching(what: str, options: SearchOptions, target: str, as_json: bool) -> Iterator[SearchOptions]:
    """Shows progress of what happens inside, by the options that this gives; Ctrl-C ends it with a sentence.

    Where nothing fits, the frontier is printed before the error goes on.
    """
    try:
        with Display(what) as display, interruptible(display, options.study):
            yield options.heard_by(display)
    except OutOfReach as error:
        if as_json:
            frontier = [candidate.as_dict() for candidate in error.found.frontier]
            click.echo(json.dumps({"fits": False, "frontier": frontier}, indent=1))
        else:
            print_frontier(error.found, load_target(target))
        raise


def print_frontier(found: Found, target: Target) -> None:
    """A row for each candidate of the frontier; the one that was chosen, or came closest, is marked."""
    timed, powered = (f(target, 1) is not None for f in (energy.seconds, energy.microjoules))
    table = Table(box=None, pad_edge=False)
    columns(table, "")
    titles = ["flash", "RAM", "instructions", *["time"] * timed, *["energy"] * powered, _judged_by(found), "lost"]
    columns(table, *titles, numbers=True)
    columns(table, "how", shrink=True)
    for i, candidate in enumerate(found.frontier):
        cost, mark = candidate.cost, " *" if candidate.number == found.candidate.number else ""
        counts = [f"{cost.flash:,}", f"{cost.ram:,}", f"{cost.instructions:,}"]
        times = [f"{1e3 * (energy.seconds(target, cost.instructions) or 0):.2f} ms"] * timed
        joules = [f"{energy.microjoules(target, cost.instructions) or 0:,.1f} µJ"] * powered
        score = [f"{quality(candidate):.2f} %", f"{candidate.drop:.2f}"]
        table.add_row(f"{i:02}{mark}", *counts, *times, *joules, *score, summary(candidate))
    OUT.print(table)


def _judged_by(found: Found) -> str:
    return "agreement" if found.start.quality.accuracy is None else "accuracy"


def summary(candidate: Candidate) -> str:
    """The techniques of a candidate."""
    return ", ".join(dict.fromkeys(entry["name"] for entry in candidate.recipe["technique"])) or "the plain model"


def print_search(found: Found, target: Target, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """What each step bought, and what was done to each layer; `before` and `after` are reports."""
    sizes = f"{before['flash']['total']:,} bytes of flash and {before['ram']['total']:,} of RAM"
    if found.goal.instructions is not None:
        sizes += f", {found.start.cost.instructions:,} instructions"
    OUT.print(f"The plain model takes {sizes}: of {len(found.judged)} candidates, this one loses least and fits.")
    if recipe.SAMPLES in found.candidate.recipe:
        OUT.print("What is lost was measured on samples held back; after that, it was fitted to these, too.")
    OUT.print()
    _print_steps(found)
    OUT.print()
    _print_layers(found.bought, before["layers"], after["layers"])
    OUT.print(f"\n{run_of(found.candidate, target)}", end="")


def run_of(candidate: Candidate, target: Target) -> str:
    """What a run takes, in a line like those on memory."""
    count = candidate.cost.instructions
    took, spent = energy.seconds(target, count), energy.microjoules(target, count)
    guesses = [] if took is None else [f"about {1e3 * took:.2f} ms"]
    guesses += [] if spent is None else [f"about {spent:,.1f} µJ"]
    how = "counted under QEMU" if candidate.cost.counted else "estimate"
    return f"run    {count:>9,} instructions ({how}){''.join(f', {guess}' for guess in guesses)}"


def _print_steps(found: Found) -> None:
    table = Table(box=None, pad_edge=False)
    columns(table, "step")
    columns(table, "flash", "saved", "RAM", "MACs", _judged_by(found), "lost", "SQNR", numbers=True)
    last = None
    for line in (line for line in found.bought if line.done or line is found.bought[0]):
        share = line.quality.agreement if line.quality.accuracy is None else line.quality.accuracy
        first = found.bought[0].quality
        lost = (first.agreement if first.accuracy is None else first.accuracy) - share
        saved = "" if last is None else f"{last.flash - line.flash:,}"
        sizes = f"{line.flash:,}", saved, f"{line.ram:,}", f"{line.macs:,}"
        table.add_row(line.name, *sizes, f"{share:.2%}", f"{100 * lost:.2f}", f"{line.quality.sqnr:.1f} dB")
        last = line
    OUT.print(table)


def _print_layers(
    bought: Sequence[Bought], before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> None:
    was = {(layer["op"], layer["name"]): layer["constant_bytes"] for layer in before}
    table = Table(box=None, pad_edge=False)
    columns(table, "layer", shrink=True)
    columns(table, "constants", "now", numbers=True)
    columns(table, "stored as")
    columns(table, "what was done", shrink=True)
    for layer in after:
        name = layer["op"], layer["name"]
        if layer["constant_bytes"] or was.get(name):
            sizes = f"{was[name]:,}" if name in was else "", f"{layer['constant_bytes']:,}"
            table.add_row(cut(layer["name"]), *sizes, layer["form"], "; ".join(done_to(*name, bought)))
    OUT.print(table)


def done_to(op: str, layer: str, bought: Sequence[Bought]) -> list[str]:
    """What each technique did to the layer of this operator and name, in a few words; codes are told by `form`."""
    found = []
    for line in (line for line in bought if line.name != Entropy.name):
        for sentence in line.done:
            what, colon, rest = sentence.partition("': ")
            if colon and what == f"{op} '{layer}":
                found.append(f"{line.name} {rest.split(_CUT)[0]}")
    return found
