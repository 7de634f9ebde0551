# SPDX-License-Identifier: Apache-2.0
"""Keras models (.keras, .h5) and SavedModel folders → float TFLite, by TensorFlow in a process of its own.

TensorFlow is an optional dependency, takes seconds to import and writes to stderr as it pleases; the process keeps all
of that away. What it writes is read as any TFLite file.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tinygen.errors import ModelError, ToolError, UnsupportedError, UsageError

#: Endings of files, what such a file begins with, and what a SavedModel folder holds.
_BEGINNINGS = {".keras": b"PK\x03\x04", ".h5": b"\x89HDF", ".hdf5": b"\x89HDF"}
SAVED_MODEL = "saved_model.pb"
#: Seconds that a conversion may take.
TIMEOUT = 600
_ERRORS = {2: UsageError, 3: ModelError, 4: UnsupportedError}


@dataclass(frozen=True)
class Converted:
    """The content of a TFLite file, and a line for each thing that was decided for the user."""

    data: bytes
    notes: tuple[str, ...]


def is_keras(path: Path) -> bool:
    """Whether `path` is a Keras file or a SavedModel folder, by its name and what lies in it."""
    try:
        if path.is_dir():
            return (path / SAVED_MODEL).is_file()
        if path.suffix not in _BEGINNINGS or not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(4) == _BEGINNINGS[path.suffix]
    except (OSError, ValueError):  # who reads it next says why it cannot be read
        return False


def format_of(path: Path) -> str:
    return "savedmodel" if path.is_dir() else "keras"


def fingerprint(path: Path) -> str:
    """The SHA-256 of the file, or of the names and contents of all files in the folder."""
    digest = hashlib.sha256()
    for file in _files(path):
        if path.is_dir():
            digest.update(str(file.relative_to(path)).encode(errors="replace") + b"\0")
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    yield from sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def convert(path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Converted:
    """The model in `path` as float TFLite. `shapes` fixes the dynamic dimensions of inputs, by name.

    Raises `ToolError` if TensorFlow is not installed, `ModelError` if it cannot read the model, `UnsupportedError` if a
    dimension stays open or it cannot convert the model.
    """
    if find_spec("tensorflow") is None:
        raise ToolError(
            f"{path.name} is a {_NAMES[format_of(path)]}, which TensorFlow has to convert, and TensorFlow is not "
            "installed: pip install 'tinygen[train]'"
        )
    return _convert(path.resolve(), json.dumps(dict(shapes or {})), fingerprint(path))


_NAMES = {"keras": "Keras model", "savedmodel": "SavedModel folder"}


@cache
def _convert(path: Path, shapes: str, content: str) -> Converted:
    """`convert`, once for the same `content`."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONWARNINGS": "ignore"}
    env = {**os.environ, **quiet, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)}
    with tempfile.TemporaryDirectory(prefix="tinygen-") as folder:
        out = Path(folder) / "model.tflite"
        command = [sys.executable, "-m", "tinygen.frontends.keras_worker", str(path), str(out), shapes]
        try:
            done = subprocess.run(command, cwd=folder, env=env, capture_output=True, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            raise ToolError(f"{path.name}: TensorFlow took more than {TIMEOUT} seconds to convert it") from None
        told = _told(done.stdout)
        if done.returncode in _ERRORS and told:
            raise _ERRORS[done.returncode](f"{path.name}: {told[0]}")
        if done.returncode or not out.is_file():
            raise ToolError(f"{path.name}: TensorFlow ended with exit code {done.returncode} and no model")
        return Converted(out.read_bytes(), tuple(told))


def _told(output: bytes) -> list[str]:
    """The lines in JSON that end the output; none if the process ended before it wrote them."""
    try:
        return [str(line) for line in json.loads(output.decode(errors="replace").splitlines()[-1])]
    except (ValueError, IndexError, TypeError):
        return []
