# SPDX-License-Identifier: Apache-2.0
"""Writes docs/reference/cli.md from the command line's own help (``make docs``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from tinygen.cli import main

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"

HEAD = """\
# Commands

<!-- Made from the command line's help by `make docs`; change the help, not this page. -->
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(line for name in sorted(main.commands) for line in command(name, main.commands[name]))])


def command(name: str, found: click.Command) -> Iterator[str]:
    """The lines on one command: what it does, its arguments and options."""
    context = click.Context(found, info_name=f"tinygen {name}")
    yield f"## tinygen {name}\n"
    yield f"{found.help}\n"
    yield f"    {found.get_usage(context).removeprefix('Usage: ')}\n"
    rows = [option for option in found.params if isinstance(option, click.Option)]
    if rows:
        yield "| option | what it says |"
        yield "|---|---|"
        for option in rows:
            record = option.get_help_record(context)
            if record:
                yield "| `{}` | {} |".format(*(cell.replace("|", "\\|") for cell in record))
        yield ""


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
