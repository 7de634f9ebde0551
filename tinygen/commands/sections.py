# SPDX-License-Identifier: Apache-2.0
"""`tinygen build --section`: which memory the arena and constants lie in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from tinygen.commands.terminal import OUT
from tinygen.errors import UsageError


def sections_of(context: click.Context, option: click.Parameter, words: Sequence[str]) -> dict[str, str]:
    """The rules that ``--section NAME=WHERE`` gives, in order; the last part after an ``=`` is where."""
    rules: dict[str, str] = {}
    for word in words:
        name, equals, where = word.rpartition("=")
        if not (name and equals and where):
            raise UsageError(f"--section {word}: expected NAME=WHERE, such as 'conv1.*=.external' or arena=.dtcm")
        rules.pop(name, None)
        rules[name] = where
    return rules


def print_memories(report: Mapping[str, Any]) -> None:
    """A line for each memory, if something lies in another than the usual ones."""
    if not any(memory["used"] for memory in report["memories"] if memory["section"]):
        return
    OUT.print("")
    for memory in report["memories"]:
        of = f" of {memory['size']:,} ({memory['used'] / memory['size']:.0%})" if memory["size"] else ""
        what = ", ".join(f"{size:,} {word}" for word, size in memory["holds"].items() if size)
        where = f", section {memory['section']}" if memory["section"] else ""
        OUT.print(f"{memory['name']}: {memory['used']:,} bytes{of}: {what or 'nothing'}{where}")
