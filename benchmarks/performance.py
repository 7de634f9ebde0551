# SPDX-License-Identifier: Apache-2.0
"""Measures and profiles on every core, and remakes docs/performance.md (``make performance``)."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.performance_page import page
from benchmarks.speed import CORES, FAMILIES, MODELS, codes, measure, show, verdicts
from tests import zoo
from tinygen.errors import TinygenError

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"


def main() -> int:
    if not zoo.PRESENT:
        print(zoo.ABSENT, file=sys.stderr)
        return 2
    try:
        speeds, sizes = [measure(model, core, "gcc") for core in CORES for model in MODELS], codes(list(FAMILIES))
        PAGE.write_text(page(speeds, sizes), encoding="utf-8")
    except TinygenError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    show(speeds, sizes)
    return 0 if all(v.ok for v in verdicts(speeds, sizes)) else 1


if __name__ == "__main__":
    sys.exit(main())
