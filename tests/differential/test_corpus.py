"""Random networks out of TensorFlow's converter: TFLM == reference == C, for every one of them."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from tests.laws import assert_equal, draw_inputs, load, run_c, tflm
from tinygen.passes import LOSSLESS, run_passes
from tinygen.plan.order import in_best_order
from tinygen.reference import run

CORPUS = Path(os.environ.get("TINYGEN_CORPUS", Path(__file__).parent / "corpus.zip"))
#: Networks that are compiled together: one compilation is much cheaper than many.
BATCH = 20

with zipfile.ZipFile(CORPUS) as archive:
    NAMES = archive.namelist()


@pytest.mark.parametrize("first", range(0, len(NAMES), BATCH))
def test_networks(first: int) -> None:
    with zipfile.ZipFile(CORPUS) as archive:
        files = {name: archive.read(name) for name in NAMES[first : first + BATCH]}
    graphs, inputs, expected = [], [], []
    for name, data in files.items():
        graph = load(data)
        sets = draw_inputs(graph, seed=first, count=2)
        answers = tflm(data, sets)
        for values, answer in zip(sets, answers, strict=True):
            assert_equal(f"{name}: reference against TFLM", run(graph, values), answer)
        graphs.append(in_best_order(run_passes(graph, LOSSLESS)[0]))
        inputs.append(sets)
        expected.append(answers)
    for name, got, answers in zip(files, run_c(graphs, inputs), expected, strict=True):
        for outputs, answer in zip(got, answers, strict=True):
            assert_equal(f"{name}: C against TFLM", outputs, answer)


def test_corpus_is_large_and_varied() -> None:
    with zipfile.ZipFile(CORPUS) as archive:
        used = {node.op for name in NAMES for node in load(archive.read(name)).nodes}
    assert len(NAMES) >= 300
    assert len(used) >= 35, sorted(used)
