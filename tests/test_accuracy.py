# SPDX-License-Identifier: Apache-2.0
"""The comparison of quantizers: two fast models keep their limits, and a missed limit shows in the exit code."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import accuracy
from benchmarks.accuracy import sqnr
from benchmarks.accuracy_data import CASES
from benchmarks.accuracy_page import page
from benchmarks.accuracy_rows import Findings, Row, sign_test
from tests import zoo

ROW = Row(
    "a/labelled.onnx",
    "accuracy",
    0.5,
    "data",
    10,
    20,
    {"float": 90.0, "tinygen": 89.5, "onnxruntime": 89.5},
    noise={"tinygen": 30.0, "onnxruntime": 29.0},
    apart={"onnxruntime": (3.0, 3.0)},
    agreement={"tinygen": 99.0, "onnxruntime": 98.5},
)


def run(monkeypatch: pytest.MonkeyPatch, *rows: Row) -> int:
    monkeypatch.setattr(accuracy, "measure_all", lambda *_: Findings(rows, {"b/lstm": "no LSTM"}))
    monkeypatch.setattr(zoo, "PRESENT", True)
    return accuracy.main(["--json"])


def test_a_limit_is_kept_to_the_last_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, ROW) == 0
    assert run(monkeypatch, replace(ROW, scores={"float": 90.0, "tinygen": 89.49})) == 1


def test_losing_to_a_peer_on_too_many_models_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    worse = replace(ROW, metric="sqnr", limit=None, scores={"tinygen": 30.0, "onnxruntime": 30.1})
    assert run(monkeypatch, *[ROW] * 4, worse) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["counts"] == {"tflite": {"won": 0, "of": 0}, "onnxruntime": {"won": 4, "of": 5}}
    assert told["sound"] == told["counts"]
    assert told["models"][0]["best"] == ["tinygen", "onnxruntime"] and told["models"][4]["best"] == ["onnxruntime"]
    assert run(monkeypatch, *[ROW] * 3, worse) == 1


def test_the_page_says_what_is_missed_and_what_is_refused() -> None:
    text = page(Findings([replace(ROW, scores={"float": 90.0, "tinygen": 89.0, "onnxruntime": 88.0})], {"b": "why"}))
    assert "| 90.00 | **89.00** | - | 88.00 | +1.00 | 0.5 **missed** |" in text
    assert "| a/labelled.onnx | 99.00, 30.00 | - | 98.50, 29.00, p 1.00 |" in text
    assert "- b: why" in text and "onnxruntime on 1 of 1 models (100%)" in text


def test_the_loss_that_counts_is_that_of_the_worst_split() -> None:
    assert ROW.ok and not replace(ROW, worst=0.51).ok


def test_chance_decides_for_nobody() -> None:
    """A lead that luck explains does not count, whoever has it; one that it does not explain counts."""
    far = replace(ROW, noise={"tinygen": 28.0, "onnxruntime": 29.0})
    for scores, apart, expected in (
        ({"tinygen": 89.5, "onnxruntime": 89.6}, (4.0, 6.0), (True, False)),
        ({"tinygen": 89.6, "onnxruntime": 89.5}, (6.0, 4.0), (True, False)),
        ({"tinygen": 89.0, "onnxruntime": 90.0}, (4.0, 20.0), (False, False)),
        ({"tinygen": 90.0, "onnxruntime": 89.0}, (20.0, 4.0), (True, True)),
    ):
        rows = [replace(row, scores=scores, apart={"onnxruntime": apart}) for row in (ROW, far)]
        assert ROW.beats("onnxruntime") and rows[0].beats("onnxruntime") == (scores["tinygen"] > scores["onnxruntime"])
        assert tuple(row.soundly("onnxruntime") for row in rows) == expected


@pytest.mark.parametrize("first, second, expected", [(0, 0, 1), (5, 5, 1), (0, 5, 2 / 32), (8, 1, 20 / 512)])
def test_the_sign_test_counts_coins(first: int, second: int, expected: float) -> None:
    assert sign_test(first, second) == pytest.approx(expected)


def test_noise_is_measured_against_the_signal() -> None:
    exact = [np.array([3.0, 4.0]), np.array([0.0, 5.0])]
    assert sqnr([value + np.array([0.0, 0.5]) for value in exact], exact) == pytest.approx(20.0)


def test_without_the_zoo_there_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(zoo, "PRESENT", False)
    assert accuracy.main([]) == 2
    assert "TINYGEN_ZOO" in capsys.readouterr().err


needs_zoo = pytest.mark.skipif(not zoo.PRESENT, reason=zoo.ABSENT)


@pytest.mark.zoo
@needs_zoo
@pytest.mark.parametrize("model", ["kazuhito/keypoint_classifier.tflite", "onnx2c/atmega_mnist_14x14.onnx"])
def test_a_model_keeps_its_accuracy(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "TENSORFLOW", False)
    row = accuracy.attempt(model, 1000, splits=1)
    assert isinstance(row, Row) and row.tests == 1000 and row.notes == ()
    assert row.scores["float"] > 90 and row.ok, row
    assert ("onnxruntime" in row.scores) == model.endswith(".onnx")


@pytest.mark.zoo
@needs_zoo
def test_calibration_and_test_data_are_disjoint() -> None:
    for case in CASES:
        if case.limit is not None:
            calibration, test = case.split(number=1)
            assert len(calibration.samples) == case.calibration and len(test.samples) >= 800
            assert test.labels is not None and len(test.labels) == len(test.samples)
            assert not {id(sample) for sample in calibration.samples} & {id(sample) for sample in test.samples}
