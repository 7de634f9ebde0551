# SPDX-License-Identifier: Apache-2.0
"""A model of two steps, y = 2 * x + b, written by hand as tinygen would, to test what runs generated code."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tinygen.ir.types import Array
from tinygen.verify.build_dir import BuildDir, read_build
from tinygen.verify.execution import Execution
from tinygen.verify.vectors import make_vectors

FIXTURE = Path(__file__).parent

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is missing")
needs_clang = pytest.mark.skipif(shutil.which("clang") is None, reason="clang is missing")
NEEDS_QEMU = (
    pytest.mark.qemu,
    pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is missing"),
    pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is missing"),
)


def broken(tmp_path: Path, code: str) -> BuildDir:
    """A copy of the model with C code put at the beginning of its kws_run."""
    folder = shutil.copytree(FIXTURE, tmp_path / "broken", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    source = folder / "kws.c"
    text = source.read_text()
    assert "/* BREAK */" in text
    source.write_text(text.replace("/* BREAK */", code))
    return read_build(folder)


def some_vectors(build: BuildDir, count: int = 5) -> list[list[Array]]:
    return make_vectors(build.inputs, count, seed=1)


def check(execution: Execution, vectors: list[list[Array]], where: str) -> None:
    """The execution computed the model, and the compiler was content."""
    assert execution.where == where
    assert execution.warnings == ""
    for (x, b), (y,) in zip(vectors, execution.outputs, strict=True):
        assert y.dtype == np.int8
        np.testing.assert_array_equal(y, np.clip(2 * x.astype(np.int64) + b, -128, 127))
