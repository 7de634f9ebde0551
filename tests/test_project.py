# SPDX-License-Identifier: Apache-2.0
"""tinygen.toml: commands without arguments, in a folder that says what they are."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests import small_models
from tinygen.cli import EXAMPLES, main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, in which the test runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Dense Layers.tflite").write_bytes(small_models.dense_layers())
    return tmp_path


def tinygen(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def test_a_folder_with_one_model_needs_no_arguments(folder: Path) -> None:
    done = tinygen("init", "--target", "nrf52840-dk", "--flash", "64K", "--ram", "32K")
    assert done.exit_code == 0, done.output
    built = tinygen("build", "--json")
    assert built.exit_code == 0, built.output
    report = json.loads(built.output)
    assert report["target"]["name"] == "nrf52840-dk"
    assert "--ram 32768 --flash 65536" in report["command"]
    checked = tinygen("verify", "--on", "host", "--vectors", "1")
    assert checked.exit_code == 0, checked.output
    assert (folder / "dense_layers" / "report.json").is_file()


def test_words_on_the_command_line_come_first() -> None:
    assert tinygen("init", "--target", "nrf52840-dk").exit_code == 0
    built = tinygen("build", "--json", "--target", "cortex-m0", "--out", "other")
    assert json.loads(built.output)["target"]["name"] == "cortex-m0"
    assert Path("other", "report.json").is_file()


def test_keys_are_the_names_on_the_command_line(folder: Path) -> None:
    """Also where Python has other names for them."""
    Path("tinygen.toml").write_text(
        "[build]\nmodel = 'Dense Layers.tflite'\npackage = ['cmake']\nwithout = ['dead-channels']\njson = true\n"
    )
    report = json.loads(tinygen("build").output)
    assert "--without dead-channels" in report["command"]
    assert (folder / "dense_layers" / "CMakeLists.txt").is_file()
    for key in ("recipe", "share", "low_rank"):
        Path("tinygen.toml").write_text(f"[build]\nmodel = 'Dense Layers.tflite'\n{key} = '0.5'\n")
        done = tinygen("build")
        assert done.exit_code == 2 and "has no option" not in done.output


def test_init_replaces_nothing_by_itself() -> None:
    assert tinygen("init").exit_code == 0
    again = tinygen("init", "--target", "cortex-m7")
    assert again.exit_code == 2 and "pass --force" in again.output
    assert tinygen("init", "--target", "cortex-m7", "--force").exit_code == 0
    assert 'target = "cortex-m7"' in Path("tinygen.toml").read_text()


def test_init_asks_which_model_where_there_are_several(folder: Path) -> None:
    (folder / "second.onnx").touch()
    done = tinygen("init")
    assert done.exit_code == 2 and "found Dense Layers.tflite, second.onnx: name it" in done.output
    assert not Path("tinygen.toml").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("init", "none.tflite"), "'none.tflite' does not exist"),
        (("init", "--target", "cortex-m5"), "unknown target 'cortex-m5'"),
        (("init", "--flash", "much"), "--flash much: expected a positive number of bytes"),
    ],
)
def test_init_checks_what_it_writes(words: tuple[str, ...], said: str) -> None:
    done = tinygen(*words)
    assert done.exit_code == 2 and said in done.output
    assert not Path("tinygen.toml").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[build]\ntraget = 'x'\n", "[build] has no option 'traget': did you mean 'target'?"),
        ("[bild]\n", "expected tables named after commands, such as [build]; got 'bild': did you mean 'build'?"),
        ("model = 'x'\n", "expected tables named after commands"),
        ("[build\n", "tinygen.toml: "),
        ("[build]\nmodel = ['a', 'b']\n", "[build] model: expected what stands behind the option on the command line"),
        ("[build]\nmean = [1, 2]\n", "[build] mean: expected what stands behind the option"),
        ("[build]\nram = 2020-01-01\n", "[build] ram: expected what stands behind the option"),
        ("[build]\nwithout = 'dead-channels'\n", "[build] without: expected a list, as in without = ['dead-channels']"),
    ],
)
def test_a_wrong_file_is_one_sentence(text: str, said: str) -> None:
    Path("tinygen.toml").write_text(text)
    done = tinygen("targets")
    assert done.exit_code == 2 and said in done.output and len(done.output.splitlines()) == 1


def test_every_command_shows_an_example_that_could_be_typed() -> None:
    assert set(EXAMPLES) == set(main.commands)
    for name, example in EXAMPLES.items():
        words = shlex.split(example)
        assert words[:2] == ["tinygen", name]
        assert example in " ".join(tinygen(name, "--help").output.split())
        main.commands[name].make_context(name, words[2:])  # raises for what the command does not know


def test_shells_complete_commands_and_options() -> None:
    """As docs/project.md says; a shell sets these variables when the tab key is pressed."""
    script = CliRunner().invoke(main, [], env={"_TINYGEN_COMPLETE": "bash_source"}, prog_name="tinygen")
    assert "complete -o nosort -F" in script.output
    pressed = {"_TINYGEN_COMPLETE": "bash_complete", "COMP_WORDS": "tinygen build --opt", "COMP_CWORD": "2"}
    assert "plain,--optimize" in CliRunner().invoke(main, [], env=pressed, prog_name="tinygen").output
