# SPDX-License-Identifier: Apache-2.0
"""Writes the output of README's budget build into README (``make docs``)."""

from __future__ import annotations

import os
import re
import shlex
import sys
import tempfile
from pathlib import Path

from click.testing import CliRunner

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
#: The commands, which `data.py` comes first of, and what the second prints.
BLOCK = re.compile(
    r"^```console\n\$ python (examples/\S+/data\.py)\n\$ (tinygen build .*)\n((?:.*\n)*?)```$", re.MULTILINE
)


def shown() -> str:
    """The output that README shows."""
    match = BLOCK.search(README.read_text(encoding="utf-8"))
    assert match, "README has no budget build"
    return match[3]


def output(folder: Path) -> str:
    """What README's budget build prints, run in `folder`."""
    from tinygen.cli import main

    match = BLOCK.search(README.read_text(encoding="utf-8"))
    assert match, "README has no budget build"
    sys.path.insert(0, str((ROOT / match[1]).parent))
    try:
        from data import write  # type: ignore[import-not-found]  # an example is no package
    finally:
        sys.path.pop(0)
    write(folder)
    words = [str(ROOT / word) if word.startswith("examples/") else word for word in shlex.split(match[2])[1:]]
    before = Path.cwd()
    os.chdir(folder)
    try:
        result = CliRunner().invoke(main, words)
    finally:
        os.chdir(before)
    assert result.exit_code == 0, result.output
    return "".join(f"{line.rstrip()}\n" for line in result.stdout.splitlines())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        made = output(Path(temporary))
    text = README.read_text(encoding="utf-8")
    match = BLOCK.search(text)
    assert match
    README.write_text(text[: match.start(3)] + made + text[match.end(3) :], encoding="utf-8")
