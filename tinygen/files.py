"""Writing files so that nothing is ever half-written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tinygen.errors import UsageError


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write `files` into `folder`: all are written beside it first, then moved into place one by one."""
    parent = folder.resolve().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=parent))
    except OSError as error:
        raise UsageError(f"cannot write to '{folder}': {error.strerror or error}") from None
    try:
        for name, data in files.items():
            (temporary / name).write_bytes(data)
        folder.mkdir(exist_ok=True)
        for name in files:
            os.replace(temporary / name, folder / name)
    except OSError as error:
        raise UsageError(f"cannot write to '{folder}': {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder
