# SPDX-License-Identifier: Apache-2.0
"""Measures and profiles on every core, and remakes docs/performance.md (``make performance``)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.command import on_the_zoo
from benchmarks.performance_page import page
from benchmarks.speed import CORES, FAMILIES, MODELS, codes, measure, show, verdicts

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"


def main() -> int:
    return on_the_zoo(argparse.ArgumentParser(description=__doc__), None, measured)


def measured(options: argparse.Namespace) -> bool:
    """Write the page and print the tables; whether every goal is met."""
    speeds, sizes = [measure(model, core, "gcc") for core in CORES for model in MODELS], codes(list(FAMILIES))
    PAGE.write_text(page(speeds, sizes), encoding="utf-8")
    show(speeds, sizes)
    return all(v.ok for v in verdicts(speeds, sizes))


if __name__ == "__main__":
    sys.exit(main())
