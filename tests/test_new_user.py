# SPDX-License-Identifier: Apache-2.0
"""What a new user does works, from the wheel, in an empty environment."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LICENCE = "SPDX-License-Identifier: Apache-2.0"
MISSING = [tool for tool in ("arm-none-eabi-gcc", "qemu-system-arm", "make") if shutil.which(tool) is None]


@pytest.mark.slow
@pytest.mark.qemu
@pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} is missing")
@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="pip is missing")
def test_a_new_user() -> None:
    done = subprocess.run([sys.executable, "-m", "scripts.new_user"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "24 test cases: 24 succeeded" in done.stdout and "make and cmake programs run" in done.stdout


def test_every_source_says_its_licence() -> None:
    """In its first line: all Python, and the C that is no template."""
    python = [p for f in ("tinygen", "tests", "scripts", "benchmarks", "examples") for p in (ROOT / f).rglob("*.py")]
    c = [p for f in ("templates", "examples") for end in ("c", "h") for p in (ROOT / f).rglob(f"*.{end}")]
    heads = {**dict.fromkeys(python, "# {}\n"), **dict.fromkeys(c, "/* {} */\n")}
    lacking = [p for p, head in heads.items() if not p.read_text(encoding="utf-8").startswith(head.format(LICENCE))]
    assert python and c and not lacking, [str(p.relative_to(ROOT)) for p in lacking]
