# SPDX-License-Identifier: Apache-2.0
"""L2_NORMALIZATION."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import assert_equal, check_laws, load, run_c, tflm
from tests.operators.unary import Quantization, model, refusal
from tests.strategies import FEW, quants, shapes
from tinygen.reference import run

OUTPUT = (1 / 128, 0)


def normalization(
    first: Quantization, shape: tuple[int, ...], second: Quantization = OUTPUT, activation: int = 0
) -> bytes:
    options = "L2NormOptions"
    return model("L2_NORMALIZATION", first, second, shape, options, fusedActivationFunction=activation)


@st.composite
def models(draw: st.DrawFn) -> bytes:
    return normalization(draw(quants()), (*draw(shapes(0, 3)), draw(st.integers(1, 70))))


@FEW
@given(st.lists(models(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


def test_sums_of_every_size() -> None:
    """Rows whose sums of squares run from 0 to almost 2^31."""
    data = normalization((0.1, -128), (40, 33025))
    rows = np.full((40, 33025), -128, np.int16)
    for row in range(1, 40):
        rows[row, : int(1.3**row)] += min(1 + row * 8, 255)
    rows[39] = 127
    values, graph = rows.astype(np.int8), load(data)
    expected = run(graph, [values])
    assert_equal("TFLM", expected, tflm(data, [[values]])[0])
    assert_equal("C", run_c([graph], [[[values]]])[0][0], expected)


def test_refusals() -> None:
    assert "at most 33025" in refusal(normalization((0.1, 0), (33026,)))
    assert "1 to 4 dimensions" in refusal(normalization((0.1, 0), (2, 2, 2, 2, 2)))
    assert "scale 1/128 and zero point 0" in refusal(normalization((0.1, 0), (2, 2), (1 / 128, 1)))
    assert "no fused activation" in refusal(normalization((0.1, 0), (2, 2), activation=1))
