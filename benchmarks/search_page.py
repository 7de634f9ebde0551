# SPDX-License-Identifier: Apache-2.0
"""docs/search-results.md, its data (.json) and its picture (.svg), out of what was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import search_frontier
from benchmarks.compression_data import TASKS
from benchmarks.search_rows import FRESH, ROWS

#: What is measured, each by itself.
PARTS = ("rows", "ablation", "searches", "frontiers")
#: Settings of recipes that need no name in words.
MAIN = ("ratio", "values", "bits", "count", "steps", "factor")
HEAD = """\
# Small models, and what made them small

`make search` makes this page. Bytes are those of weights and biases as the C for {target} stores them, codebooks and
positions included; "all" counts every constant, requantization and softmax tables included. Recipes see, fit and train
with one part of the data, without labels, and are judged by the other. Points are of accuracy below int8; without
labels, of agreement with the float model, below that of int8.

Recipes (`benchmarks/recipes`) were written by hand, looking at splits 0 and 1 of the data: several were
tried for each row. So these two do not count. The table is of later splits, each of which the recipe met once: a goal
is reached if the bytes of all are within it, and the mean of the points lost. All splits are of the same samples, so
that later ones are fresh, but not independent; and the recipe of "lenet" descends from that of
[compression](compression.md), which was measured on split 2, too. The recipes of "kws half" and "kws third" are their
second ones, and that of "lenet" its third. The first of "kws half", which descended likewise, had reached the goal on
splits 2 to 4 (0.33 points), and codes took its place when they came; those of the others had missed on splits 2 and 3,
or on 2, and the second of "lenet", without training, had lost 0.73 points in the mean of 2 to 4. Training for answers
that stay when samples move makes "lenet" less sure of what it answers, which lowers its SQNR, that of logarithms of
probabilities: see [recovery](compression/recovery.md). Times are of a machine with other work.
Rows and parts were measured one after the other, not in one go: what is not measured anew stays as it was.
"""

SEARCHES = """
## What the search finds by itself

The goals again, for the budget search, which gets the samples to fit and the bytes of the goal, and nothing else: no
recipe, no labels. It holds back every fourth of those samples to choose by, and fits what it chose to these, too, if it
is no noisier then; what it reaches is measured on the samples to test, which it has not seen, on fresh splits. Beside
it, what the recipe written by hand loses in the mean of the same splits. The recipe shown is that of the first split;
whole ones: [{data}]({data}). Time is what all its processes compute on one core, the linker's
among them, beside other work on the machine: with none, the command for KWS took 110 s with "quick". Those for "ad", of
"normal" for "kws third", and for "ic" on split 2, were measured before what is chosen was fitted to all samples.

| model | effort | goal | reached | lost: mean, worst | by hand | splits | SQNR | recipe found | time | |
|---|---|--:|--:|--:|--:|--:|--:|---|--:|---|"""

FRONTIERS = """
## Settings for each layer against the same for all

Every uniform setting of {task} (codebooks of 4 to 64 values, 2 to 6 bits, shares of zeros with a codebook, shares of
channels) that no smaller one beats and whose noise is below 0.4 of the signal, and what the search takes for as much
flash: the candidate with the least noise on the samples that it holds back. Measured on the samples to test, which
neither has seen; 0.2 points are one of them, so that points differ by chance where they are few, and noise says more.

![frontier]({picture})

| effort | split | uniform setting | flash | lost | noise | search: flash | lost | noise |
|---|--:|---|--:|--:|--:|--:|--:|--:|"""

ABLATION = """
## What each technique contributes

The recipes of three rows, without one part of them each, and each part alone; then every other technique alone, with a
moderate setting, where it finds something to do. Where training is gone, what it put right stays wrong; where a
technique is gone, the later ones work on what is left. Zeros "in three steps" are 0.6, 0.85 and all of them, with 100
steps of training behind each: iterative magnitude pruning, which trains longer in all. "With recover" is what training
would add to a recipe without it; what it does for more damage is told of an earlier recipe for KWS, which had 4 values.
Means over splits. Data: [{data}]({data}).

![ablation]({picture})
"""


def run_line(row: Any, run: Any) -> str:
    """A split on one line of text."""
    sizes = f"{run.start:>8,} → {run.bytes:>7,} B of {row.bytes:,}"
    return f"{row.name:<10} split {run.seed}  {sizes}, lost {run.lost:5.2f}, {run.sqnr:.1f} dB, {run.seconds:.0f} s"


class Kept:
    """What was measured before, and is now, part by part and row by row; the page of `path` after each part."""

    def __init__(self, path: Path | None, target: str) -> None:
        before = path.with_suffix(".json") if path else None
        self.path = path
        self.data: dict[str, Any] = json.loads(before.read_text()) if before and before.exists() else {}
        self.data |= {"target": target} | {part: self.data.get(part, []) for part in PARTS}

    def take(self, part: str, found: Sequence[Mapping[str, Any]]) -> None:
        """Lines of `part`, in place of those of the same rows."""
        names = [row.name for row in ROWS]
        fresh = {_key(line) for line in found}
        lines = [line for line in self.data[part] if _key(line) not in fresh] + list(found)
        self.data[part] = sorted(lines, key=lambda line: names.index(line["row"]) if line["row"] in names else -1)
        if self.path:
            write(self.path, self.data)


def _key(line: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a line is about; lines that are measured anew take the place of those about the same."""
    return line["row"], line.get("effort"), line.get("seed"), line.get("what")


