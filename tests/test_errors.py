# SPDX-License-Identifier: Apache-2.0
"""What a user sees when something is wrong: one sentence, an exit code of its own, and nothing half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests import odd_models
from tests.tflite_builder import ModelBuilder
from tinygen import errors
from tinygen.cli import main
from tinygen.errors import TinygenError, UsageError
from tinygen.files import write_files

ROOT = Path(__file__).parents[1]


@pytest.fixture
def kws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small good model, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kws.tflite").write_bytes(odd_models.convolutions())
    return tmp_path / "kws.tflite"


def tinygen(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


def check_refused(result: Result, code: int, *words: str) -> None:
    """The command failed with `code` and said one line with all `words`."""
    text = result.stderr.strip()
    assert result.exit_code == code, text
    assert text.startswith("error: ")
    assert text.isprintable(), text
    assert all(word in text for word in words), text
    assert result.stdout == ""


def test_exit_codes_are_distinct() -> None:
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, TinygenError)]
    assert sorted(k.exit_code for k in kinds) == [1, 2, 3, 4, 5, 6, 7]


# --- build -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["nothing.tflite"], 2, ["cannot read model 'nothing.tflite': No such file"]),
        (["."], 2, ["is a folder; expected a .tflite, .onnx or .keras file"]),
        (["kws.tflite", "--target", "z80"], 2, ["z80"]),
        (["kws.tflite", "--name", "1st"], 2, ["1st"]),
        (["kws.tflite", "--name", "a b"], 2, ["a b"]),
        (["kws.tflite", "--ram", "much"], 2, ["--ram much: expected a positive number of bytes such as"]),
        (["kws.tflite", "--ram", "0"], 2, ["--ram 0"]),
        (["kws.tflite", "--flash", "9" * 400], 2, ["--flash 999"]),
        (["kws.tflite", "--ram", "100"], 5, ["RAM", "100", "--ram"]),
        (["kws.tflite", "--flash", "100"], 5, ["100", "--flash"]),
        (["text.tflite"], 3, ["text.tflite: ", "not a TFLite model"]),
        (["cut.tflite"], 3, ["cut.tflite: ", "export the model again"]),
        (["custom.tflite"], 4, ["custom.tflite: ", "RANK"]),
    ],
)
def test_refused_builds_write_nothing(kws: Path, words: list[str], code: int, expected: list[str]) -> None:
    folder = kws.parent
    (folder / "text.tflite").write_text("a model, I promise")
    (folder / "cut.tflite").write_bytes(odd_models.convolutions()[:700])
    (folder / "custom.tflite").write_bytes(unsupported())
    before = sorted(folder.iterdir())
    check_refused(tinygen("build", *words), code, *expected)
    assert sorted(folder.iterdir()) == before


def unsupported() -> bytes:
    """A model with an operator that tinygen does not have."""
    b = ModelBuilder()
    x, y = b.tensor((1, 4), scale=0.1), b.tensor((), "int32")
    b.op("RANK", [x], [y])
    return b.finish([x], [y])


def test_refused_build_keeps_what_was_there(kws: Path) -> None:
    assert tinygen("build", "kws.tflite", "--out", "out").exit_code == 0
    before = {p.name: p.read_bytes() for p in Path("out").iterdir()}
    check_refused(tinygen("build", "kws.tflite", "--out", "out", "--ram", "100"), 5)
    assert {p.name: p.read_bytes() for p in Path("out").iterdir()} == before


def test_output_folder_is_a_file(kws: Path) -> None:
    check_refused(tinygen("build", "kws.tflite", "--out", "kws.tflite"), 2, "cannot write to 'kws.tflite'")
    assert kws.read_bytes() == odd_models.convolutions()
    assert [p.name for p in kws.parent.iterdir()] == ["kws.tflite"]


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("kws.tflite/below", "'kws.tflite' is a file: name another folder"),
        ("dangling", "it links to 'nowhere/deep', which does not exist"),
        ("n" * 300, "File name too long"),
    ],
)
def test_places_that_cannot_be(kws: Path, out: str, words: str) -> None:
    (kws.parent / "dangling").symlink_to("nowhere/deep")
    with pytest.raises(UsageError, match=words):
        write_files(Path(out), {"a": b""})
    assert {p.name for p in kws.parent.iterdir()} == {"kws.tflite", "dangling"}


@pytest.mark.parametrize(
    "words",
    [
        ["build", "--out", "file", "--flash", "1K"],
        ["search", "--out", "file"],
        ["compress", "--share", "4", "--out", "file/x.tg"],
        ["compress", "--share", "4", "--out", "x.xyz"],
        ["quantize", "--out", "file/x.tflite"],
    ],
)
def test_a_wrong_place_is_refused_before_any_work(kws: Path, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes minutes does not end with this."""

    def work(*_: object) -> None:
        raise AssertionError("work was done")

    monkeypatch.setattr("tinygen.frontends.load_with_notes", work)
    Path("file").write_text("mine")
    place = words[words.index("--out") + 1].partition("/")[0]
    check_refused(tinygen(words[0], "kws.tflite", *words[1:], "--calibration", "random"), 2, place)


