# SPDX-License-Identifier: Apache-2.0
"""PlatformIO builds and tests what was generated, offline, on six emulated machines; and notices what is wrong."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tinygen
from tests.pio import offline, pio
from tinygen import platformio
from tinygen.cli import main
from tinygen.errors import UsageError
from tinygen.files import write_files

pytest.importorskip("platformio", reason="platformio is missing")
pytest.importorskip("SCons", reason="scons is missing")

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is missing"),
    pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is missing"),
]

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "examples" / "digits" / "digits.tflite"


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tinygen.build(DIGITS, "cortex-m4").write(tmp_path_factory.mktemp("build") / "digits")


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory, build: Path) -> dict[str, str]:
    return offline(tmp_path_factory.mktemp("core"), build)


@pytest.fixture
def project(tmp_path: Path, build: Path) -> Path:
    return write_files(tmp_path / "project", platformio.project(build, vectors=2))


def test_all_machines_pass(project: Path, core: dict[str, str]) -> None:
    done = pio(project, core, "test", "--json-output-path", str(project / "results.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    suites = json.loads((project / "results.json").read_text())["test_suites"]
    passed = {s["env_name"] for s in suites if s["status"] == "PASSED" and len(s["test_cases"]) == 2}
    assert passed == {"qemu_m0", "qemu_m3", "qemu_m4", "qemu_m7", "qemu_m33", "qemu_m55"}


def test_the_firmware_runs_and_counts_instructions(project: Path, core: dict[str, str], build: Path) -> None:
    done = pio(project, core, "run", "-e", "qemu_m4", "-t", "upload")
    assert done.returncode == 0, done.stdout + done.stderr
    counted = int(re.search(r"^(\d+) instructions$", done.stdout, re.MULTILINE)[1])  # type: ignore[index]
    # The project compiles at -O2, as the measurement does; a few instructions go to the call.
    expected = sum(layer.instructions for layer in tinygen.profile(build).layers)
    assert counted == pytest.approx(expected, rel=0.05)
    zero = [np.full((1, 8, 8, 1), -128, np.int8)]
    (answer,) = tinygen.running.run_on(build, [zero], "reference")[0]
    assert re.search(r"^output 0:(.*)$", done.stdout, re.MULTILINE)[1].split() == [str(v) for v in answer.ravel()]  # type: ignore[index]


def broken(project: Path, core: dict[str, str], main_c: str) -> str:
    """What `pio test` says of a test that consists of `main_c`: it has to fail."""
    (project / "test" / "test_vectors" / "main.c").write_text(main_c)
    ini = project / "platformio.ini"
    ini.write_text(ini.read_text().replace("custom_timeout = 60", "custom_timeout = 2"))
    done = pio(project, core, "test", "-e", "qemu_m4")
    assert done.returncode != 0, done.stdout
    return done.stdout + done.stderr


def test_a_wrong_vector_fails(project: Path, core: dict[str, str]) -> None:
    header = project / "test" / "test_vectors" / "vectors.h"
    head, _, last = header.read_text().rpartition("output_0[VECTORS][10] = {\n    {\n        ")
    byte, _, rest = last.partition(",")
    header.write_text(f"{head}output_0[VECTORS][10] = {{\n    {{\n        {int(byte) ^ 1},{rest}")
    said = broken(project, core, (project / "test" / "test_vectors" / "main.c").read_text())
    assert f"vector 0, output 0: byte 0 is {byte}, expected {int(byte) ^ 1}" in said
    assert "PASS vector 1" in said


def test_a_hang_fails(project: Path, core: dict[str, str]) -> None:
    assert "has not ended after 2 seconds" in broken(project, core, "int main(void)\n{\n    for (;;) {\n    }\n}\n")


def test_a_fault_fails(project: Path, core: dict[str, str]) -> None:
    fault = (
        '#include <stdio.h>\nint main(void)\n{\n    puts("PASS before");\n    return *(volatile int *)0xF0000000u;\n}\n'
    )
    assert "ended with code 107" in broken(project, core, fault)


def test_silence_fails(project: Path, core: dict[str, str]) -> None:
    assert "no test has run" in broken(project, core, "int main(void)\n{\n    return 0;\n}\n")


def test_the_command(build: Path, tmp_path: Path) -> None:
    goal = tmp_path / "made"
    words = ["platformio", str(build), "--out", str(goal)]
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == 0, done.output
    assert all((goal / name).is_file() for name in json.loads(done.output)["files"])
    again = CliRunner().invoke(main, words)
    assert again.exit_code == 2 and "is there already" in again.output


def test_too_many_vectors_are_refused(build: Path) -> None:
    with pytest.raises(UsageError, match="fits no emulated cortex-m55"):
        platformio.project(build, vectors=9000)
