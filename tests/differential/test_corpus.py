# SPDX-License-Identifier: Apache-2.0
"""Random networks out of TensorFlow's converter: TFLM == reference == C, for every one of them."""

from __future__ import annotations

import pytest

from tests.differential.corpus import REFUSED, WIDE, files, supported
from tests.laws import assert_equal, draw_inputs, load, run_c, sources, tflm
from tinygen.errors import UnsupportedError
from tinygen.passes import LOSSLESS, run_passes
from tinygen.plan.order import in_best_order
from tinygen.reference import run

#: Networks that are compiled together: one compilation is much cheaper than many.
BATCH = 20


@pytest.mark.parametrize("first", range(0, len(files()), BATCH))
def test_networks(first: int) -> None:
    check(list(supported())[first : first + BATCH], first)


@pytest.mark.parametrize("first", range(0, len(files(WIDE)), BATCH))
def test_networks_with_int16_activations(first: int) -> None:
    check(list(files(WIDE).items())[first : first + BATCH], first)


def check(chosen: list[tuple[str, bytes]], seed: int) -> None:
    graphs, inputs, expected = [], [], []
    for name, data in chosen:
        graph = load(data)
        sets = draw_inputs(graph, seed=seed, count=2)
        answers = tflm(data, sets)
        for values, answer in zip(sets, answers, strict=True):
            assert_equal(f"{name}: reference against TFLM", run(graph, values), answer)
        graphs.append(in_best_order(run_passes(graph, LOSSLESS)[0]))
        inputs.append(sets)
        expected.append(answers)
    for (name, _), got, answers in zip(chosen, run_c(graphs, inputs), expected, strict=True):
        for outputs, answer in zip(got, answers, strict=True):
            assert_equal(f"{name}: C against TFLM", outputs, answer)


@pytest.mark.parametrize("name", [name for name in REFUSED if name in files()])
def test_refused(name: str) -> None:
    with pytest.raises(UnsupportedError, match=REFUSED[name]):
        sources(run_passes(load(files()[name]), LOSSLESS)[0])


def test_corpus_is_large_and_varied() -> None:
    used = {node.op for data in files().values() for node in load(data).nodes}
    assert len(files()) >= 300
    assert len(used) >= 40, sorted(used)
