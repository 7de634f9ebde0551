# SPDX-License-Identifier: Apache-2.0
"""Input sets: random ones with corners, and those of the user's file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.harness_fixture import FIXTURE
from tinygen.errors import UsageError
from tinygen.ir.types import DType, Quant, TensorType
from tinygen.verify.build_dir import Place, read_build
from tinygen.verify.vectors import load_vectors, make_vectors

X = Place("x", TensorType((1, 2, 3), DType.INT8, Quant.per_tensor(0.5, 3)), 0)
B = Place("b", TensorType((4,), DType.INT32), 8)
F = Place("f", TensorType((1000,), DType.FLOAT32), 24)


def test_a_random_set_comes_first_then_the_corners() -> None:
    first, low, high, zero, *rest = make_vectors([X, B, F], 7, seed=3)
    assert len(rest) == 3
    for vector in (first, low, high, zero, *rest):
        for array, place in zip(vector, (X, B, F), strict=True):
            assert (array.shape, array.dtype) == (place.type.shape, place.type.dtype.numpy)
    assert [set(v[0].ravel().tolist()) for v in (low, high, zero)] == [{-128}, {127}, {3}]
    assert [set(v[1].tolist()) for v in (low, high, zero)] == [{0}, {7}, {0}]
    assert [set(v[2].tolist()) for v in (low, high, zero)] == [{-1000.0}, {1000.0}, {0.0}]
    assert len({v[0].tobytes() for v in (first, *rest)}) == 4
    assert all(v[1].min() >= 0 and v[1].max() < 8 for v in (first, *rest))


def test_the_seed_decides() -> None:
    def flat(seed: int) -> list[bytes]:
        return [a.tobytes() for v in make_vectors([X, B, F], 6, seed) for a in v]

    assert flat(1) == flat(1) != flat(2)


def test_fewer_sets_than_corners() -> None:
    many = make_vectors([X], 5, seed=1)
    for count in range(5):
        some = make_vectors([X], count, seed=1)
        assert [v[0].tobytes() for v in some] == [v[0].tobytes() for v in many[:count]]


def test_a_spread_scales_floats() -> None:
    (vector,) = make_vectors([F], 1, seed=1, spreads={"f": 20.0})
    assert 15 < float(np.std(vector[0])) < 25


def test_integers_cover_their_whole_range() -> None:
    wide = Place("w", TensorType((5000,), DType.INT8, Quant.per_tensor(1.0, 0)), 0)
    assert len(np.unique(make_vectors([wide], 1, seed=1)[0][0])) == 256


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def write(**arrays: Any) -> Path:
        np.savez(tmp_path / "in.npz", **arrays)
        return tmp_path / "in.npz"

    return write


def i8(*shape: int) -> Any:
    return np.arange(np.prod(shape), dtype=np.int8).reshape(shape)


@pytest.mark.parametrize("key", ["x", "in0"])
@pytest.mark.parametrize(("shape", "count"), [((1, 2, 3), 1), ((5, 1, 2, 3), 5), ((5, 2, 3), 5), ((1, 1, 2, 3), 1)])
def test_a_file_holds_one_set_or_many(save: Callable[..., Path], key: str, shape: tuple[int, ...], count: int) -> None:
    vectors = load_vectors(save(**{key: i8(*shape)}), [X])
    assert [v[0].shape for v in vectors] == [(1, 2, 3)] * count
    assert b"".join(v[0].tobytes() for v in vectors) == i8(*shape).tobytes()


def test_a_file_for_several_inputs(save: Callable[..., Path]) -> None:
    vectors = load_vectors(save(in1=np.ones((3, 4), np.int32), x=i8(3, 1, 2, 3)), [X, B])
    assert [[a.shape for a in v] for v in vectors] == [[(1, 2, 3), (4,)]] * 3


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": i8(1, 2, 3)}, "expected one key 'x' or 'in0' for input 0, got 'y'$"),
        ({}, "expected one key 'x' or 'in0' for input 0, got no key$"),
        ({"x": i8(1, 2, 3), "in0": i8(1, 2, 3)}, "expected one key 'x' or 'in0' for input 0, got 'x' and 'in0'$"),
        ({"x": i8(1, 2, 3), "z": i8(1)}, r"key 'z' is no input of the model; expected 'x' \(or 'in0'\)"),
        ({"x": i8(1, 3, 2)}, r"key 'x': expected int8\[1,2,3\] or int8\[N,2,3\], got int8\[1,3,2\]$"),
        ({"x": i8(6)}, r"key 'x': expected int8\[1,2,3\] or int8\[N,2,3\], got int8\[6\]$"),
        ({"x": np.zeros((1, 2, 3))}, r"key 'x': expected int8\[1,2,3\] or int8\[N,2,3\], got float64\[1,2,3\]$"),
        ({"x": i8(0, 2, 3)}, "key 'x': expected at least one input set, got none$"),
    ],
)
def test_a_file_that_does_not_fit(save: Callable[..., Path], arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=r"in\.npz: " + message):
        load_vectors(save(**arrays), [X])


def test_inputs_with_different_numbers_of_sets(save: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="key 'b': expected 2 sets as in 'x', got 3"):
        load_vectors(save(x=i8(2, 2, 3), b=np.zeros((3, 4), np.int32)), [X, B])


def test_files_that_are_no_archives(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.npz: cannot be read: No such file"):
        load_vectors(tmp_path / "none.npz", [X])
    np.save(tmp_path / "one.npy", i8(1, 2, 3))
    with pytest.raises(UsageError, match=r"one\.npy: expected an \.npz archive"):
        load_vectors(tmp_path / "one.npy", [X])
    for content in (b"", b"hello", b"PK\x03\x04 and no more"):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(UsageError, match=r"bad\.npz: expected an \.npz archive"):
            load_vectors(tmp_path / "bad.npz", [X])
    np.savez(tmp_path / "object.npz", x=np.array([{}], dtype=object))
    with pytest.raises(UsageError, match=r"object\.npz: expected an \.npz archive of plain arrays"):
        load_vectors(tmp_path / "object.npz", [X])


def test_a_build_is_read_back() -> None:
    build = read_build(FIXTURE)
    assert (build.name, build.arena, build.modified) == ("kws", 52, ())
    assert [(p.name, str(p.type), p.offset) for p in build.inputs] == [("x", "int8[1,16]", 0), ("b", "int32[1]", 48)]
    assert (build.inputs[0].type.q.scale, build.inputs[0].type.q.zero_point) == (0.5, 3)
    assert build.inputs[1].type.quant is None
    assert [[p.name for p in step] for step in build.steps] == [["t"], ["y"]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURE, tmp_path / "build"))


def test_an_edited_file_is_noticed(folder: Path) -> None:
    (folder / "kws.c").write_text("/* mine */\n")
    assert read_build(folder).modified == ("kws.c",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "is not a report with schema 1"),
        ({"inputs": None}, "is not a report of tinygen"),
        ({"layers": [{"step": 1, "outputs": []}]}, "the steps are not numbered"),
        ({"ram": {"arena": 40}}, "tensor 'b' is not 4 bytes inside the arena"),
        ({"model": {"name": "../kws"}}, "'../kws' is not a C identifier"),
        ({"files": {"../x": ""}}, "'../x' is not the name of a file in the folder"),
        ({"files": {"x.c": ""}}, r"cannot read '.*x\.c', which report\.json lists: No such file"),
    ],
)
def test_a_spoilt_report_is_refused(folder: Path, change: dict[str, Any], message: str) -> None:
    file = folder / "report.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(UsageError, match=message):
        read_build(folder)


def test_a_folder_without_a_report(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no report\.json: expected a folder written by tinygen build"):
        read_build(tmp_path)
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(UsageError, match="not valid JSON"):
        read_build(tmp_path)
