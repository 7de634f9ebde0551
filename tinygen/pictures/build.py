# SPDX-License-Identifier: Apache-2.0
"""The pictures of one build, out of its report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tinygen.pictures.bars import Bar, Chart, Part, top
from tinygen.pictures.frontier import Point, Scatter
from tinygen.pictures.memory import MemoryMap
from tinygen.pictures.network import Network

Picture = Chart | MemoryMap | Network | Scatter
Report = Mapping[str, Any]

#: Rows of a picture with a bar for each layer; further layers are added up.
LAYERS = 40


@dataclass(frozen=True)
class Section:
    """A picture with the sentence above it; `name` is that of its file."""

    name: str
    picture: Picture
    words: str
    legend: tuple[tuple[str, str], ...] = field(default=())


def sections(report: Report, profile: Report | None = None) -> list[Section]:
    """The pictures that `report` (report.json) has data for. `profile` is what ``tinygen profile --json`` prints."""
    made = [_budget(report), *_memories(report), _memory(report), _flash(report)]
    if profile is not None:
        made.append(_instructions(profile))
    if report.get("quantization"):
        made.append(_quantization(report))
    if report.get("compression"):
        made.append(_compression(report))
    if report.get("search"):
        made.append(_search(report))
    return [*made, _network(report)]


def _budget(report: Report) -> Section:
    ram, flash, target = report["ram"], report["flash"], report["target"]
    rows = [
        ("RAM", (("arena", ram["arena"], "a"), ("stack", ram["stack"] or 0, "b")), target["ram"]),
        ("flash", (("constants", flash["constants"], "c"), ("code", flash["code"], "d")), target["flash"]),
    ]
    bars = tuple(_limited(name, parts, limit) for name, parts, limit in rows)
    whole = 1.0 if all(limit for *_, limit in rows) else None
    words = (
        "What the program takes of what the target has."
        if whole
        else "Bytes; the target is a core, which has no memory of its own."
    )
    legend = (("a", "arena"), ("b", "stack"), ("c", "constants"), ("d", "code"))
    return Section("budget", Chart("Budget", bars, whole), words, legend)


def _limited(name: str, parts: tuple[tuple[str, int, str], ...], limit: int | None) -> Bar:
    total = sum(value for _, value, _ in parts)
    of = f" of {limit:,}" if limit else " bytes"
    drawn = tuple(Part(value / (limit or 1), kind, f"{what}: {value:,} bytes") for what, value, kind in parts)
    return Bar(name, f"{total:,}{of}", drawn)


def _memories(report: Report) -> Iterator[Section]:
    """How full each memory is, where there are others than the usual ones."""
    memories = report.get("memories", ())
    if not any(memory["used"] for memory in memories if memory["section"]):
        return
    colours = {"arena": "a", "stack": "b", "constants": "c", "code": "d"}
    bars = tuple(
        _limited(one["name"], tuple((word, size, colours[word]) for word, size in one["holds"].items()), one["size"])
        for one in memories
    )
    whole = 1.0 if all(one["size"] for one in memories) else None
    named = [f"{one['name']} is section {one['section']}" for one in memories if one["section"] and one["used"]]
    words = f"What lies in each memory: {'; '.join(named)}."
    yield Section("memories", Chart("Memories", bars, whole), words, tuple((c, w) for w, c in colours.items()))


def _memory(report: Report) -> Section:
    steps = [layer["op"] for layer in report["layers"]]
    picture = MemoryMap("Memory over time", report["memory"], steps, report["ram"]["arena"])
    bound = report["ram"]["arena_lower_bound"]
    arena = f"{report['ram']['arena']:,}"
    words = f"Each row is a step, from left to right lie the {arena} bytes of the arena. Lower bound: {bound:,}."
    legend = (("a", "tensors"), ("d", "scratch memory of kernels"))
    return Section("memory", picture, words, legend)


def _flash(report: Report) -> Section:
    layers = [
        Bar(
            _title(layer),
            f"{layer['constant_bytes']:,}",
            (
                Part(
                    layer["constant_bytes"],
                    "c",
                    f"{_title(layer)}: {layer['constant_bytes']:,} bytes, stored {layer['form']}",
                ),
            ),
        )
        for layer in report["layers"]
        if layer["constant_bytes"]
    ]
    code = report["flash"]["code"]
    bars = (
        *top(layers, LAYERS, "further layers"),
        Bar("code", f"{code:,}", (Part(code, "d", f"code: {code:,} bytes"),)),
    )
    words = "Bytes of weights, biases and tables of each layer that has any, and the code of all."
    return Section("flash", Chart("Flash by layer", bars), words)


def _instructions(profile: Report) -> Section:
    floor = profile["floor"]
    bars = [
        Bar(
            _title(layer),
            f"{layer['instructions']:,}",
            (Part(layer["instructions"], "a", _spent(layer, floor)),),
            mark=floor * layer["macs"] if floor and layer["macs"] else None,
        )
        for layer in profile["layers"]
    ]
    words = (
        f"{profile['instructions']:,} instructions on {profile['machine']} (they are no cycles). "
        f"Red lines: what the multiplications alone would take."
    )
    return Section("instructions", Chart("Instructions by layer", top(bars, LAYERS, "further layers")), words)


def _spent(layer: Report, floor: float | None) -> str:
    spent = f"{_title(layer)}: {layer['instructions']:,} instructions, {layer['share']:.1%} of all, {layer['kernel']}"
    if not layer["macs"]:
        return spent
    least = f", at least {floor:g}" if floor else ""
    return f"{spent}, {layer['instructions'] / layer['macs']:.2f} per MAC{least}"


def _quantization(report: Report) -> Section:
    bars = tuple(
        Bar(
            f"{layer['name']} ({layer['op']})",
            f"{layer['activations']:.1f} dB",
            (Part(max(layer["activations"], 0), "b", _quality(layer)),),
        )
        for layer in report["quantization"]["layers"]
    )
    words = "Signal-to-noise ratio of each layer's outputs in int8, on the calibration samples: longer is better."
    return Section("quantization", Chart("Quantization by layer", bars), words)


def _quality(layer: Report) -> str:
    weights = "" if layer["weights"] is None else f", weights {layer['weights']:.1f} dB"
    return f"{layer['name']}: outputs {layer['activations']:.1f} dB{weights}, {layer['clipped']:.2%} beyond the range"


def _compression(report: Report) -> Section:
    lines = report["compression"]
    labelled = all(line["quality"]["accuracy"] is not None for line in lines)
    key, unit = ("accuracy", "accuracy, %") if labelled else ("agreement", "same answer as the original, %")
    points = [
        Point(
            line["flash"],
            100 * line["quality"][key],
            "c" if line is lines[-1] else "a",
            f"{line['name']}: {line['flash']:,} bytes of flash, {100 * line['quality'][key]:.2f} %",
            chosen=line is lines[-1],
        )
        for line in lines
    ]
    words = "The model before compression and after each technique: to the left is smaller, upwards is better."
    return Section("compression", Scatter("Compression", points, unit), words)


def _search(report: Report) -> Section:
    search = report["search"]
    labelled = search["start"]["quality"]["accuracy"] is not None
    key, unit = ("accuracy", "accuracy, %") if labelled else ("agreement", "same answer as the plain model, %")
    points = [
        Point(
            candidate["cost"]["flash"],
            100 * candidate["quality"][key],
            "c" if candidate == search["candidate"] else "a",
            f"{candidate['cost']['flash']:,} bytes of flash, {100 * candidate['quality'][key]:.2f} %",
            chosen=candidate == search["candidate"],
        )
        for candidate in search["frontier"]
    ]
    words = f"Of {search['judged']} candidates, those that no other beats; the ring is round the one that was chosen."
    return Section("search", Scatter("Search", points, unit, search["goal"]["flash"]), words)


def _network(report: Report) -> Section:
    inputs = [port["name"] for port in report["inputs"]]
    words = f"{len(report['layers'])} steps, {report['macs']:,} multiplications."
    return Section("network", Network("Network", inputs, report["layers"]), words)


def _title(layer: Report) -> str:
    return f"{layer['step']} {layer['op']} {layer['name']}"


def facts(report: Report) -> Iterator[tuple[str, str]]:
    """What stands at the top of the page: a word and its value."""
    flash, model = report["flash"], report["model"]
    yield "target", f"{report['target']['name']} ({report['target']['core']})"
    yield "RAM", f"{report['ram']['total']:,} bytes"
    yield "flash", f"{flash['total']:,} bytes{'' if flash['measured'] else ' (estimate)'}"
    yield "multiplications", f"{report['macs']:,}"
    yield "model", f"{model['file']}, SHA-256 {model['sha256'][:16]}…"
    if flash["compiler"]:
        yield "measured with", f"{flash['compiler']}, {flash['optimization']}"
