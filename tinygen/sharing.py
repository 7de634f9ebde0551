# SPDX-License-Identifier: Apache-2.0
"""Several models → one C file for a firmware in which they never run at once."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygen import api, toolchain
from tinygen.assembly import Build
from tinygen.emit.shared import emit_shared
from tinygen.errors import BudgetError, UsageError
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
    for build in builds:
        for one in build.memories:
            if one.section and one.holds.get("constants"):
                raise BudgetError(
                    f"'{build.name}' fits {build.target.name} only with constants in memory '{one.name}', which "
                    "several models in one C file cannot use: build them one by one"
                )
    names = [build.name for build in builds]
    common = symbol(name if name is not None else "_".join(names), given=name is not None)
    if len({*names, common}) <= len(names):
        raise UsageError(
            f"models called {', '.join(names)} cannot share a C file: rename files so that all names differ"
        )
    lines = [build.report["command"] for build in builds]
    texts = emit_shared(common, [(build.program, build.plan) for build in builds], lines)
    arena = max(build.plan.bytes for build in builds)
    told = {
        "schema": builds[0].report["schema"],
        "name": common,
        "arena": arena,
        "files": {file: hashlib.sha256(text.encode()).hexdigest() for file, text in sorted(texts.items())},
        **_needs(common, texts, builds, arena),
        "models": [dict(build.report) for build in builds],
    }
    files = {file: text.encode() for file, text in texts.items()}
    files |= {f"{build.name}.tgm": build.files[f"{build.name}.tgm"] for build in builds}
    files["report.json"] = (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode()
    return Shared(common, tuple(builds), files, told)


def _needs(name: str, texts: Mapping[str, str], builds: Sequence[Build], arena: int) -> dict[str, Any]:
    """``ram`` and ``flash`` of all models in one file, and ``apart``: the sums of what each takes by itself.

    Flash is measured in a linked firmware that calls all of them; without a compiler its bytes are None.
    """
    target, single = builds[0].target, [build.report for build in builds]
    opt, models = single[0]["flash"]["optimization"], [build.name for build in builds]
    stacks = [report["ram"]["stack"] for report in single]
    stack, size = max(stacks) if None not in stacks else None, None
    if all(report["flash"]["measured"] for report in single):
        with tempfile.TemporaryDirectory() as folder:
            for file, text in texts.items():
                (Path(folder) / file).write_text(text, encoding="utf-8")
            size = toolchain.flash_size(Path(folder), name, target, opt, models=models)
            stack = max(toolchain.stack_usage(Path(folder), name, target, opt, model).bytes for model in models)
    constants = None if size is None else size.constants + size.data
    return {
        "ram": {"total": arena + (stack or 0), "arena": arena, "stack": stack},
        "flash": {
            "total": None if size is None or constants is None else size.code + constants,
            "code": None if size is None else size.code,
            "constants": constants,
            "optimization": opt,
        },
        "apart": {"arena": sum(b.plan.bytes for b in builds), "flash": sum(r["flash"]["total"] for r in single)},
    }
