# SPDX-License-Identifier: Apache-2.0
"""What a search leaves in a folder: the frontier as data and as a picture, and a recipe for each of its candidates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinygen.compress.recipe import dumps
from tinygen.files import write_files
from tinygen.search.base import Candidate, Found
from tinygen.search.energy import microjoules, seconds
from tinygen.search.picture import picture
from tinygen.target import Target
from tinygen.version import VERSION

#: The version of frontier.json; changes when a field changes its meaning or goes away.
SCHEMA = 1


def save(found: Found, folder: Path, model: str, target: Target) -> Path:
    """Write frontier.json, frontier.svg and the recipes 00.toml, 01.toml, … into `folder`; returns it."""
    recipes = {_name(i): dumps(c.recipe) for i, c in enumerate(found.frontier) if c.recipe["technique"]}
    texts = {
        "frontier.json": json.dumps(_frontier(found, model, target), indent=1, ensure_ascii=False) + "\n",
        "frontier.svg": picture(found, f"{model} on {target.name}"),
        **recipes,
    }
    return write_files(folder, {name: text.encode() for name, text in texts.items()})


def _name(index: int) -> str:
    return f"{index:02}.toml"


def _frontier(found: Found, model: str, target: Target) -> dict[str, Any]:
    content = found.as_dict()
    return {
        "schema": SCHEMA,
        "tool": {"name": "tinygen", "version": VERSION},
        "model": model,
        "target": target.name,
        **{key: content[key] for key in ("goal", "fits", "effort")},
        "start": estimated(found.start, target),
        "candidate": estimated(found.candidate, target),
        "frontier": [
            {"file": _name(i) if c.recipe["technique"] else None, **estimated(c, target)}
            for i, c in enumerate(found.frontier)
        ],
        "judged": [estimated(c, target) for c in found.judged],
    }


def as_report(found: Found) -> dict[str, Any]:
    """The section of report.json on a search: what was asked, and the candidates of the frontier."""
    content = found.as_dict()
    keys = "effort", "goal", "start", "candidate", "frontier"
    return {**{key: content[key] for key in keys}, "judged": len(found.judged)}


def estimated(candidate: Candidate, target: Target) -> Mapping[str, Any]:
    """A candidate as JSON values, with its estimated time and energy on `target` (None where they are not known)."""
    count = candidate.cost.instructions
    return {**candidate.as_dict(), "seconds": seconds(target, count), "microjoules": microjoules(target, count)}
