# SPDX-License-Identifier: Apache-2.0
"""Writing files so that nothing is ever half-written."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tinygen.errors import UsageError


def check_folder(folder: Path) -> Path:
    """`folder`, if files can be written there; raises `UsageError` if a file is in the way, or may not be written.

    Commands that compute for long ask before they start.
    """
    with _saying(folder):
        if folder.is_symlink() and not folder.exists():
            raise UsageError(f"cannot write to '{folder}': it links to '{os.readlink(folder)}', which does not exist")
        there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        raise UsageError(f"cannot write to '{folder}': '{there}' is a file: name another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write to '{folder}': '{there}' may not be written to: name another folder")
    return folder


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write `files` into `folder`, under temporary names first, so that each is complete or not there at all.

    Names may have folders (``a/b.c``). A new folder appears with all its files at once; in an old one they replace
    those of the same names, in order.
    """
    new = not check_folder(folder).exists()
    base = folder.resolve().parent if new else folder
    temporary = base / f".{folder.name[:99]}-{secrets.token_hex(4)}"
    in_the_way = next((name for name in files if (folder / name).is_dir()), None)
    if in_the_way is not None:
        raise UsageError(f"cannot write '{folder / in_the_way}': there is a folder of that name; remove it")
    with _saying(folder), _parents(base):
        try:
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
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


@contextmanager
def _saying(folder: Path) -> Iterator[None]:
    """What the system refuses becomes a `UsageError` that names `folder`."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot write to '{folder}': {error.strerror or error}") from None


@contextmanager
def _parents(folder: Path) -> Iterator[None]:
    """`folder` and those above it; the new ones go away if what happens inside fails."""
    new = [place for place in (folder, *folder.absolute().parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError:
        for place in new:
            with suppress(OSError):
                place.rmdir()
        raise
