# SPDX-License-Identifier: Apache-2.0
"""The command line: every command and option, every exit code by a real cause, and what goes where."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests import small_models
from tests.operators import test_fully_connected
from tests.tflite_builder import ModelBuilder
from tinygen.cli import main
from tinygen.target import all_targets
from tinygen.version import VERSION

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "examples" / "digits" / "digits.tflite"
SCHEMA = json.loads((Path(__file__).parent / "report.schema.json").read_text())


def tinygen(*words: str | Path, code: int = 0, env: Mapping[str, str | None] | None = None) -> Result:
    """Run the command line; its exit code must be `code`."""
    result = CliRunner().invoke(main, [str(word) for word in words], env=env)
    assert result.exit_code == code, f"{result.exit_code}: {result.output}{result.exception!r}"
    return result


def refused(*words: str | Path, code: int, env: Mapping[str, str | None] | None = None) -> str:
    """The sentence on stderr of a command that must fail with `code` and print nothing on stdout."""
    result = tinygen(*words, code=code, env=env)
    assert result.stdout == "" and result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    return result.stderr


def report_of(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(SCHEMA).validate(report)
    return report


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Three dense layers, in a folder of their own."""
    (tmp_path / "net").mkdir()
    path = tmp_path / "net" / "dense-v1.tflite"
    path.write_bytes(small_models.dense_layers())
    return path


@pytest.fixture
def built(model: Path, tmp_path: Path) -> Path:
    tinygen("build", model, "--out", tmp_path / "built")
    return tmp_path / "built"


@pytest.fixture
def no_tools(tmp_path: Path) -> dict[str, str | None]:
    """An environment in which no compiler or emulator is found."""
    (tmp_path / "empty").mkdir()
    return {"PATH": str(tmp_path / "empty"), "TINYGEN_CC": None}


# --- build --------------------------------------------------------------------------------------------------------


def test_build_the_example(tmp_path: Path) -> None:
    result = tinygen("build", DIGITS, "--target", "cortex-m4", "--out", tmp_path / "d")
    assert {p.name for p in (tmp_path / "d").iterdir()} == {
        *("digits.h", "digits.c", "digits.tgm", "report.json", "report.html")
    }
    report = report_of(tmp_path / "d")
    assert result.stderr == "" and len(re.findall(r"^\d+ +[A-Z0-9_]+ ", result.stdout, re.MULTILINE)) == len(
        report["layers"]
    )
    assert f"RAM    {report['ram']['total']:>9,} bytes" in result.stdout
    assert (
        f"flash  {report['flash']['total']:>9,} bytes" in result.stdout
        and "linked, -O2, arm-none-eabi-gcc" in result.stdout
    )
    assert report["ram"]["total"] == report["ram"]["arena"] + report["ram"]["stack"]
    assert report["flash"]["total"] == report["flash"]["code"] + report["flash"]["constants"]
    assert sum(layer["macs"] for layer in report["layers"]) == report["macs"] == 51264


def test_json_is_the_report(model: Path, tmp_path: Path) -> None:
    result = tinygen("build", model, "--out", tmp_path / "out", "--json")
    assert json.loads(result.stdout) == report_of(tmp_path / "out") and result.stderr == ""


def test_the_default_folder_is_the_name(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tinygen("build", model)
    assert (tmp_path / "dense_v1" / "dense_v1.c").is_file()
    tinygen("build", model, "--name", "Kws2")
    assert (tmp_path / "Kws2" / "Kws2.c").is_file()


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--name", "kws"],
        ["--target", "cortex-m0"],
        ["--target", "nucleo-f446re", "--ram", "64K", "--flash", "0.5MiB"],
        ["--target", "host"],
        *(["--optimize", o] for o in ("speed", "size", "ram", "balanced")),
    ],
    ids=" ".join,
)
def test_the_command_in_the_report_makes_the_same_again(options: list[str], model: Path, tmp_path: Path) -> None:
    tinygen("build", model, *options, "--out", tmp_path / "one")
    report = report_of(tmp_path / "one")
    program, *words = shlex.split(report["command"])
    words[1] = str(model.parent / words[1])
    assert program == "tinygen"
    tinygen(*words, "--out", tmp_path / "two")
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
    assert report["flash"]["measured"] == (report["target"]["name"] != "host")
    assert report["flash"]["optimization"] == ("-Os" if "size" in options else "-O2")


