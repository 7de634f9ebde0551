# SPDX-License-Identifier: Apache-2.0
"""Writing files so that nothing is ever half-written."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from tinygen.errors import UsageError


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write `files` into `folder`, under temporary names first, so that each is complete or not there at all.

    Names may have folders (``a/b.c``). A new folder appears with all its files at once; in an old one they replace
    those of the same names, in order.
    """
    new = not folder.exists()
    base = folder.resolve().parent if new else folder
    temporary = base / f".{folder.name}-{secrets.token_hex(4)}"
    in_the_way = next((name for name in files if (folder / name).is_dir()), None)
    if in_the_way is not None:
        raise UsageError(f"cannot write '{folder / in_the_way}': there is a folder of that name; remove it")
    try:
        base.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        for name, data in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_bytes(data)
        if new:
            temporary.rename(folder)
        else:
            for name in files:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(temporary / name, folder / name)
    except OSError as error:
        raise UsageError(f"cannot write to '{folder}': {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder
