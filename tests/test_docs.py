# SPDX-License-Identifier: Apache-2.0
"""The documentation is true: pages made from data are current, links lead somewhere, what README names exists."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import tinygen
from scripts import operators_md, targets_md
from tests import small_models
from tinygen import errors
from tinygen.cli import main
from tinygen.toolchain import CFLAGS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS: dict[str, click.Command] = main.commands  # type: ignore[assignment]  # a group's commands


def blocks(language: str) -> list[str]:
    """The code blocks of README in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


# --- Pages made from data -----------------------------------------------------------------------------------------


def test_the_page_of_operators_is_current() -> None:
    assert operators_md.FILE.read_text(encoding="utf-8") == operators_md.document(), "run make docs"


def test_the_page_of_targets_is_current() -> None:
    assert targets_md.PAGE.read_text(encoding="utf-8") == targets_md.page(), "run make docs"


def test_the_page_of_the_report_names_every_field() -> None:
    schema = json.loads((ROOT / "tests" / "report.schema.json").read_text())
    page = (ROOT / "docs" / "report-schema.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z0-9_.\[\]]+)`", page))
    words = {word for name in named for word in name.replace("[]", "").split(".")}
    assert set(fields(schema)) <= words, "docs/report-schema.md lacks fields"
    rows = re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE)
    tops = {name.split(".")[0].removesuffix("[]") for row in rows for name in re.findall(r"`(.*?)`", row)}
    assert tops == set(schema["properties"]), "a row of docs/report-schema.md is for no field"


def fields(schema: dict[str, Any]) -> list[str]:
    """Every property name in a JSON Schema."""
    found = list(schema.get("properties", {}))
    for part in (*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()):
        found += fields(part)
    return found + (fields(schema["items"]) if "items" in schema else [])


# --- Links and names ----------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """The anchors that headings give, as code forges make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        assert there.exists(), f"{target} does not exist"
        assert not anchor or anchor in anchors(there), f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page: Path) -> None:
    """A word in backticks with a folder and a suffix is a file, from the top or from the package."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for name in re.findall(r"`([a-z_0-9]+(?:/[a-z_0-9]+)+\.(?:py|md|toml|j2|c|h))`", text):
        assert (ROOT / name).exists() or (ROOT / "tinygen" / name).exists(), f"{name} does not exist"


def test_the_tree_in_the_design_is_the_tree() -> None:
    """Modules that the picture of the tree names exist, and every package and top-level module is in it."""
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    tree = page[page.index("## The tree") : page.index("\n## ", page.index("## The tree") + 5)]
    names = set(re.findall(r"\b[a-z_]+\.py\b", tree))
    modules = {p.name for p in (ROOT / "tinygen").rglob("*.py")}
    assert names <= modules, names - modules
    top = {p.name for p in (ROOT / "tinygen").glob("*.py") if not p.name.startswith("__")} - {"version.py"}
    packages = {f"{p.name}/" for p in (ROOT / "tinygen").iterdir() if (p / "__init__.py").exists()}
    assert top <= names, f"docs/design.md lacks {top - names}"
    assert all(package in tree for package in packages), packages


# --- README -------------------------------------------------------------------------------------------------------


def test_every_command_and_option_in_readme_exists() -> None:
    rows = re.findall(r"^\| `tinygen (\w+)(.*?)` \|", README, re.MULTILINE)
    assert [command for command, _ in rows] == list(COMMANDS) or {c for c, _ in rows} == set(COMMANDS)
    for command, rest in rows:
        known = {flag: p for p in COMMANDS[command].params for flag in p.opts}
        for flag, choices in re.findall(r"(--[a-z-]+)(?: ([a-z]+(?:\\\|[a-z]+)+))?", rest):
            assert flag in known, f"tinygen {command} has no {flag}"
            kind = known[flag].type
            if choices:
                assert isinstance(kind, click.Choice) and list(kind.choices) == choices.split("\\|")
    for flag in re.findall(r"`(--[a-z-]+)`", README):
        assert any(flag in p.opts for c in COMMANDS.values() for p in c.params), flag


def test_every_exit_code_in_readme_is_true() -> None:
    line = re.search(r"^Exit codes: (.*)$", README, re.MULTILINE)
    assert line is not None
    codes = sorted(int(code) for code in re.findall(r"\b(\d) ", line[1]))
    classes = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, errors.TinygenError)]
    assert codes == sorted(c.exit_code for c in classes if c is not errors.TinygenError)


def test_every_make_target_in_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= set(re.findall(r"\bmake ([a-z]+)\b", README)) <= targets
    for page in PAGES:
        assert set(re.findall(r"`make ([a-z]+)`", page.read_text(encoding="utf-8"))) <= targets


def test_every_function_in_readme_exists() -> None:
    line = re.search(r"From Python: (.*)\n", README)
    assert line is not None
    for name in re.findall(r"`(?:tinygen\.)?(\w+)`", line[1]):
        assert callable(getattr(tinygen, name))


def write_float_model(folder: Path) -> None:
    """A float dense layer as float.onnx, and samples.npz to calibrate it with."""
    ports = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 4]), ("y", [1, 3]))
    ]
    rng = np.random.default_rng(0)
    weights = onnx.numpy_helper.from_array(rng.normal(size=(4, 3)).astype(np.float32), "w")
    node = onnx.helper.make_node("Gemm", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "dense", ports[:1], ports[1:], [weights])
    onnx.save(onnx.helper.make_model(graph), folder / "float.onnx")
    np.savez(folder / "samples.npz", x=rng.normal(size=(16, 1, 4)).astype(np.float32))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which README's first commands ran."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "model.tflite").write_bytes(small_models.dense_layers())
    write_float_model(folder)
    lines = [line.partition(" #")[0] for block in blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line) for line in lines if line.startswith("tinygen ")]
    assert [words[1] for words in commands] == ["doctor", "build", "verify", "build"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in commands:
            result = CliRunner().invoke(main, words[1:])
            assert result.exit_code == 0, result.output
    return folder


def test_the_first_commands_run(model: Path) -> None:
    names = {path.name for path in (model / "model").iterdir()}
    assert {"model.h", "model.c", "report.json"} <= names


def test_the_c_in_readme_compiles_and_runs(model: Path) -> None:
    (block,) = blocks("c")
    include, arena, body = block.split("\n\n", 2)
    use = "    return in[0] + out[0] + MODEL_INPUT_ZERO_POINT > MODEL_INPUT_SIZE * MODEL_INPUT_SCALE * 1000;"
    (model / "main.c").write_text(f"{include}\n{arena}\nint main(void)\n{{\n{body}\n{use}\n}}\n")
    command = ["gcc", *CFLAGS, "-Werror", "-Imodel", "main.c", "model/model.c", "-o", "main"]
    subprocess.run(command, cwd=model, check=True)
    subprocess.run([model / "main"], check=True)


def test_the_hook_is_called_after_each_layer(model: Path) -> None:
    assert "define `MODEL_HOOK(step)` when you compile `model.c`" in README
    (model / "hook.h").write_text('#include <stdio.h>\n#define MODEL_HOOK(step) printf("%d\\n", step)\n')
    (model / "timed.c").write_text(
        '#include "model.h"\nint main(void) { static model_arena_t a; model_run(&a); return 0; }\n'
    )
    command = ["gcc", *CFLAGS, "-Werror", "-Imodel", "-include", "hook.h", "timed.c", "model/model.c", "-o", "timed"]
    subprocess.run(command, cwd=model, check=True)
    assert subprocess.run([model / "timed"], check=True, capture_output=True, text=True).stdout == "0\n1\n2\n"