def write(path: Path, found: Mapping[str, Any]) -> None:
    """The page, and beside it its data and its picture."""
    data, picture = path.with_suffix(".json"), path.with_suffix(".svg")
    data.write_text(json.dumps(found, indent=1) + "\n")
    path.write_text("\n".join(_lines(found, data.name, picture.name, _frontier(path).name)) + "\n")
    if found["ablation"]:
        draw(found["ablation"], picture)
    if found["frontiers"]:
        search_frontier.draw(found["frontiers"], _frontier(path))


def _frontier(path: Path) -> Path:
    return path.with_name(f"{path.stem}-frontier.svg")


def _lines(found: Mapping[str, Any], data: str, picture: str, frontier: str) -> Iterator[str]:
    yield HEAD.format(target=found["target"])
    yield "| model | data | int8 | goal | reached | all | int8, then | lost: mean, worst | splits | SQNR | by | time ||"
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|--:|---|"
    yield from map(_row, found["rows"])
    missed = [row for row in found["rows"] if not row["reached"] and row["tried"]]
    yield from (f"\nMissed: {row['row']}. Tried {row['tried']}." for row in missed)
    proven = sorted({row["proven"] for row in found["rows"] if row["proven"]})
    if proven:
        yield f"\nA program of each row gave the reference's bits on the host and under QEMU ({', '.join(proven)})."
    yield from (
        f"\nWith samples in a file of one's own, verified likewise: {r['cli']}." for r in found["rows"] if r["cli"]
    )
    yield "\n| model | split | | bytes | lost | SQNR: int8, then |\n|---|--:|---|--:|--:|--:|"
    for row in found["rows"]:
        for run in row["runs"]:
            lost, noise = (
                _lost(row["row"], run["before"] - run["after"]),
                f"{run['sqnr_before']:.1f}, {run['sqnr']:.1f} dB",
            )
            kind = "fresh" if run["seed"] >= FRESH else "seen"
            yield f"| {row['row']} | {run['seed']} | {kind} | {run['bytes']:,} | {lost} | {noise} |"
    if found["searches"]:
        yield SEARCHES.format(data=data)
        yield from (_found(line, found["rows"]) for line in found["searches"])
    if found["frontiers"]:
        yield FRONTIERS.format(task=" and ".join(dict.fromkeys(f["row"] for f in found["frontiers"])), picture=frontier)
        for line in found["frontiers"]:
            yield from (_pair(line, pair) for pair in line["points"])
        yield f"\n{_all_beaten(found['frontiers'])}"
    if found["ablation"]:
        yield ABLATION.format(data=data, picture=picture)
        yield "| row | recipe | bytes | all | flash | lost | splits | SQNR |\n|---|---|--:|--:|--:|--:|--:|--:|"
        yield from map(_part, found["ablation"])


def _lost(row: str, *points: float) -> str:
    """Points lost; of an autoencoder, whose largest output means nothing, none."""
    known = next(r for r in ROWS if r.name == row).points is not None
    return ", ".join(f"{p:.2f}" for p in points) if known else "-"


