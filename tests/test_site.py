# SPDX-License-Identifier: Apache-2.0
"""The documentation as a site: it builds without a warning, and every command and program on its pages runs."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from scripts import cli_md, python_md
from tests import small_models
from tests.pio import offline, pio
from tests.test_docs import write_float_model
from tinygen.cli import main
from tinygen.toolchain import CFLAGS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "```sh" in page.read_text(encoding="utf-8"))
#: Commands that need what a test cannot have (a network, hours, the zoo); `make` is checked in tests/test_docs.py.
NOT_RUN = ("make", "pip", "git", "sudo", "eval")


def has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


@pytest.mark.skipif(not has("material"), reason="mkdocs-material is missing")
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "reference" / "cli.html").is_file()


def test_the_pages_of_the_reference_are_current() -> None:
    for made in (cli_md, python_md):
        assert made.PAGE.read_text(encoding="utf-8") == made.page(), "run make docs"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    lines = [line.partition(" #")[0] for block in blocks(page, "sh") for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.strip()]


def run(words: Sequence[str], folder: Path, machine: dict[str, str] | None) -> None:
    if words[0] == "tinygen":
        done = CliRunner().invoke(main, list(words[1:]))
        assert done.exit_code == 0, f"{shlex.join(words)}: {done.output}"
    elif words[0] == "pio":
        assert machine is not None
        ran = pio(folder, machine, *words[1:])
        assert ran.returncode == 0, ran.stdout + ran.stderr
    else:
        assert words[0] in NOT_RUN, f"{words[0]} is not run by any test"


def run_page(page: Path, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Run the commands of `page` in `folder`, in order; `cd` holds until the end."""
    machine = None
    patch.chdir(folder)
    for words in commands(page):
        if words[0] == "cd":
            folder = folder / words[1]
            patch.chdir(folder)
        elif words[0] == "pio":
            if not (has("platformio") and has("SCons")):
                pytest.skip("platformio or scons is missing")
            (build,) = (
                path.parent for path in [*folder.glob("*/report.json"), *folder.parent.glob("*/report.json")][:1]
            )
            machine = machine or offline(folder.parent / "pio", build)
            run(words, folder, machine)
        else:
            run(words, folder, machine)


def convolutions(file: Path) -> None:
    """The network of the PyTorch tutorial as torch exports it, with weights of no use."""
    rng = np.random.default_rng(0)
    shapes = {"w0": (8, 1, 3, 3), "b0": (8,), "w1": (16, 8, 3, 3), "b1": (16,), "w2": (10, 64), "b2": (10,)}
    weights = [
        onnx.numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    node = onnx.helper.make_node
    nodes = [
        node("Conv", ["image", "w0", "b0"], ["c0"]),
        node("Relu", ["c0"], ["r0"]),
        node("Conv", ["r0", "w1", "b1"], ["c1"], strides=[2, 2]),
        node("Relu", ["c1"], ["r1"]),
        node("Flatten", ["r1"], ["flat"]),
        node("Gemm", ["flat", "w2", "b2"], ["y"], transB=1),
    ]
    ports = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("image", [1, 1, 8, 8]), ("y", [1, 10]))
    ]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "digits", ports[:1], ports[1:], weights)), file)
    np.savez(file.parent / "samples.npz", image=rng.random((100, 1, 8, 8), np.float32))


@pytest.mark.qemu
@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is missing")
@pytest.mark.parametrize("page", [p for p in PAGES if p.parent.name != "tutorials"], ids=lambda p: p.name)
def test_every_command_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "model.tflite").write_bytes(small_models.dense_layers())
    write_float_model(folder)
    run_page(page, folder, monkeypatch)


def run_program(page: Path, folder: Path) -> None:
    (program,) = blocks(page, "python")
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True, capture_output=True, timeout=300)


@pytest.mark.qemu
@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is missing")
@pytest.mark.parametrize("exported", ["by torch", "by hand"])
def test_the_pytorch_tutorial(exported: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    if exported == "by hand":
        convolutions(folder / "digits.onnx")
    elif not has("torch"):
        pytest.skip("torch is missing")
    else:
        run_program(DOCS / "tutorials" / "pytorch.md", folder)
    run_page(DOCS / "tutorials" / "pytorch.md", folder, monkeypatch)


@pytest.mark.qemu
@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is missing")
@pytest.mark.skipif(not has("tensorflow") or not has("sklearn"), reason="tensorflow or scikit-learn is missing")
def test_the_keras_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, folder = DOCS / "tutorials" / "keras.md", tmp_path / "work"
    folder.mkdir()
    run_program(page, folder)
    run_page(page, folder, monkeypatch)
    (c,) = blocks(page, "c")
    (folder / "light.c").write_text(f"bool sees_even(const float *image);\n{c}".replace("bool", "_Bool", 1))
    subprocess.run(["gcc", *CFLAGS, "-Werror", "-Idigits", "-c", "light.c"], cwd=folder, check=True)


def test_the_files_for_ci_are_what_they_should_be() -> None:
    yaml = pytest.importorskip("yaml", reason="pyyaml is missing")
    workflow = yaml.safe_load((DOCS / "ci" / "tinygen.yml").read_text())
    steps = [step.get("run", "") for step in workflow["jobs"]["model"]["steps"]]
    ours = [shlex.split(step) for step in steps if step.startswith("tinygen ")]
    hook = yaml.safe_load((DOCS / "ci" / "pre-commit-config.yaml").read_text())["repos"][0]["hooks"][0]
    ours.append(shlex.split(hook["entry"]))
    assert [words[1] for words in ours] == ["build", "verify", "verify"]
    for words in ours:
        known = {flag for parameter in main.commands[words[1]].params for flag in parameter.opts}  # type: ignore[attr-defined]
        assert {word for word in words if word.startswith("--")} <= known
