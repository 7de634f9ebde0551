# SPDX-License-Identifier: Apache-2.0
"""Several models in one C file, verified as one: in each run they take turns in the arena that they share.

A file around theirs (``templates/harness/turns.*``) copies the inputs of all models from before the arena, runs one
after the other, and copies what each leaves. To the harness that is a single model with all inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinygen.emit.render import named
from tinygen.ir.graph import Graph
from tinygen.verify import harness
from tinygen.verify.build_dir import BuildDir, Place, SharedDir


@dataclass(frozen=True)
class Port:
    """An input or output of the whole: its number there and among the model's `own`, and where it is staged."""

    kind: str
    index: int
    own: int
    bytes: int
    offset: int

    @property
    def KIND(self) -> str:
        return self.kind.upper()


def joined(graphs: Sequence[Graph], name: str = "joined") -> Graph:
    """All `graphs` side by side in one, with all their inputs and outputs; names begin with a graph's number."""

    def renamed(names: Sequence[str], index: int) -> tuple[str, ...]:
        return tuple(f"{index}:{n}" if n else n for n in names)

    parts = list(enumerate(graphs))
    return replace(
        graphs[0],
        name=name,
        inputs=tuple(n for i, g in parts for n in renamed(g.inputs, i)),
        outputs=tuple(n for i, g in parts for n in renamed(g.outputs, i)),
        types={f"{i}:{n}": t for i, g in parts for n, t in g.types.items()},
        constants={f"{i}:{n}": c for i, g in parts for n, c in g.constants.items()},
        storage={f"{i}:{n}": form for i, g in parts for n, form in g.storage.items()},
        nodes=tuple(
            replace(node, name=f"{i}:{node.name}", inputs=renamed(node.inputs, i), outputs=renamed(node.outputs, i))
            for i, g in parts
            for node in g.nodes
        ),
    )


def in_turn(shared: SharedDir, folder: Path) -> BuildDir:
    """The models of `shared` as one build, whose files are written into `folder`."""
    name = f"{shared.name}_in_turn"
    inputs = [(i, own, place) for i, one in enumerate(shared.models) for own, place in enumerate(one.inputs)]
    outputs = [(i, own, place) for i, one in enumerate(shared.models) for own, place in enumerate(one.outputs)]
    ports = list(_ports(inputs, outputs))
    staged = ports[-1].offset + -(-ports[-1].bytes // 8) * 8
    owners = [i for i, _, _ in (*inputs, *outputs)]
    models = [
        {
            "name": one.name,
            "inputs": [p for p, owner in zip(ports, owners, strict=True) if (p.kind, owner) == ("input", i)],
            "outputs": [p for p, owner in zip(ports, owners, strict=True) if (p.kind, owner) == ("output", i)],
        }
        for i, one in enumerate(shared.models)
    ]
    context: dict[str, Any] = {
        **named(name),
        "common": shared.name,
        "COMMON": shared.name.upper(),
        "staged": staged,
        "ports": ports,
        "models": models,
    }
    for kind in "hc":
        harness.render(folder, f"turns.{kind}", context)
        (folder / f"turns.{kind}").rename(folder / f"{name}.{kind}")
    for file in shared.files:
        (folder / file).write_bytes((shared.path / file).read_bytes())
    return BuildDir(
        path=folder,
        name=name,
        report=_report(shared.report),
        arena=staged + int(shared.report["arena"]),
        inputs=tuple(replace(place, name=f"{i}:{place.name}") for i, _, place in inputs),
        outputs=tuple(replace(place, name=f"{i}:{place.name}") for i, _, place in outputs),
        steps=(),
        modified=shared.modified,
    )


def _ports(inputs: Sequence[tuple[int, int, Place]], outputs: Sequence[tuple[int, int, Place]]) -> Iterator[Port]:
    at = 0
    for kind, places in (("input", inputs), ("output", outputs)):
        for index, (_, own, place) in enumerate(places):
            yield Port(kind, index, own, place.type.bytes, at)
            at += -(-place.type.bytes // 8) * 8


def _report(report: Mapping[str, Any]) -> dict[str, Any]:
    """What the harness asks of a report."""
    return {
        "target": report["models"][0]["target"],
        "inputs": [],
        "layers": [],
        **{key: report[key] for key in ("ram", "flash")},
    }
