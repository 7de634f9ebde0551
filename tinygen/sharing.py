# SPDX-License-Identifier: Apache-2.0
"""Several models → one C file for a firmware in which they never run at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygen import api
from tinygen.assembly import Build
from tinygen.emit.shared import emit_shared
from tinygen.errors import UsageError
from tinygen.files import write_files
from tinygen.provenance import symbol


@dataclass(frozen=True)
class Shared:
    """What one build of several models produced; `builds` are those of each by itself, with its own arena."""

    name: str
    builds: tuple[Build, ...]
    files: Mapping[str, bytes]
    report: Mapping[str, Any]

    def write(self, folder: str | Path) -> Path:
        """Write all files into `folder` (made if need be), each complete or not at all; returns the folder."""
        return write_files(Path(folder), self.files)


def build_shared(models: Sequence[str | Path], name: str | None = None, **options: Any) -> Shared:
    """Compile `models` into ``<name>.c``, with a header for each and one for the arena that they share.

    Each model is built as `tinygen.build` does with `options`, and has to fit the budget by itself. `name` begins what
    they have in common (default: the names of all models, joined).
    """
    builds = [api.build(model, **options) for model in models]
    names = [build.name for build in builds]
    common = symbol(name if name is not None else "_".join(names), given=name is not None)
    if len({*names, common}) <= len(names):
        raise UsageError(
            f"models called {', '.join(names)} cannot share a C file: rename files so that all names differ"
        )
    lines = [build.report["command"] for build in builds]
    texts = emit_shared(common, [(build.program, build.plan) for build in builds], lines)
    reports = [dict(build.report) for build in builds]
    arena = max(build.plan.bytes for build in builds)
    told = {"schema": reports[0]["schema"], "name": common, "arena": arena, "models": reports}
    files = {file: text.encode() for file, text in texts.items()}
    files |= {f"{build.name}.tgm": build.files[f"{build.name}.tgm"] for build in builds}
    files["report.json"] = (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode()
    return Shared(common, tuple(builds), files, told)
