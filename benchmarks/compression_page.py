# SPDX-License-Identifier: Apache-2.0
"""docs/compression.md, its data (.json) and its picture (.svg), out of what was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.compression_data import TASKS

HEAD = """\
# Compression

`tinygen build` and `tinygen compress` take techniques, each alone or several in a recipe:

| technique | what it does |
|---|---|
| always on | [dead channels](compression/dead_channels.md), the same for every input, are removed; no bit changes |
| `--prune 0.5` | [removes channels](compression/pruning.md), and fits what reads them |
| `--low-rank 0.5` | [makes two thin layers](compression/low_rank.md) of one |
| `--branches 1` | [removes branches](compression/branches.md) of residual sums |
| `--resolution 2` | [computes on a smaller image](compression/resolution.md), made of the input by a pool |
| `--sparsity 0.7`, `2:4`, `blocks:0.5` | [makes weights zero](compression/sparsity.md), and fits the others |
| `--share 16` | [gives a layer a codebook](compression/sharing.md) of that many weights |
| `--bits 4` | [rounds weights to fewer bits](compression/bits.md) |
| `--coded 2.5` | [rounds weights](compression/coded.md) so that codes of `--entropy` take that many bits |
| `--recover 300` | [trains](compression/recovery.md) what is left towards the original's answers (needs TensorFlow) |
| `--entropy` | [entropy codes](compression/storage_forms.md) for weights, unpacked while the layer runs |
| `--biases 16` | [biases in 16 or 8 bits](compression/biases.md) times a unit |

All need samples of the model's input (`--calibration`). Each but `--recover` fits layer after layer to what the
original computes on those samples, without training. How weights then lie in flash is chosen by bytes, for any model:
[storage forms](compression/storage_forms.md). A recipe is TOML:

```toml
[[technique]]
name = "sparsity"
ratio = 0.8
layers = {{ "output*" = "none" }}   # by the layer's name; "none" leaves it out

[[technique]]
name = "share"
values = 16
```

## Goals

`make compression` makes this page. Bytes are those of weights and biases as the C for {target} stores them, with their
codebooks and positions; "all" counts every constant, requantization and softmax tables included. Figures are means over
{seeds} seeded splits into samples to fit and samples to test. The recipes are in
`benchmarks/recipes`.
"""


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def goal_line(goal: Any, point: Any, met: bool) -> str:
    """A goal on one line of text."""
    limit = f"{goal.bytes:,} B" if goal.bytes is not None else f"{goal.ratio:.3g} of int8"
    points = f", {goal.points} points" if goal.points is not None else ""
    loss = "" if point.lost is None else f", lost {point.lost:.2f} (worst {point.worst:.2f})"
    verdict = "reached" if met else "MISSED"
    sizes = f"{point.start:>8,} → {point.bytes:>8,} B"
    return f"{goal.task:<13} {verdict:<8} {sizes}{loss}, {point.sqnr:.1f} dB; goal {limit}{points}"


def lossless_line(row: Any) -> str:
    """What costs no bit, on one line of text."""
    verdict = "reached" if row.reached else "MISSED"
    sizes = f"{row.start:>8,} → {row.bytes:>8,} B, {row.macs:,} MACs"
    return f"{'vww':<13} {verdict:<8} {sizes}, {row.same} of {row.inputs} outputs identical; lossless"


def point_line(point: Any) -> str:
    """A point of a curve on one line of text."""
    accuracy = "" if point.accuracy is None else f"  {point.accuracy:.2f} % of {point.before:.2f} %"
    return f"{point.task:<13} {point.recipe:<14} {point.bytes:>8,} B of {point.start:,}  {point.sqnr:5.1f} dB{accuracy}"


def write(path: Path, found: Mapping[str, Any]) -> None:
    """The page, and beside it its data and its picture."""
    data, picture = path.with_suffix(".json"), path.with_suffix(".svg")
    data.write_text(json.dumps(found, indent=1) + "\n")
    path.write_text("\n".join(_lines(found, data.name, picture.name)) + "\n")
    if found["curves"]:
        draw(found["curves"], picture)


def _lines(found: Mapping[str, Any], data: str, picture: str) -> Iterator[str]:
    yield HEAD.format(target=found["target"], seeds=found["seeds"])
    yield "| model | data | int8 | goal | reached | all | accuracy: int8, compressed | lost | SQNR | recipe | |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|---|---|"
    if found["lossless"] is not None:
        yield _lossless(found["lossless"])
    for row in found["goals"]:
        yield _row(row)
    cores = sorted({core for row in found["goals"] for core in row["proven"]})
    if cores:
        yield f"\nEvery program of the table gave the reference's bits on the host and under QEMU: {', '.join(cores)}."
    yield f"\n## Bytes against quality\n\n![curves]({picture})\n"
    yield f"One technique at a time, one split; the data is in [{data}]({data}).\n"
    yield "| model | technique | bytes | of int8 | flash | MACs | accuracy | lost | SQNR |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|"
    for p in found["curves"]:
        lost = None if p["before"] is None else p["before"] - p["accuracy"]
        share = p["bytes"] / p["start"]
        yield (
            f"| {p['task']} | `--{p['recipe']}` | {p['bytes']:,} | {share:.2f} | {p['flash']:,} | {p['macs']:,} "
            f"| {_percent(p['accuracy'])} | {_percent(lost)} | {p['sqnr']:.1f} |"
        )


def _lossless(row: Mapping[str, Any]) -> str:
    macs = f"{row['macs']:,} MACs of convolutions, at most 3,810,000"
    outputs = f"{row['same']} of {row['inputs']} outputs identical"
    verdict = "reached" if row["reached"] else "**missed**"
    return (
        f"| {row['model']}.tflite | its golden vectors and random inputs | {row['start']:,} | 36,000 "
        f"| **{row['bytes']:,}**; {macs} | {row['constants']:,} | {outputs} | 0 | - | none: lossless | {verdict} |"
    )


def _row(row: Mapping[str, Any]) -> str:
    goal, p = row["goal"], row["point"]
    limit = goal["bytes"] if goal["bytes"] is not None else round(p["start"] * goal["ratio"])
    points = "" if goal["points"] is None else f" at ≤ {goal['points']} points"
    lost = None if p["before"] is None else p["before"] - p["accuracy"]
    accuracy = f"{_percent(p['before'])}, {_percent(p['accuracy'])}"
    task = TASKS[goal["task"]]
    verdict = "reached" if row["reached"] else "**missed**"
    recipe = goal["recipe"]
    return (
        f"| {task.model} | {task.what} | {p['start']:,} | {limit:,}{points} | **{p['bytes']:,}** | {p['constants']:,} "
        f"| {accuracy} "
        f"| {_percent(lost)} | {p['sqnr']:.1f} dB | {recipe} | {verdict} |"
    )


def draw(points: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A picture of the curves: a field for each task, a line for each technique."""
    import matplotlib as mpl  # an extra of the benchmarks

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "tinygen"  # the same bytes each time
    import matplotlib.pyplot as plt

    tasks = list(dict.fromkeys(p["task"] for p in points))
    figure, fields = plt.subplots(1, max(len(tasks), 1), figsize=(4.2 * max(len(tasks), 1), 3.6), squeeze=False)
    for field, task in zip(fields[0], tasks, strict=False):
        mine = [p for p in points if p["task"] == task]
        for name in dict.fromkeys(p["recipe"].split()[0] for p in mine):
            line = sorted((p["bytes"] / 1024, p["accuracy"]) for p in mine if p["recipe"].split()[0] == name)
            field.plot(*zip(*line, strict=True), marker="o", markersize=3, label=name)
        field.axhline(mine[0]["before"], color="grey", linewidth=0.8, linestyle="--")
        field.axvline(mine[0]["start"] / 1024, color="grey", linewidth=0.8, linestyle="--")
        field.set(
            title=task, xlabel="constants, KiB", ylabel="accuracy, %", ylim=(max(0, mine[0]["before"] - 30), None)
        )
        field.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
