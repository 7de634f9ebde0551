# SPDX-License-Identifier: Apache-2.0
"""Does what a new user would: installs the wheel into an empty environment, builds the example, and puts it to use.

    python -m scripts.new_user                     # with this Python
    python -m scripts.new_user python3.10 python3.13

For each Python: the wheel and its dependencies in an environment of their own; `tinygen build` with all packages and
`tinygen verify`; a PlatformIO project whose tests run on six emulated machines; a program built with make, and one with
CMake, linked and run. Ends with the first command that fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "examples" / "digits" / "digits.tflite"
QUIET = {"PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no", "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true"}

MAKEFILE = """\
include ../digits/digits.mk
program: main.c $(DIGITS_SRCS)
\t$(CC) -std=c99 -Wall -Werror $(DIGITS_CFLAGS) -o $@ $^
"""
CMAKELISTS = """\
cmake_minimum_required(VERSION 3.13)
project(program C)
find_package(digits CONFIG REQUIRED PATHS ${CMAKE_CURRENT_SOURCE_DIR}/../digits)
add_executable(program main.c)
target_link_libraries(program PRIVATE tinygen::digits)
"""


def run(words: Sequence[str | Path], folder: Path, environment: dict[str, str]) -> str:
    """What a command says; ends this program if it fails."""
    done = subprocess.run(list(words), cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))} failed with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def wheel(folder: Path) -> Path:
    """The wheel of this checkout, built by pip."""
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps", ROOT, "-w", folder]
    run(build, folder, dict(os.environ))
    (found,) = folder.glob("*.whl")
    return found


def use(python: str, package: Path, folder: Path) -> str:
    """Install `package` with `python` in `folder` and use it; returns a line on what was done."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    run([python, "-m", "venv", folder / "env"], folder, clean)
    tools = folder / "env" / "bin"
    core = {"PLATFORMIO_CORE_DIR": str(folder / "core"), **QUIET}
    environment = {**clean, **core, "PATH": f"{tools}{os.pathsep}{clean['PATH']}"}
    install = [tools / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    run([*install, package, "platformio", "scons", "cmake"], folder, environment)
    run([tools / "tinygen", "build", MODEL, "--package", "all"], folder, environment)
    run([tools / "tinygen", "verify", "digits"], folder, environment)
    run([tools / "tinygen", "platformio", "digits", "--out", "project"], folder, environment)
    run([tools / "python", folder / "project" / "platform" / "tools" / "offline.py"], folder, environment)
    tested = run([tools / "pio", "test", "-d", folder / "project"], folder, environment)
    built = [_built(way, folder, environment) for way in ("make", "cmake")]
    version = run([tools / "python", "--version"], folder, environment).strip()
    passed = [line for line in tested.splitlines() if "test cases" in line]
    return f"{version}: built, verified; {passed[-1].strip(' =')} in PlatformIO; {' and '.join(built)} programs run"


def _built(way: str, folder: Path, environment: dict[str, str]) -> str:
    """Build the program that compares known answers by make or CMake, and run it."""
    place = folder / way
    place.mkdir()
    for file in (folder / "project" / "test" / "test_vectors").iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    if way == "make":
        (place / "Makefile").write_text(MAKEFILE)
        run(["make", "program"], place, environment)
    else:
        (place / "CMakeLists.txt").write_text(CMAKELISTS)
        run(["cmake", "-S", ".", "-B", "."], place, environment)
        run(["cmake", "--build", "."], place, environment)
    said = run([place / "program"], place, environment)
    if "PASS" not in said or "FAIL" in said:
        sys.exit(f"the program built by {way} says:\n{said}")
    return way


def main() -> None:
    """Use the wheel with each Python that is named, or this one."""
    with tempfile.TemporaryDirectory(prefix="tinygen-user-") as temporary:
        package = wheel(Path(temporary))
        for number, python in enumerate(sys.argv[1:] or [sys.executable]):
            folder = Path(temporary) / str(number)
            folder.mkdir()
            print(use(python, package, folder), flush=True)


if __name__ == "__main__":
    main()
