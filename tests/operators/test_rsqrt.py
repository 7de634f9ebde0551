# SPDX-License-Identifier: Apache-2.0
"""RSQRT."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws, load
from tests.operators.unary import ANY, model, models, refusal
from tests.strategies import FEW, scales
from tinygen.reference import run

#: TFLM stops at inputs below the zero point.
POSITIVE = st.tuples(scales(), st.just(-128))


@FEW
@given(st.lists(models("RSQRT", POSITIVE), min_size=8, max_size=8), st.integers(0, 2**32))
def test_positive(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@FEW
@given(st.lists(models("RSQRT", ANY), min_size=8, max_size=8), st.integers(0, 2**32))
def test_any_sign(files: list[bytes], seed: int) -> None:
    check_laws(files, seed, with_tflm=False)


def test_what_has_no_root() -> None:
    graph = load(model("RSQRT", (0.1, 3), (0.1, 0), (3,)))
    assert run(graph, [np.array([-128, 3, 4], np.int8)])[0].tolist() == [127, 127, 32]


def test_refusals() -> None:
    for quants in (((1e-12, 0), (1e-12, 0)), ((1e6, 0), (10.0, 0))):
        assert "between 2^-11 and 2^30" in refusal(model("RSQRT", *quants))
