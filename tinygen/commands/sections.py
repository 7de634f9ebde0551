# SPDX-License-Identifier: Apache-2.0
"""`tinygen build --section`: which memory the arena and constants lie in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from tinygen.commands.terminal import OUT
from tinygen.errors import UsageError
from tinygen.plan.budget import parse_bytes


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


def bytes_or_auto(context: click.Context, option: click.Parameter, word: str) -> int | str:
    """The value of ``--cache-weights``."""
    return word if word in ("auto", "none") else parse_bytes(word, "--cache-weights")


def print_memories(report: Mapping[str, Any]) -> None:
    """A line for each memory, if something lies in another than the usual ones; and what its slowness costs."""
    layers = report["layers"]
    copied = [layer["copied_bytes"] for layer in layers if layer["copied_bytes"]]
    if copied:
        OUT.print(f"weights of {len(copied)} layers are copied to RAM while these run, at most {max(copied):,} bytes")
    if any(layer["waits"] for layer in layers):
        OUT.print(f"reads of constants take about {sum(layer['waits'] for layer in layers):,} cycles of waiting")
    if not any(memory["used"] for memory in report["memories"] if memory["section"]):
        return
    OUT.print("")
    for memory in report["memories"]:
        of = f" of {memory['size']:,} ({memory['used'] / memory['size']:.0%})" if memory["size"] else ""
        what = ", ".join(f"{size:,} {word}" for word, size in memory["holds"].items() if size)
        where = f", section {memory['section']}" if memory["section"] else ""
        OUT.print(f"{memory['name']}: {memory['used']:,} bytes{of}: {what or 'nothing'}{where}")
