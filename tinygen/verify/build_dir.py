# SPDX-License-Identifier: Apache-2.0
"""A folder that ``tinygen build`` wrote, read back: report.json, and whether the files are still those."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygen.errors import UsageError
from tinygen.ir.types import DType, Quant, TensorType

#: The version of the report's schema that this module reads.
SCHEMA = 1


@dataclass(frozen=True)
class Place:
    """A tensor in the arena: `offset` in bytes from its start."""

    name: str
    type: TensorType
    offset: int


@dataclass(frozen=True)
class BuildDir:
    """A build: its folder, the model's name (prefix of files and symbols), and the parsed report.

    `arena` is in bytes; `steps` holds the outputs of each step; `modified` names files that differ from the SHA-256 in
    the report.
    """

    path: Path
    name: str
    report: Mapping[str, Any]
    arena: int
    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]
    steps: tuple[tuple[Place, ...], ...]
    modified: tuple[str, ...]

    @property
    def pushed(self) -> bool:
        """Whether the input comes row by row."""
        return any(entry.get("rows") for entry in self.report["inputs"])

    @property
    def source(self) -> Path:
        return self.path / f"{self.name}.c"


@dataclass(frozen=True)
class SharedDir:
    """A build of several models in one C file: `models` have their own reports, but no C of their own.

    `files` lists the C, `modified` what differs from the report.
    """

    path: Path
    name: str
    report: Mapping[str, Any]
    models: tuple[BuildDir, ...]
    files: tuple[str, ...]
    modified: tuple[str, ...]


def read_build(folder: str | Path) -> BuildDir:
    """The build in `folder`; `UsageError` if report.json or a file it lists is missing or not as tinygen writes it."""
    found = read_any(folder)
    if isinstance(found, SharedDir):
        raise UsageError(f"'{folder}' holds several models in one C file: of these, only `tinygen verify` takes all")
    return found


def read_any(folder: str | Path) -> BuildDir | SharedDir:
    """As `read_build`, also of several models in one C file."""
    path = Path(folder)
    report = _read_report(path / "report.json")
    try:
        return _shared(path, report) if "models" in report else _parse(path, report)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        detail = f"{type(error).__name__}: {error}"
        raise UsageError(f"{path / 'report.json'} is not a report of tinygen ({detail}): build again") from None


def _read_report(file: Path) -> dict[str, Any]:
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"'{file.parent}' holds no report.json: expected a folder written by tinygen build") from None
    except OSError as error:
        raise UsageError(f"cannot read '{file}': {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{file} is not valid JSON ({error}): build again") from None
    if not isinstance(report, dict) or report.get("schema") != SCHEMA:
        raise UsageError(f"{file} is not a report with schema {SCHEMA}: build again with this version of tinygen")
    return report


def _shared(path: Path, report: Mapping[str, Any]) -> SharedDir:
    name = str(report["name"])
    if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
        raise ValueError(f"'{name}' is not a C identifier")
    models = tuple(_parse(path, {**one, "files": {}}) for one in report["models"])
    return SharedDir(path, name, report, models, tuple(report["files"]), _modified(path, report))


def _modified(path: Path, report: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f for f, sha256 in report["files"].items() if _sha256(path, f) != sha256)


def _parse(path: Path, report: Mapping[str, Any]) -> BuildDir:
    name, arena = str(report["model"]["name"]), int(report["ram"]["arena"])
    if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
        raise ValueError(f"'{name}' is not a C identifier")
    layers = sorted(report["layers"], key=lambda layer: int(layer["step"]))
    if [layer["step"] for layer in layers] != list(range(len(layers))):
        raise ValueError("the steps are not numbered 0, 1, …")
    return BuildDir(
        path=path,
        name=name,
        report=report,
        arena=arena,
        inputs=_places(report["inputs"], arena),
        outputs=_places(report["outputs"], arena),
        steps=tuple(_places(layer["outputs"], arena) for layer in layers),
        modified=_modified(path, report),
    )


def _places(entries: list[Mapping[str, Any]], arena: int) -> tuple[Place, ...]:
    return tuple(_place(entry, arena) for entry in entries)


def _place(entry: Mapping[str, Any], arena: int) -> Place:
    scale = entry.get("scale")
    quant = None if scale is None else Quant.per_tensor(scale, entry["zero_point"])
    shape = tuple(int(n) for n in entry["shape"])
    place = Place(entry["name"], TensorType(shape, DType(entry["dtype"]), quant), int(entry["offset"]))
    there = place.type.bytes // (entry.get("rows") or 1)
    if entry["bytes"] != place.type.bytes or not 0 <= place.offset <= arena - there:
        raise ValueError(f"tensor '{place.name}' is not {entry['bytes']} bytes inside the arena")
    return place


def _sha256(path: Path, name: str) -> str:
    if Path(name).name != name:
        raise ValueError(f"'{name}' is not the name of a file in the folder")
    try:
        return hashlib.sha256((path / name).read_bytes()).hexdigest()
    except OSError as error:
        message = f"cannot read '{path / name}', which report.json lists: {error.strerror}; build again"
        raise UsageError(message) from None
