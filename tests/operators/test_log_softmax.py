# SPDX-License-Identifier: Apache-2.0
"""LOG_SOFTMAX."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import assert_equal, check_laws, check_real, draw_inputs, load, run_c, sources, tflm
from tests.operators.unary import Quantization, model, refusal
from tests.strategies import FEW, scales, shapes
from tests.tflite_builder import ModelBuilder
from tinygen.ops import float_math
from tinygen.reference import run

OUTPUT = (1 / 16, 127)


def of_int8(first: Quantization, shape: tuple[int, ...] = (2, 3), second: Quantization = OUTPUT) -> bytes:
    return model("LOG_SOFTMAX", first, second, shape)


def of_floats(shape: tuple[int, ...]) -> bytes:
    b = ModelBuilder()
    x, y = b.tensor(shape, "float32"), b.tensor(shape, "float32")
    b.op("LOG_SOFTMAX", [x], [y], "LogSoftmaxOptions")
    return b.finish([x], [y])


@st.composite
def row_shapes(draw: st.DrawFn) -> tuple[int, ...]:
    return (*draw(shapes(0, 3)), draw(st.integers(1, 60)))


INPUTS = st.tuples(scales() | scales(1e-6, 1e-3) | scales(0.5, 40), st.integers(-128, 127))


@FEW
@given(st.lists(st.builds(of_int8, INPUTS, row_shapes()), min_size=8, max_size=8), st.integers(0, 2**32))
def test_int8(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


def test_long_rows() -> None:
    check_laws([of_int8((1e-3, 0), (2, 4095))])


@FEW
@given(st.lists(row_shapes(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_float32(sizes: list[tuple[int, ...]], seed: int) -> None:
    """C equals the reference to the bit; TFLM, whose expf and logf are the C library's, to the last bits."""
    files = [of_floats(shape) for shape in sizes]
    graphs = [load(data) for data in files]
    sets = [draw_inputs(graph, seed) for graph in graphs]
    for data, graph, inputs, answers in zip(files, graphs, sets, run_c(graphs, sets), strict=True):
        for values, got, theirs in zip(inputs, answers, tflm(data, inputs), strict=True):
            assert_equal("C", got, run(graph, values))
            check_real(graph, values, got)
            np.testing.assert_allclose(got[0], theirs[0], rtol=4e-7, atol=1e-6)


def test_float32_extremes() -> None:
    """Infinities, NaN, differences beyond the range of float, rows of equal numbers."""
    inf, nan, most = np.inf, np.nan, 3.4e38
    rows = [
        [inf, 1, 2],
        [-inf, 1, 2],
        [-inf] * 3,
        [nan, 1, 2],
        [nan] * 3,
        [most, -most, 0],
        [0, -87.4, -103.9],
        [5] * 3,
    ]
    values, graph = np.array(rows, np.float32), load(of_floats((8, 3)))
    answer = run(graph, [values])
    got = run_c([graph], [[[values]]])[0][0]
    assert np.array_equal(np.isnan(got[0]), np.isnan(answer[0]))
    assert_equal("C", [np.nan_to_num(got[0])], [np.nan_to_num(answer[0])])
    assert np.allclose(answer[0][6:], [[0, -87.4, -103.9], [-np.log(3)] * 3])
    assert answer[0][1, 0] == -inf


def test_exp_and_log_are_the_nearest_floats() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([-(2.0 ** rng.uniform(-30, 6.6, 20000)), [0.0, -103.97, -104.5]]).astype(np.float32)
    y = np.concatenate([1 + 2.0 ** rng.uniform(-23, 12, 20000), [1.0, 2.0, np.sqrt(2)]]).astype(np.float32)
    for mine, exact in ((float_math.exp, np.exp), (float_math.log, np.log)):
        arguments = (x if exact is np.exp else y).astype(np.float64)
        assert np.array_equal(mine(arguments).astype(np.float32), exact(arguments).astype(np.float32))


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="needs arm-none-eabi-gcc")
@pytest.mark.parametrize(
    "core", ["-mcpu=cortex-m7 -mfpu=fpv5-d16 -mfloat-abi=hard", "-mcpu=cortex-m55 -mfloat-abi=hard"]
)
def test_no_fused_multiply_add(core: str, tmp_path: Path) -> None:
    """Cores with fused multiply-add in double would round once where the reference rounds twice."""
    for name, text in sources(load(of_floats((2, 5)))).items():
        (tmp_path / name).write_text(text)
    command = f"arm-none-eabi-gcc {core} -mfloat-abi=hard -mthumb -std=gnu11 -O3 -ffp-contract=fast -S m.c -o -"
    done = subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "vmul.f64" in done.stdout
    assert "vfm" not in done.stdout and "vfnm" not in done.stdout and "vmla" not in done.stdout


def test_refusals() -> None:
    assert "scale 1/16 and zero point 127" in refusal(of_int8((0.1, 0), second=(1 / 8, 127)))
    assert "larger than 2^-26" in refusal(of_int8((1e-9, 0)))
    assert "at most 4095" in refusal(of_floats((2, 4096)))
    b = ModelBuilder()
    x, y = b.tensor((2, 3), "int8", 0.1), b.tensor((2, 3), "float32")
    b.op("LOG_SOFTMAX", [x], [y], "LogSoftmaxOptions")
    assert "must be float32, or int8" in refusal(b.finish([x], [y]))
