# SPDX-License-Identifier: Apache-2.0
"""A model that takes its input row by row: the same bits, in less memory, also in the firmware of the example."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import tinygen
from tests.small_models import two_inputs
from tests.stripe_models import network
from tests.test_stripes import HOST
from tinygen.errors import UnsupportedError, UsageError
from tinygen.layout import laid_out
from tinygen.plan.arena import plan

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "examples" / "digits" / "digits.tflite"


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tinygen.build(DIGITS, "cortex-m0", optimize="ram", push_rows=True)
    return made.write(tmp_path_factory.mktemp("rows") / "digits")


@pytest.mark.qemu
def test_rows_give_the_bits_of_the_whole(build: Path) -> None:
    """On the host with sanitizers, and on a Cortex-M0, which faults where an address is not aligned."""
    verified = tinygen.verify(build, vectors=2)
    verified.raise_if_wrong()
    assert len(verified.checked) == 2


def test_the_report_says_how_the_input_comes(build: Path) -> None:
    report, header = tinygen.read_report(build), (build / "digits.h").read_text()
    jsonschema.validate(report, json.loads((ROOT / "tests" / "report.schema.json").read_text()))
    assert report["layers"][0]["together"][0]["op"] == "CONV_2D"
    (port,) = report["inputs"]
    assert (port["rows"], port["bytes"]) == (8, 64) and "--push-rows" in report["command"]
    assert "DIGITS_INPUT_ROWS 8" in header and "DIGITS_INPUT_ROW_SIZE 8" in header and "digits_push_row" in header


def test_no_image_lies_in_memory() -> None:
    """The arena is smaller than the image by much, and than that of a program which has it there."""
    graph = next(g for g in map(network, range(100)) if g.types["x"].bytes > 500 and len(g.nodes) > 3)
    whole = laid_out(graph, HOST, "ram")[2]
    _, program, rows = laid_out(graph, HOST, "ram", pushed=True)
    assert program.pushed is not None and program.pushed.rows == graph.types["x"].shape[1]
    assert rows.bytes < whole.bytes and plan(program).bytes == rows.bytes


@pytest.mark.qemu
def test_the_firmware_of_the_example(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("row_push_demo", ROOT / "examples" / "row_push" / "demo.py")
    assert spec is not None and spec.loader is not None
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    frames = np.random.default_rng(0).integers(0, 17, (4, 8, 8)).astype(np.uint8)
    whole = tinygen.build(DIGITS, "host").write(tmp_path / "whole")
    port = tinygen.read_report(whole)["inputs"][0]
    images = np.clip(np.rint(frames / 16 / port["scale"]) + port["zero_point"], -128, 127).astype(np.int8)
    answers = tinygen.run_on(whole, [[image[None, :, :, None]] for image in images], on="reference")
    expected = [int(np.argmax(scores)) for (scores,) in answers]
    printed = demo.emulate(demo.firmware(tmp_path, frames, expected))
    assert [int(d) for d in re.findall(r"recognised (\d)", printed)] == expected and "4 of 4 right" in printed


def test_refusals(tmp_path: Path) -> None:
    file = tmp_path / "two.tflite"
    file.write_bytes(two_inputs())
    with pytest.raises(UnsupportedError, match="--push-rows: 'two' cannot take its input row by row"):
        tinygen.build(file, "host", push_rows=True)
    with pytest.raises(UsageError, match="--push-rows"):
        tinygen.build(replace(network(1), name="m"), "host", push_rows=True, packages=["cmake"])