def test_a_board_sets_the_limits(model: Path, tmp_path: Path) -> None:
    result = tinygen("build", model, "--target", "microbit-v2", "--out", tmp_path / "out")
    target = report_of(tmp_path / "out")["target"]
    assert target == {"name": "microbit-v2", "core": "cortex-m4", "ram": 128 * 1024, "flash": 512 * 1024}
    assert "bytes of 131,072:" in result.stdout and "bytes of 524,288:" in result.stdout


def test_names_with_markup_are_printed_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "[bold]a[x].tflite"
    path.write_bytes(small_models.elu(name="[/red] :smile: [link]"))
    result = tinygen("build", path, "--out", tmp_path / "[out]")
    assert "[/red] :smile: [link]" in result.stdout and "[out]" in result.stdout
    assert "[/red] :smile: [link]" in tinygen("inspect", path).stdout
    tinygen("verify", tmp_path / "[out]", "--on", "host")


# --- Refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--target", "cortex-m5"], "unknown target 'cortex-m5': did you mean cortex-m"),
        (["--target", ""], "unknown target ''"),
        (["--ram", "lots"], "--ram lots: expected a positive number of bytes such as 65536, 64K or 1M"),
        (["--flash", "-1"], "--flash -1: expected"),
        (["--ram", "0"], "--ram 0: expected"),
        (["--name", "2nd"], "--name 2nd: expected a C identifier"),
        (["--name", "string"], "--name string: string.h would hide another header"),
        (["--scale", "0"], "scale: expected what the data is multiplied with"),
    ],
    ids=" ".join,
)
def test_wrong_options(words: list[str], sentence: str, model: Path, tmp_path: Path) -> None:
    assert sentence in refused("build", model, *words, "--out", tmp_path / "out", code=2)
    assert not (tmp_path / "out").exists()


def test_an_unknown_option_or_choice_is_clicks_own_refusal(model: Path) -> None:
    assert "No such option" in tinygen("build", model, "--fast", code=2).stderr
    assert "'fast' is not one of" in tinygen("build", model, "--optimize", "fast", code=2).stderr
    assert "Missing argument" in tinygen("build", code=2).stderr
    for command in ("verify", "profile", "platformio"):
        assert "--seed" in tinygen(command, "folder", "--seed", "-1", code=2).stderr


def test_a_missing_model(tmp_path: Path) -> None:
    assert "cannot read model" in refused("build", tmp_path / "none.tflite", code=2)
    assert "cannot read model" in refused("inspect", tmp_path / "none.tflite", code=2)
    assert "is a folder" in refused("build", tmp_path, code=2)


def test_a_malformed_model(tmp_path: Path) -> None:
    path, out = tmp_path / "cut.tflite", tmp_path / "out"
    path.write_bytes(DIGITS.read_bytes()[:2000])
    for command in ("build", "inspect"):
        extra = ["--out", out] if command == "build" else []
        sentence = refused(command, path, *extra, code=3)
        assert sentence.startswith("error: cut.tflite: ") and "export the model again" in sentence
    path.write_bytes(b"what is this?")
    assert "cut.tflite: the file is not a TFLite model" in refused("build", path, "--out", out, code=3)
    assert not out.exists()


def test_an_unsupported_model(tmp_path: Path) -> None:
    path = tmp_path / "floats.tflite"
    path.write_bytes(small_models.float_inside())
    sentence = refused("build", path, "--out", tmp_path / "out", code=4)
    assert "floats.tflite: node 'sum' (ADD): Both inputs and the output must be int8" in sentence
    assert not (tmp_path / "out").exists()


