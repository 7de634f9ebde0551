# SPDX-License-Identifier: Apache-2.0
"""Where templates and targets lie: inside the installed package, or beside it in a checkout.

The only module that knows. Works from a wheel, an editable install, a bare checkout and a zip on ``sys.path``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import FunctionLoader

from tinygen.errors import ToolError

if TYPE_CHECKING:
    if sys.version_info >= (3, 11):
        from importlib.resources.abc import Traversable
    else:
        from importlib.abc import Traversable


def templates() -> Traversable:
    """The folder of C templates."""
    return _folder("templates")


def targets() -> Traversable:
    """The folder that holds ``cores`` and ``boards``."""
    return _folder("targets")


def read_text(folder: Traversable, path: str) -> str:
    """The text of the file at `path` (with ``/``) under `folder`; `FileNotFoundError` if there is none."""
    for part in path.split("/"):
        folder = folder.joinpath(part)
    if not folder.is_file():
        raise FileNotFoundError(path)
    return folder.read_text(encoding="utf-8")


def below(folder: Traversable, path: str) -> Iterator[str]:
    """The paths of all files under `path` in `folder` (with ``/``, from `path` on), sorted."""
    for part in path.split("/"):
        folder = folder.joinpath(part)
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from (f"{entry.name}/{inner}" for inner in below(folder, entry.name))
        else:
            yield entry.name


def template_loader() -> FunctionLoader:
    """A Jinja loader over `templates()`."""

    def load(name: str) -> str | None:
        try:
            return read_text(templates(), name)
        except FileNotFoundError:
            return None

    return FunctionLoader(load)


def _folder(name: str) -> Traversable:
    packaged = files("tinygen").joinpath("_data").joinpath(name)
    if packaged.is_dir():
        return packaged
    checkout = Path(__file__).parents[1] / name
    if checkout.is_dir():
        return checkout
    raise ToolError(f"this installation of tinygen lacks its {name}: reinstall it with pip install --force-reinstall")
