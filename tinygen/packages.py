# SPDX-License-Identifier: Apache-2.0
"""The generated C as a library of the usual build systems: the files that each of them wants beside it.

A kind of package is a folder in ``templates/package``: every file below it becomes a file of the build, with
``__name__`` in its path replaced by the model's name. All kinds can stand in one folder.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tinygen.emit.render import environment, named
from tinygen.errors import UsageError
from tinygen.resources import below, templates


def kinds() -> tuple[str, ...]:
    """The names of all kinds of packages."""
    return tuple(sorted(entry.name for entry in templates().joinpath("package").iterdir() if entry.is_dir()))


def check_kinds(asked: Collection[str]) -> tuple[str, ...]:
    """`asked` in order, each once, ``all`` as all of them; `UsageError` for a kind that does not exist."""
    for kind in asked:
        if kind != "all" and kind not in kinds():
            raise UsageError(f"--package {kind}: expected one of {', '.join(kinds())} or all")
    return kinds() if "all" in asked else tuple(sorted(set(asked)))


@dataclass(frozen=True)
class Titled:
    """A step; `title` is its operator and name as a C string."""

    title: str


@dataclass(frozen=True)
class Tap:
    """An output of a step in the arena; `name` is the tensor's as a C string."""

    step: int
    offset: int
    bytes: int
    name: str


def package_files(kind: str, report: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of package `kind` for the build that `report` (report.json) describes, by path (with ``/``)."""
    name, layers = report["model"]["name"], report["layers"]
    outputs = [(layer["step"], output) for layer in layers for output in layer["outputs"]]
    context = {
        **named(name),
        "level": report["flash"]["optimization"],
        "step_count": len(layers),
        "steps": [Titled(c_string(f"{layer['op']} {layer['name']}")) for layer in layers],
        "taps": [Tap(step, o["offset"], o["bytes"], c_string(o["name"])) for step, o in outputs],
    }
    made = {}
    for path in below(templates(), f"package/{kind}"):
        text = environment().get_template(f"package/{kind}/{path}").render(context)
        made[path.removesuffix(".j2").replace("__name__", name)] = text.encode()
    return made


def c_string(words: str) -> str:
    """`words` as a C string literal of printable ASCII; whatever else there is becomes a question mark."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in words)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"').replace("?", "\\?") + '"'