def test_too_little_ram(tmp_path: Path) -> None:
    path, out = tmp_path / "wide.tflite", tmp_path / "out"
    path.write_bytes(small_models.dense_layers((16, 400, 200, 4)))
    needed = json.loads(tinygen("build", path, "--optimize", "ram", "--json", "--out", out).stdout)["ram"]["total"]
    shutil.rmtree(out)
    tinygen("build", path, "--optimize", "ram", "--ram", str(needed), "--out", out)
    shutil.rmtree(out)
    sentence = refused("build", path, "--optimize", "ram", "--ram", str(needed - 1), "--out", out, code=5)
    assert f"RAM: {needed} bytes needed, {needed - 1} allowed by --ram: 1 too many" in sentence
    assert re.search(r"Largest tensors alive together: .*'dense1' \(200 bytes\)", sentence)
    assert not out.exists()


def test_too_little_flash(tmp_path: Path) -> None:
    path, out = tmp_path / "wide.tflite", tmp_path / "out"
    path.write_bytes(small_models.dense_layers((16, 100, 50, 4)))
    needed = json.loads(tinygen("build", path, "--json", "--out", out).stdout)["flash"]["total"]
    shutil.rmtree(out)
    tinygen("build", path, "--flash", str(needed), "--out", out)
    shutil.rmtree(out)
    sentence = refused("build", path, "--flash", str(needed - 7), "--out", out, code=5)
    assert f"flash: {needed} bytes needed, {needed - 7} allowed by --flash: 7 too many" in sentence
    assert "Largest layers: FULLY_CONNECTED 'dense1' (5" in sentence
    assert not out.exists()


def test_too_small_a_board(tmp_path: Path) -> None:
    path = tmp_path / "long.tflite"
    path.write_bytes(small_models.elu((1, 20_000)))
    sentence = refused("build", path, "--target", "qemu-microbit", "--out", tmp_path / "out", code=5)
    assert "16384 allowed by target qemu-microbit" in sentence and "'x' (20000 bytes)" in sentence
    tinygen("build", path, "--target", "qemu-microbit", "--ram", "32K", "--out", tmp_path / "out")