def test_a_full_disk_leaves_no_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even those above the one that was asked for."""

    def failing(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", failing)
    with pytest.raises(UsageError, match="No space left on device"):
        write_files(tmp_path / "a" / "b" / "out", {"a": b"1"})
    assert list(tmp_path.iterdir()) == []


def test_folder_in_the_place_of_a_file(kws: Path) -> None:
    (kws.parent / "out" / "kws.h").mkdir(parents=True)
    check_refused(tinygen("build", "kws.tflite", "--out", "out"), 2, "kws.h': there is a folder of that name")
    assert [p.name for p in (kws.parent / "out").iterdir()] == ["kws.h"]


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where writing fails half-way, the folder is as it was."""
    write: Callable[[Path, bytes], int] = Path.write_bytes

    def failing(path: Path, data: bytes) -> int:
        if path.name == "b":
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", failing)
    with pytest.raises(UsageError, match="No space left on device"):
        write_files(tmp_path / "out", {"a": b"1", "b": b"2"})
    assert list(tmp_path.iterdir()) == []


def test_names_that_mean_something_to_terminals_and_to_c(kws: Path) -> None:
    """Tags of the table printer, smileys, ends of comments, escapes: all are only names."""
    b = ModelBuilder()
    names = ["[/b]", ":smile:", "*/ #error /*", "\x1b[31m\n", "a\\", "??/"]
    tensors = [b.tensor((1, 4), scale=0.1, name=name) for name in names]
    for i in range(len(names) - 1):
        b.op("MAXIMUM", [tensors[i], tensors[0]], [tensors[i + 1]])
    kws.write_bytes(b.finish(tensors[:1], tensors[-1:]))
    for words in (["build", "kws.tflite", "--out", "out"], ["inspect", "kws.tflite"]):
        result = tinygen(*words)
        assert result.exit_code == 0
        assert ":smile:" in result.stdout
        assert "\x1b" not in result.stdout
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-trigraphs", "-fsyntax-only"]
    subprocess.run(["gcc", *flags, "out/kws.c"], check=True, timeout=60)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such file names")
def test_file_name_that_is_no_unicode(kws: Path) -> None:
    os.rename(kws, os.fsencode(kws.parent) + b"/\xff.tflite")
    result = tinygen("build", os.fsdecode(b"\xff.tflite"), "--out", "out", "--name", "kws")
    assert result.exit_code == 0
    assert '"file": "?.tflite"' in Path("out/report.json").read_text()


# --- Missing tools -----------------------------------------------------------------------------------------------


def test_no_compiler_and_no_emulator(kws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build needs neither; what it cannot measure, it says. Verification says what is missing."""
    monkeypatch.setenv("PATH", str(kws.parent))
    result = tinygen("build", "kws.tflite", "--out", "out")
    assert result.exit_code == 0
    assert "estimate" in result.stdout
    check_refused(tinygen("verify", "out", "--on", "host"), 7, "not found")
    check_refused(tinygen("verify", "out", "--on", "qemu"), 7, "not found")


# --- verify and run ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["verify"], ["run", "--inputs", "in.npz", "--outputs", "out.npz"]])
def test_folder_that_is_no_build(kws: Path, command: list[str]) -> None:
    check_refused(tinygen(*command, "."), 2, "report.json")


def damage_report(folder: Path) -> None:
    (folder / "report.json").write_text("{")


def damage_schema(folder: Path) -> None:
    (folder / "report.json").write_text('{"schema": 99}')


def damage_graph(folder: Path) -> None:
    data = (folder / "kws.tgm").read_bytes()
    (folder / "kws.tgm").write_bytes(data[: len(data) // 2])


def remove_graph(folder: Path) -> None:
    (folder / "kws.tgm").unlink()


@pytest.mark.parametrize(
    ("damage", "code", "words"),
    [
        (damage_report, 2, ["report.json", "build again"]),
        (damage_schema, 2, ["schema", "build again"]),
        (damage_graph, 3, ["kws.tgm: ", "damaged", "build it again"]),
        (remove_graph, 2, ["kws.tgm", "build again"]),
    ],
)
def test_damaged_build(kws: Path, damage: Callable[[Path], None], code: int, words: list[str]) -> None:
    assert tinygen("build", "kws.tflite", "--out", "out").exit_code == 0
    damage(Path("out"))
    check_refused(tinygen("verify", "out", "--on", "host"), code, *words)


# --- The process -------------------------------------------------------------------------------------------------


def test_no_traceback_in_the_real_process(kws: Path) -> None:
    kws.write_bytes(kws.read_bytes()[:500])
    command = [sys.executable, "-m", "tinygen.cli", "build", "kws.tflite"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=kws.parent, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: kws.tflite: ")