def _row(row: Mapping[str, Any]) -> str:
    task, runs = TASKS[row["task"]], [run for run in row["runs"] if run["seed"] >= FRESH]
    mean = {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
    lost = [run["before"] - run["after"] for run in runs]
    rates = "-" if row["points"] is None else f"{mean['before']:.2f} %, {mean['after']:.2f} %"
    recipe = f"{row['recipe']}.toml"
    return (
        f"| {task.model} | {task.what} | {mean['start']:,.0f} | {_goal(row)} | **{max(r['bytes'] for r in runs):,}** "
        f"| {mean['constants']:,.0f} | {rates} "
        f"| {_lost(row['row'], float(np.mean(lost)), max(lost))} | {len(runs)} | {mean['sqnr']:.1f} dB | {recipe} "
        f"| {mean['seconds']:.0f} s "
        f"| {'reached' if row['reached'] else '**missed**'} |"
    )


def _found(line: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    row, runs = asdict(next(row for row in ROWS if row.name == line["row"])), line["runs"]
    known = next((row["runs"] for row in rows if row["row"] == line["row"]), [])
    lost, seeds = [run["before"] - run["after"] for run in runs], {run["seed"] for run in runs}
    by_hand = [run["before"] - run["after"] for run in known if run["seed"] in seeds]
    hand = _lost(line["row"], float(np.mean(by_hand))) if by_hand else "-"
    mean = {key: float(np.mean([run[key] for run in runs])) for key in ("sqnr", "seconds")}
    smallest = f"**{max(run['bytes'] for run in runs):,}**"
    return (
        f"| {line['row']} | {line['effort']} | {_goal(row)} | {smallest} "
        f"| {_lost(line['row'], float(np.mean(lost)), max(lost))} | {hand} | {len(runs)} | {mean['sqnr']:.1f} dB "
        f"| {words(line['recipes'][0])} | {mean['seconds']:.0f} s "
        f"| {'reached' if line['reached'] else '**missed**'} |"
    )


def words(recipe: Sequence[Mapping[str, Any]]) -> str:
    """A recipe in short: the techniques with their setting, or with how far it varies over the layers."""
    return ", ".join(_entry(entry) for entry in recipe) or "nothing"


def _entry(entry: Mapping[str, Any]) -> str:
    layers = entry.get("layers", {})
    if layers:
        some = sorted(layers.values())
        span = f"{some[0]}" if some[0] == some[-1] else f"{some[0]} to {some[-1]}"
        return f"{entry['name']} {span} in {len(layers)} layers"
    settings = (str(v) if k in MAIN else f"{k} {v}" for k, v in entry.items() if k not in ("name", "scale", "spread"))
    return " ".join([entry["name"], *settings])


def _pair(line: Mapping[str, Any], pair: Mapping[str, Any]) -> str:
    alike, chosen = pair["alike"], pair["chosen"]
    sizes = (f"{p['flash']:,} | {p['lost']:.2f} | {p['loss']:.4f}" for p in (alike, chosen))
    return f"| {line['effort']} | {line['seed']} | {words(alike['recipe'])} | {' | '.join(sizes)} |"


def beaten(points: Sequence[Mapping[str, Any]]) -> str:
    """At how many sizes the search's candidate has less noise, and loses no more, than the uniform setting."""
    less = sum(pair["chosen"]["loss"] < pair["alike"]["loss"] for pair in points)
    none = sum(pair["chosen"]["lost"] <= pair["alike"]["lost"] + 1e-9 for pair in points)
    lost = (np.mean([pair[which]["lost"] for pair in points]) for which in ("chosen", "alike"))
    means = " for ".join(f"{mean:.2f}" for mean in lost)
    return f"less noise at {less} of {len(points)} sizes, no more points lost at {none}, {means} in the mean of all"


def _all_beaten(lines: Sequence[Mapping[str, Any]]) -> str:
    said = []
    for effort in dict.fromkeys(line["effort"] for line in lines):
        points = [pair for line in lines if line["effort"] == effort for pair in line["points"]]
        said.append(f"The candidate of {effort}: {beaten(points)}.")
    return " ".join(said)


def _goal(row: Mapping[str, Any]) -> str:
    return f"{row['bytes']:,}" + ("" if row["points"] is None else f" at ≤ {row['points']} points")


def _part(part: Mapping[str, Any]) -> str:
    mean = _mean(part)
    lost = _lost(part["row"], mean["before"] - mean["after"])
    sizes = f"{mean['bytes']:,.0f} | {mean['constants']:,.0f} | {mean['flash']:,.0f}"
    return f"| {part['row']} | {part['what']} | {sizes} | {lost} | {len(part['runs'])} | {mean['sqnr']:.1f} dB |"


def _mean(part: Mapping[str, Any]) -> dict[str, float]:
    """Every figure of the runs of `part`, in the mean."""
    return {key: float(np.mean([run[key] for run in part["runs"]])) for key in part["runs"][0]}


def draw(parts: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A picture of the ablation: a field for each row, a point for each variant."""
    import matplotlib as mpl  # an extra of the benchmarks

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "tinygen"  # the same bytes each time
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(part["row"] for part in parts))
    figure, fields = plt.subplots(1, len(names), figsize=(5.4 * len(names), 4.2), squeeze=False)
    for field, name in zip(fields[0], names, strict=True):
        for part in (part for part in parts if part["row"] == name):
            whole, alone = part["what"] == "all", part["what"].endswith("alone")
            color = "tab:red" if whole else "tab:blue" if alone else "tab:grey"
            mean = _mean(part)
            place = mean["bytes"] / 1024, mean["sqnr"]
            field.scatter(*place, color=color, s=60 if whole else 20, zorder=2)
            field.annotate(part["what"], place, fontsize=7, xytext=(4, 3), textcoords="offset points")
        field.set(title=name, xlabel="weights and biases, KiB", ylabel="SQNR, dB", xscale="log")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