@pytest.mark.parametrize("where", ["file", "below a file", "/proc/none"])
def test_an_unwritable_place(where: str, model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    out = {"file": tmp_path / "file", "below a file": tmp_path / "file" / "out", "/proc/none": Path("/proc/none")}[
        where
    ]
    assert f"cannot write to '{out}'" in refused("build", model, "--out", out, code=2)
    assert (tmp_path / "file").read_text() == "mine" and {p.name for p in tmp_path.iterdir()} == {"net", "file"}


def test_forms_of_weights_are_shown(model: Path, tmp_path: Path) -> None:
    assert "stored as" not in tinygen("build", model, "--out", tmp_path / "plain").stdout
    path = tmp_path / "few.tflite"
    path.write_bytes(test_fully_connected.simple((1, 64), (64, 64), value=9))
    result = tinygen("build", path, "--out", tmp_path / "few")
    (layer,) = report_of(tmp_path / "few")["layers"]
    assert "stored as" in result.stdout and layer["form"] in result.stdout
    assert layer["form"] in ("codebook", "packed") and layer["constant_bytes"] < 64 * 64 // 2


# --- Writing ------------------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_building_again_replaces_the_files_and_no_others(model: Path, built: Path) -> None:
    (built / "notes.txt").write_text("mine")
    before = contents(built)
    tinygen("build", model, "--target", "cortex-m0", "--out", built)
    after = contents(built)
    assert after.keys() == before.keys() and after["notes.txt"] == b"mine"
    assert after["report.json"] != before["report.json"] and report_of(built)["target"]["name"] == "cortex-m0"


def test_a_failed_build_leaves_everything_as_it_was(model: Path, built: Path) -> None:
    before = contents(built)
    refused("build", model, "--ram", "16", "--out", built, code=5)
    refused("build", model, "--target", "nothing", "--out", built, code=2)
    assert contents(built) == before


def test_a_full_disk_leaves_everything_as_it_was(
    model: Path, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, whole, names = contents(built), Path.write_bytes, [p.name for p in tmp_path.iterdir()]

    def full(path: Path, data: bytes) -> int:
        if path.suffix == ".json":
            raise OSError(28, "No space left on device")
        return whole(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    for out in (built, tmp_path / "new"):
        sentence = refused("build", model, "--target", "cortex-m0", "--out", out, code=2)
        assert f"cannot write to '{out}': No space left on device" in sentence
    assert contents(built) == before and [p.name for p in tmp_path.iterdir()] == names


def test_new_folders_are_made_with_ordinary_permissions(model: Path, tmp_path: Path) -> None:
    (tmp_path / "usual").mkdir()
    tinygen("build", model, "--out", tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode == (tmp_path / "usual").stat().st_mode
    (tmp_path / "usual" / "file").write_text("")
    assert (tmp_path / "a" / "b" / "report.json").stat().st_mode == (tmp_path / "usual" / "file").stat().st_mode


# --- verify -------------------------------------------------------------------------------------------------------


def test_verify(built: Path) -> None:
    result = tinygen("verify", built)
    host, qemu = result.stdout.splitlines()
    assert host == "host: EQUAL: 231 bytes of every layer's output for 11 input sets" and result.stderr == ""
    assert re.fullmatch(
        r"qemu-mps2-an386: EQUAL: 44 bytes of output for 11 input sets; [\d,]+ instructions per inference; "
        r"\d+ bytes of stack used",
        qemu,
    )


def test_verify_options(built: Path, tmp_path: Path) -> None:
    found = json.loads(tinygen("verify", built, "--on", "host", "--vectors", "2", "--seed", "7", "--json").stdout)
    assert found["equal"] and [(r["where"], r["vectors"]) for r in found["runs"]] == [("host", 5)]
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 6), np.int8))
    result = tinygen("verify", built, "--on", "qemu", "--inputs", tmp_path / "x.npz")
    assert "EQUAL: 12 bytes of output for 3 input sets" in result.stdout and "host" not in result.stdout


def test_verify_elsewhere_without_the_model(model: Path, built: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(built, tmp_path / "another" / "place")
    shutil.rmtree(built)
    model.unlink()
    assert "EQUAL" in tinygen("verify", moved, "--on", "host").stdout


def change_a_weight(folder: Path, array: str) -> None:
    """Add 1 to the first number of a constant array in the C."""
    source = folder / "dense_v1.c"
    first = rf"(dense_v1_{array}\[\d+\] \w+ = {{ /\*.*\*/\s+)(-?\d+)"
    text, count = re.subn(first, lambda m: f"{m[1]}{int(m[2]) + 1}", source.read_text(), count=1)
    assert count == 1
    source.write_text(text)


@pytest.mark.parametrize("on, where", [("host", "host"), ("qemu", "qemu-mps2-an386")])
def test_a_changed_weight_is_found(on: str, where: str, built: Path) -> None:
    names = re.findall(r"int8_t dense_v1_(c\d+)\[40\]", (built / "dense_v1.c").read_text())
    change_a_weight(built, names[0])  # 8 × 5 weights: layer 1
    result = tinygen("verify", built, "--on", on, code=6)
    found = r"input set \d+: first difference after layer 1 FULLY_CONNECTED, tensor 'dense1' at \[0, 0\]: "
    values = r"the C computes -?\d+, the reference -?\d+"
    assert re.search(rf"^error: dense_v1 on {where}: {found}{values}$", result.stderr.strip())
    assert "note: dense_v1.c is not the file that was built" in result.stdout and f"{where}: DIFFERENT" in result.stdout
    as_json = tinygen("verify", built, "--on", on, "--json", code=6)
    parsed = json.loads(as_json.stdout)
    assert not parsed["equal"] and parsed["modified"] == ["dense_v1.c"]
    assert parsed["runs"][0]["mismatch"]["index"] == [0, 0] and parsed["runs"][0]["mismatch"]["tensor"] == "dense1"


def test_a_harmless_change_is_noted_and_equal(built: Path) -> None:
    with (built / "dense_v1.c").open("a") as file:
        file.write("/* checked by me */\n")
    result = tinygen("verify", built, "--on", "host")
    assert "note: dense_v1.c is not the file that was built" in result.stdout and "host: EQUAL" in result.stdout


def test_c_that_misbehaves_is_a_failed_verification(built: Path) -> None:
    source = built / "dense_v1.c"
    source.write_text(
        source.read_text().replace("uint8_t *const a = arena->bytes;", "uint8_t *const a = arena->bytes + 99;")
    )
    assert "AddressSanitizer" in refused("verify", built, "--on", "host", code=6)


def test_c_that_does_not_compile_is_a_failed_tool(built: Path) -> None:
    (built / "dense_v1.c").write_text("#error no\n")
    assert "failed with exit code 1" in tinygen("verify", built, "--on", "host", code=7).stderr


def test_folders_that_are_no_build(built: Path, tmp_path: Path) -> None:
    for command in (["verify", tmp_path], ["run", tmp_path, "--inputs", "x.npz", "--outputs", "y.npz"]):
        assert "holds no report.json" in refused(*command, code=2)
    (built / "dense_v1.tgm").unlink()
    assert "dense_v1.tgm" in refused("verify", built, code=2)
    (built / "report.json").write_text("{}")
    assert "is not a report with schema 1" in refused("verify", built, code=2)


def test_a_host_build_has_no_emulator(model: Path, tmp_path: Path) -> None:
    tinygen("build", model, "--target", "host", "--out", tmp_path / "out")
    assert tinygen("verify", tmp_path / "out").stdout.startswith("host: EQUAL")
    assert "--on qemu: the program was built for the host" in refused(
        "verify", tmp_path / "out", "--on", "qemu", code=2
    )


# --- run ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def adder(tmp_path: Path) -> Path:
    (tmp_path / "adder.tflite").write_bytes(small_models.two_inputs())
    tinygen("build", tmp_path / "adder.tflite", "--out", tmp_path / "adder")
    return tmp_path / "adder"


def ran(folder: Path, on: str, **arrays: Any) -> dict[str, Any]:
    """The outputs of `tinygen run`."""
    np.savez(folder.parent / "in.npz", **arrays)
    result = tinygen(
        "run", folder, "--inputs", folder.parent / "in.npz", "--outputs", folder.parent / "out.npz", "--on", on
    )
    assert result.stdout.startswith("ran ") and result.stderr == ""
    with np.load(folder.parent / "out.npz") as outputs:
        return dict(outputs)


def test_run_gives_the_same_everywhere(adder: Path) -> None:
    rng = np.random.default_rng(0)
    left, right = (rng.integers(-128, 128, (3, 2, 3)).astype(np.int8) for _ in range(2))
    real = rng.normal(size=(3, 4)).astype(np.float32)
    all_named = {on: ran(adder, on, left=left, right=right, real=real) for on in ("reference", "host", "qemu")}
    numbered = ran(adder, "host", in0=left, in1=right, in2=real)
    for outputs in (*all_named.values(), numbered):
        assert outputs.keys() == {"out0", "out1"} and outputs["out0"].shape == (3, 2, 3)
        assert all(outputs[k].tobytes() == all_named["reference"][k].tobytes() for k in outputs)
    one = ran(adder, "host", left=left[1], in1=right[1], real=real[1])
    assert one["out0"].shape == (2, 3) and np.array_equal(one["out0"], numbered["out0"][1])


@pytest.mark.parametrize(
    "arrays, sentence",
    [
        ({"in0": np.zeros((1, 7), np.int8)}, "key 'in0': expected int8[1,6] or int8[N,6], got int8[1,7]"),
        ({"x": np.zeros((1, 6), np.int16)}, "key 'x': expected int8[1,6] or int8[N,6], got int16[1,6]"),
        ({"x": np.zeros((0, 6), np.int8)}, "expected at least one input set, got none"),
        ({"y": np.zeros((1, 6), np.int8)}, "expected one key 'x' or 'in0' for input 0, got 'y'"),
        ({"x": np.zeros((1, 6), np.int8), "z": np.zeros(1)}, "key 'z' is no input of the model; expected 'x'"),
    ],
    ids=["shape", "dtype", "no set", "key", "more keys"],
)
def test_inputs_that_do_not_fit(arrays: dict[str, Any], sentence: str, built: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", **arrays)
    words = ["--inputs", tmp_path / "in.npz"]
    assert sentence in refused("run", built, *words, "--outputs", tmp_path / "out.npz", code=2)
    assert sentence in refused("verify", built, *words, code=2)
    assert not (tmp_path / "out.npz").exists()


def test_files_of_run(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused("run", built, "--inputs", tmp_path / "none.npz", "--outputs", "y.npz", code=2)
    np.savez(tmp_path / "in.npz", x=np.zeros((1, 6), np.int8))
    words = ["run", built, "--inputs", tmp_path / "in.npz", "--on", "reference", "--outputs"]
    assert "cannot write to" in refused(*words, tmp_path / "in.npz" / "y.npz", code=2)
    monkeypatch.chdir(tmp_path)
    tinygen(*words, "y.npz")
    tinygen(*words, "new/folder/y.npz")
    assert (tmp_path / "y.npz").is_file() and (tmp_path / "new/folder/y.npz").is_file()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


# --- inspect, targets, doctor -------------------------------------------------------------------------------------


def test_inspect() -> None:
    lines = tinygen("inspect", DIGITS).stdout.splitlines()
    assert lines[0].startswith("digits.tflite: ") and lines[-1] == "every operator is supported"
    found = json.loads(tinygen("inspect", DIGITS, "--json").stdout)
    assert found["problems"] == [] and found["macs"] == 53952 and found["operators"]["CONV_2D"] == 3
    assert list(found["inputs"].values()) == ["int8[1,8,8,1] (0.00392157, -128)"]


def test_inspect_what_is_unsupported(tmp_path: Path) -> None:
    b = ModelBuilder()
    x, y, z = b.tensor((1, 4), *small_models.Q), b.tensor((1, 4), *small_models.Q), b.tensor((1, 4), *small_models.Q)
    b.op("ELU", [x], [y])
    b.op("SQUARE", [y], [z])
    for name, data, operators, reason in (
        ("operator", b.finish([x], [z]), {"ELU": 1, "SQUARE": 1}, "operators not supported: SQUARE"),
        (
            "types",
            small_models.float_inside(),
            {"DEQUANTIZE": 1, "ADD": 1, "QUANTIZE": 1},
            "node 'sum' (ADD): Both inputs",
        ),
    ):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(data)
        text, parsed = tinygen("inspect", path, code=4), json.loads(tinygen("inspect", path, "--json", code=4).stdout)
        assert "1 problem(s):" in text.stdout and reason in text.stdout and text.stderr == ""
        assert len(parsed["problems"]) == 1 and reason in parsed["problems"][0]
        assert parsed["operators"] == operators


def test_targets() -> None:
    names = [line.split()[0] for line in tinygen("targets").stdout.splitlines()]
    assert names == ["target", *(t.name for t in all_targets())]
    listed = json.loads(tinygen("targets", "--json").stdout)
    assert [t["name"] for t in listed] == names[1:]
    (one,) = json.loads(tinygen("targets", "nucleo-f446re", "--json").stdout)
    assert (one["core"], one["ram"], one["flash"]) == ("cortex-m4", 131072, 524288) and "dsp" in one["features"]
    assert "nucleo-f446re" in tinygen("targets", "nucleo-f446re").stdout
    assert "did you mean nucleo-f446re" in refused("targets", "f446re", code=2)


def test_doctor(no_tools: dict[str, str | None]) -> None:
    assert "qemu-system-arm" in tinygen("doctor").stdout
    text = tinygen("doctor", env=no_tools).stdout
    assert "not found" in text and "apt-get install gcc-arm-none-eabi" in text
    checks = {c["name"]: c for c in json.loads(tinygen("doctor", "--json", env=no_tools).stdout)}
    assert checks["numpy"]["found"] and checks["arm-none-eabi-gcc"]["found"] is None


# --- Without tools ------------------------------------------------------------------------------------------------


def test_without_a_compiler_sizes_are_estimated(model: Path, tmp_path: Path, no_tools: dict[str, str | None]) -> None:
    result = tinygen("build", model, "--out", tmp_path / "out", env=no_tools)
    report = report_of(tmp_path / "out")
    assert report["ram"]["stack"] is None and report["ram"]["total"] == report["ram"]["arena"]
    assert not report["flash"]["measured"] and report["flash"]["compiler"] is None and report["flash"]["code"] > 0
    assert "stack unknown: no compiler found" in result.stdout and "estimate: nothing linked" in result.stdout


def test_without_a_compiler_nothing_is_verified(built: Path, tmp_path: Path, no_tools: dict[str, str | None]) -> None:
    np.savez(tmp_path / "in.npz", x=np.zeros((1, 6), np.int8))
    words = ["run", built, "--inputs", tmp_path / "in.npz", "--outputs", tmp_path / "out.npz", "--on"]
    assert "gcc or clang or cc was not found: install" in refused("verify", built, "--on", "host", code=7, env=no_tools)
    assert "qemu-system-arm was not found" in refused("verify", built, "--on", "qemu", code=7, env=no_tools)
    assert "was not found" in refused(*words, "host", code=7, env=no_tools)
    tinygen(*words, "reference", env=no_tools)


# --- The command itself -------------------------------------------------------------------------------------------


def test_help_and_version() -> None:
    assert tinygen("--version").stdout == f"tinygen, version {VERSION}\n"
    text = tinygen("--help").stdout
    assert "..." not in text.partition("Commands:")[2], "a first sentence that is too long for its line"
    for command in ("build", "verify", "run", "inspect", "targets", "doctor"):
        assert re.search(rf"^  {command} ", text, re.MULTILINE) and tinygen(command, "-h").stdout.startswith("Usage:")


def test_numbers_are_whole_on_a_narrow_terminal(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names give way, and end in …, where a table is wider than what it is printed on."""
    monkeypatch.setattr("tinygen.commands.terminal.OUT.width", 62)
    shown = tinygen("build", built.parent / "net" / "dense-v1.tflite", "--out", built).stdout
    rows = [line.split() for line in shown.splitlines() if "FULLY" in line]
    wanted = [
        ["×".join(map(str, x["output_shape"])), str(x["macs"]), str(x["constant_bytes"])]
        for x in report_of(built)["layers"]
    ]
    assert [row[-3:] for row in rows] == wanted
    assert max(map(len, shown.partition("RAM")[0].splitlines())) <= 62


def test_in_a_pipe_there_is_nothing_but_the_result(model: Path, tmp_path: Path) -> None:
    """No escape sequences, no spinner, no wrapped rows; and `python -m tinygen` is the command."""
    command = [sys.executable, "-m", "tinygen", "build", str(model), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, env={**os.environ, "COLUMNS": "40"})
    assert (done.returncode, done.stderr) == (0, b"") and b"\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) == 1 + 3 + 1 + 2 + 1
    done = subprocess.run([*command[:3], "build", "none.tflite"], capture_output=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1) and b"\x1b" not in done.stderr
