# SPDX-License-Identifier: Apache-2.0
"""The commands that read data: evaluate, quantize, and build with calibration data."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.small_models import dense_layers, float_add
from tinygen import api
from tinygen.cli import main
from tinygen.reference import run


def tinygen(*words: str | Path, code: int = 0) -> Result:
    """Run the command line; its exit code must be `code`."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, f"{result.exit_code}: {result.output}{result.exception!r}"
    return result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """float.tflite, which adds its input [1, 4] to itself; int8.tflite; and samples of both with labels."""
    (tmp_path / "float.tflite").write_bytes(float_add())
    (tmp_path / "int8.tflite").write_bytes(dense_layers())
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (50, 4)).astype(np.uint8)
    np.savez(tmp_path / "float.npz", x=values, y=values.argmax(axis=1))
    np.savez(tmp_path / "int8.npz", x=rng.integers(-128, 128, (10, 6)).astype(np.int8), y=np.zeros(10, np.int64))
    return tmp_path


def test_evaluate_prints_a_row_for_each_that_ran(folder: Path) -> None:
    table = tinygen("evaluate", folder / "int8.tflite", "--data", folder / "int8.npz").stdout.splitlines()
    assert table[0].split() == ["where", "top1"]
    assert [line.split()[0] for line in table[1:3]] == ["reference", "host"]
    assert table[1].split()[1] == table[2].split()[1]
    assert table[3] == "10 samples, compared with labels"


def test_evaluate_a_float_model_before_and_after(folder: Path) -> None:
    words = ["evaluate", folder / "float.tflite", "--data", folder / "float.npz", "--scale", "0.01", "--mean", "128"]
    assert json.loads(tinygen(*words, "--json").stdout)["scores"] == {"float": 1.0}
    more = [*words, "--calibration", folder / "float.npz", "--on", "reference", "--limit", "20", "--json"]
    found = json.loads(tinygen(*more).stdout)
    assert list(found["scores"]) == ["float", "reference"] and found["scores"]["reference"] > 0.9
    assert (found["samples"], found["metric"], found["against"]) == (20, "top1", "labels")


def test_quantize_writes_a_model_for_others(folder: Path) -> None:
    out = folder / "small.tflite"
    words = ["quantize", folder / "float.tflite", "--calibration", folder / "float.npz", "-o", out, "--scale", "0.01"]
    assert tinygen(*words).stdout.endswith(f"wrote {out}\n")
    assert [layer["op"] for layer in json.loads(tinygen(*words, "--json").stdout)["layers"]] == ["ADD"]
    found = tinygen("evaluate", out, "--data", folder / "float.npz", "--scale", "0.01", "--on", "reference", "--json")
    assert json.loads(found.stdout)["scores"]["reference"] > 0.9


def test_layers_in_16_bits(folder: Path) -> None:
    """A layer by its name, in the file and in what is printed; none where the only layer computes the output."""
    out, source = folder / "wide.tflite", folder / "float.tflite"
    words = ["quantize", source, "--calibration", folder / "float.npz", "-o", out, "--scale", "0.01"]
    name = api.load(source).nodes[-1].name
    assert re.search(
        rf"int16  {re.escape(name)}: [+-][0-9.]+ dB, [+-][0-9]+ bytes", tinygen(*words, "--mixed", name).stdout
    )
    assert api.load(out).types[api.load(out).outputs[0]].dtype.value == "int16"
    assert json.loads(tinygen(*words, "--mixed", "all", "--json").stdout)["wide"] == []
    assert "16 bits for 'nothing'" in tinygen(*words, "--mixed", "nothing", code=2).stderr
    refused = tinygen("evaluate", source, "--data", folder / "float.npz", "--mixed", "all", code=2)
    assert "--mixed is for float models that are quantized here" in refused.stderr


@pytest.mark.parametrize("ending", ["onnx", "tflite"])
def test_quantized_models_are_converted(ending: str, folder: Path) -> None:
    """From TFLite to ONNX and from ONNX to TFLite, with the same integers and no calibration."""
    first, second = folder / "first.onnx", folder / f"second.{ending}"
    assert tinygen("quantize", folder / "int8.tflite", "-o", first).stdout == f"wrote {first}\n"
    assert json.loads(tinygen("quantize", first, "-o", second, "--json").stdout) is None
    original, made = (api.integers(api.load(folder / name)) for name in ("int8.tflite", second.name))
    values = np.load(folder / "int8.npz")["x"][:1]
    assert np.array_equal(run(original, [values])[0], run(made, [values])[0])


def test_a_float_model_becomes_onnx(folder: Path) -> None:
    out = folder / "small.onnx"
    tinygen("quantize", folder / "float.tflite", "--calibration", folder / "float.npz", "-o", out)
    assert tinygen("build", out, "--target", "host", "--out", folder / "built").exit_code == 0


def test_random_calibration_is_warned_about(folder: Path) -> None:
    out = folder / "small.tflite"
    done = tinygen("quantize", folder / "float.tflite", "--calibration", "random", "-o", out)
    assert done.stderr.startswith("warning: random noise stands for the data") and out.exists()


def test_build_says_how_calibration_data_was_preprocessed(folder: Path) -> None:
    words = ["build", folder / "float.tflite", "--calibration", folder / "float.npz", "--out", folder / "out"]
    tinygen(*words, "--mean", "1,2,3,4", "--scale", "0.0039215686")
    command = json.loads((folder / "out" / "report.json").read_text())["command"]
    assert command.endswith("--calibration float.npz --mean 1,2,3,4 --scale 0.0039215686")


@pytest.mark.parametrize(
    "words, message",
    [
        (["evaluate", "int8.tflite", "--data", "none.npz"], "none.npz: cannot be read: No such file or directory"),
        (
            ["evaluate", "int8.tflite", "--data", "int8.npz", "--mean", "a"],
            "--mean a: expected a number, or one for each",
        ),
        (["quantize", "int8.tflite", "--calibration", "int8.npz", "-o", "o.tflite"], "drop --calibration"),
        (["quantize", "float.tflite", "-o", "o.tflite"], "pass samples of its input with --calibration"),
        (["quantize", "float.tflite", "--calibration", "float.npz", "-o", "o.h5"], "ends in .tflite or .onnx"),
        (
            ["quantize", "float.tflite", "--calibration", "int8.npz", "-o", "o.tflite"],
            "expected samples like float32[1,4]",
        ),
    ],
)
def test_wrong_usage(words: list[str], message: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    result = tinygen(*words, code=2)
    assert result.stdout == "" and message in result.stderr and result.stderr.count("\n") == 1
