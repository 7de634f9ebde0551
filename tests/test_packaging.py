# SPDX-License-Identifier: Apache-2.0
"""What is in the wheel, and that it works from there."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tinygen.version import VERSION

pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is missing")

ROOT = Path(__file__).parents[1]

#: What each folder of the checkout is called in the wheel.
FOLDERS = {"tinygen": "tinygen", "templates": "tinygen/_data/templates", "targets": "tinygen/_data/targets"}


def build(kind: str, root: Path, out: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(out)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


def checkout() -> set[str]:
    """The files of the checkout that belong in the wheel, by their names there."""
    found = set()
    for folder, packaged in FOLDERS.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                found.add(f"{packaged}/{path.relative_to(ROOT / folder).as_posix()}")
    return found


def contents(wheel: Path) -> set[str]:
    names = zipfile.ZipFile(wheel).namelist()
    return {name for name in names if not name.startswith(f"tinygen-{VERSION}.dist-info/")}


def test_the_wheel_holds_the_checkout(wheel: Path) -> None:
    assert contents(wheel) == checkout()
    assert any(name.endswith(".c.j2") for name in contents(wheel))
    assert "tinygen/_data/targets/cores/cortex-m4.toml" in contents(wheel)


def test_the_source_distribution_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    archive = build("sdist", ROOT, tmp_path / "sdist")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "source")  # our own archive
    (source,) = (tmp_path / "source").iterdir()
    again = build("wheel", source, tmp_path / "wheel")
    assert contents(again) == contents(wheel)


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = f"tinygen-{VERSION}.dist-info"
        metadata = archive.read(f"{info}/METADATA").decode()
        assert "License-Expression: Apache-2.0" in metadata
        assert "Apache License" in archive.read(f"{info}/licenses/LICENSE").decode()
        assert "tinygen = tinygen.cli:main" in archive.read(f"{info}/entry_points.txt").decode()


def test_data_is_found_inside_a_zip(wheel: Path, tmp_path: Path) -> None:
    code = (
        "import tinygen, tinygen.target, tinygen.resources as r\n"
        "print(tinygen.__file__, len(tinygen.target.all_targets()))\n"
        "print(len(r.read_text(r.templates(), 'model.h.j2')), r.template_loader().load_func('none.j2'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(wheel)!r})\n{code}"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    first, second = done.stdout.splitlines()
    files = checkout()
    assert first == f"{wheel}/tinygen/__init__.py {sum(name.endswith('.toml') for name in files)}"
    assert second == f"{len((ROOT / 'templates/model.h.j2').read_text())} None"


def test_the_citation_names_this_version() -> None:
    assert f"\nversion: {VERSION}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
