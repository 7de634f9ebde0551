# SPDX-License-Identifier: Apache-2.0
"""Samples out of files, folders and Python objects; every mismatch is a sentence."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tinygen.data.calibration import Preprocessing, load_labelled, load_samples
from tinygen.errors import UsageError
from tinygen.ir.types import Array, DType, Quant, TensorType

RNG = np.random.default_rng(0)


def real(*shape: int) -> TensorType:
    return TensorType(shape, DType.FLOAT32)


IMAGE = [("image", real(1, 4, 5, 3))]
TWO = [("left", real(1, 3)), ("right", real(1, 2))]
INT8 = [("x", TensorType((1, 3), DType.INT8, Quant.per_tensor(0.5, 3)))]


def npz(folder: Path, **arrays: Any) -> Path:
    path = folder / "data.npz"
    np.savez(path, allow_pickle=False, **arrays)
    return path


def npy(folder: Path, array: Array, name: str = "data.npy") -> Path:
    np.save(folder / name, array)
    return folder / name


def refusal(source: Any, inputs: Any, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        load_samples(source, inputs, **options)
    return str(caught.value)


@pytest.mark.parametrize("keys", [("left", "right"), ("in0", "in1")])
def test_an_archive_holds_stacks_by_name_or_number(keys: tuple[str, str], tmp_path: Path) -> None:
    left, right = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 1, 2))
    sets = load_samples(npz(tmp_path, **{keys[1]: right, keys[0]: left}), TWO, limit=4)
    assert len(sets) == 4
    for i, (a, b) in enumerate(sets):
        assert a.shape == (1, 3) and b.shape == (1, 2) and a.dtype == b.dtype == np.float32
        assert np.array_equal(a[0], left[i].astype(np.float32)) and np.array_equal(b, right[i].astype(np.float32))


def test_dimensions_of_one_do_not_count() -> None:
    pictures = RNG.integers(0, 256, (7, 4, 5), dtype=np.uint8)
    for tensor in (real(1, 4, 5, 1), real(1, 1, 4, 5), real(4, 5)):
        sets = load_samples(pictures, [("x", tensor)])
        assert [s[0].shape for s in sets] == [tensor.shape] * 7
        assert np.array_equal(np.stack([s[0].reshape(4, 5) for s in sets]), pictures)


def test_one_sample_needs_no_leading_axis(tmp_path: Path) -> None:
    assert len(load_samples(npy(tmp_path, np.zeros((4, 5, 3))), IMAGE)) == 1
    assert len(load_samples(np.zeros((3,)), [("x", real(3))])) == 1
    assert len(load_samples(np.zeros((3,)), [("x", real(1, 1))])) == 3


def test_labels_come_with_the_archive(tmp_path: Path) -> None:
    path = npz(tmp_path, x=np.zeros((5, 3)), y=np.arange(5), labels=np.array(["a", "b"]))
    found = load_labelled(path, [("input", real(1, 3))], limit=2)
    assert found.labels is not None and found.labels.tolist() == [0, 1] and len(found.sets) == 2
    assert load_labelled(path, [("input", real(1, 3))]).labels is not None
    assert load_labelled(np.zeros((5, 3)), [("input", real(1, 3))]).labels is None


@pytest.mark.parametrize(
    "labels, words", [(np.array(["a"] * 5), "expected numbers"), (np.zeros(4), "expected 5 labels, got 4")]
)
def test_labels_that_do_not_fit(labels: Array, words: str, tmp_path: Path) -> None:
    path = npz(tmp_path, x=np.zeros((5, 3)), y=labels)
    with pytest.raises(UsageError, match=f"data.npz: key 'y': {words}"):
        load_labelled(path, [("input", real(1, 3))])


def test_a_folder_of_arrays_is_read_in_order(tmp_path: Path) -> None:
    npy(tmp_path, np.full((2, 3), 7.0), "b.npy")
    npy(tmp_path, np.full(3, 5.0), "a.npy")
    sets = load_samples(tmp_path, [("x", real(1, 3))])
    assert [float(s[0][0, 0]) for s in sets] == [5, 7, 7]


@pytest.mark.parametrize("ending", ["png", "bmp"])
def test_pictures_are_preprocessed_by_channel(ending: str, tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    for i, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / f"{i}.{ending}")
    how = Preprocessing(mean=(1.0, 2.0, 3.0), scale=(0.5,))
    expected = (pixels - np.array([1.0, 2.0, 3.0])) * 0.5
    assert np.array_equal(np.concatenate([s[0] for s in load_samples(tmp_path, IMAGE, preprocessing=how)]), expected)
    turned = load_samples(tmp_path, [("x", real(1, 3, 4, 5))], preprocessing=how)
    assert np.array_equal(np.concatenate([s[0] for s in turned]), expected.transpose(0, 3, 1, 2))


def test_pictures_become_grey_where_the_model_has_one_channel(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 5, 3), 100, np.uint8)).save(tmp_path / "a.jpg", quality=100)
    (sample,) = load_samples(tmp_path, [("x", real(1, 4, 5, 1))])
    assert np.all(np.abs(sample[0] - 100) <= 1)


def test_pictures_of_another_size(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "a.png")
    assert "a.png: expected 4×5 pixels (height first), got 4×6; resize" in refusal(tmp_path, IMAGE)
    assert "pictures do not fit" in refusal(tmp_path, [("x", real(1, 60))])
    (tmp_path / "a.png").write_bytes(b"no picture")
    assert "a.png: cannot be read as a picture" in refusal(tmp_path, IMAGE)


def write_wave(path: Path, values: Array, channels: int = 1) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(values.itemsize)
        file.setframerate(16000)
        file.writeframes(values.tobytes())


@pytest.mark.parametrize(
    "values",
    [np.array([0, 128, 192], "u1"), np.array([-32768, 0, 16384], "<i2"), np.array([-(2**31), 0, 2**30], "<i4")],
)
def test_sounds_lie_between_minus_one_and_one(values: Array, tmp_path: Path) -> None:
    write_wave(tmp_path / "a.wav", values)
    (sample,) = load_samples(tmp_path, [("x", real(1, 3))])
    assert sample[0].tolist() == [[-1.0, 0.0, 0.5]]


def test_sounds_that_do_not_fit(tmp_path: Path) -> None:
    write_wave(tmp_path / "a.wav", np.zeros(6, "<i2"), channels=2)
    assert load_samples(tmp_path, [("x", real(3, 2))])
    assert "a.wav: expected samples like float32[1,4], alone or stacked, got float32[3,2]" in refusal(
        tmp_path, [("x", real(1, 4))]
    )
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    assert "a.wav: cannot be read as a wave file" in refusal(tmp_path, [("x", real(1, 4))])


def test_layouts_are_turned_where_declared() -> None:
    last = RNG.normal(size=(2, 4, 5, 3)).astype(np.float32)
    first = last.transpose(0, 3, 1, 2)
    how = {"mean": (0.0, 1.0, 2.0), "scale": (1.0, 2.0, 3.0)}
    expected = ((last - np.array([0.0, 1.0, 2.0])) * [1.0, 2.0, 3.0]).astype(np.float32)
    to_first = load_samples(last, [("x", real(1, 3, 4, 5))], preprocessing=Preprocessing(layout="nchw", **how))
    to_last = load_samples(first, IMAGE, preprocessing=Preprocessing(layout="nhwc", **how))
    assert np.array_equal(np.concatenate([s[0] for s in to_first]), expected.transpose(0, 3, 1, 2))
    assert np.array_equal(np.concatenate([s[0] for s in to_last]), expected)
    assert refusal(last, [("x", real(1, 3, 4, 5))]).endswith("got float32[2,4,5,3]: layout nchw turns them")


def test_quantized_inputs_take_their_integers_or_real_numbers() -> None:
    own = np.array([[1, -128, 127]], np.int8)
    assert load_samples(own, INT8)[0][0].dtype == np.int8
    assert load_samples(own / 2, INT8)[0][0].dtype == np.float32
    pixels = np.array([[1, 2, 255]], np.uint8)
    assert load_samples(pixels, INT8)[0][0].dtype == np.float32
    scaled = load_samples(pixels, INT8, preprocessing=Preprocessing(scale=(0.25,)))
    assert scaled[0][0].tolist() == [[0.25, 0.5, 63.75]]
    words = "expected int8 as the model takes it, or float32 real numbers, got str"
    assert words in refusal([np.array(["1"] * 3)], INT8)


def test_plain_integers_are_widened_or_refused() -> None:
    index = [("index", TensorType((1,), DType.INT32))]
    assert load_samples(np.array([[3]], np.uint8), index)[0][0].dtype == np.int32
    assert "got 4294967296 to 4294967296" in refusal(np.array([[2**32]]), index)
    assert "got float64" in refusal(np.array([[1.5]]), index)


def test_random_samples_warn_and_repeat() -> None:
    with pytest.warns(UserWarning, match="random noise"):
        first, again = (load_samples("random", TWO, limit=3) for _ in range(2))
    assert len(first) == 3 and first[0][0].shape == (1, 3)
    assert all(np.array_equal(a, b) for x, y in zip(first, again, strict=True) for a, b in zip(x, y, strict=True))


def test_python_objects() -> None:
    one = [np.zeros(3), np.ones(2)]
    named, stacked = {"left": one[0], "in1": one[1]}, {"in0": np.zeros((2, 3)), "right": np.ones((2, 2))}
    for source in ([one, one], lambda: iter([one, one]), [named, named], stacked):
        sets = load_samples(source, TWO)
        assert [[v.tolist() for v in s] for s in sets] == [[[[0, 0, 0]], [[1, 1]]]] * 2
    endless = (np.zeros((1, 3)) for _ in iter(int, 1))
    assert len(load_samples(endless, [("x", real(1, 3))], limit=5)) == 5


@pytest.mark.parametrize(
    "source, inputs, words",
    [
        ({"up": np.zeros(3)}, TWO, "expected a key for input 0 of 'left' (or 'in0'), 'right' (or 'in1'), got 'up'"),
        ({"left": np.zeros(3), "in0": np.zeros(3)}, TWO, "got 'left' and 'in0'"),
        ({}, TWO, "got no key"),
        (
            {"left": np.zeros((2, 3)), "right": np.zeros((3, 2))},
            TWO,
            "key 'right': expected 2 samples as in 'left', got 3",
        ),
        (
            {"left": np.zeros((2, 4)), "right": 0},
            TWO,
            "key 'left': expected samples like float32[1,3], alone or stacked, got float64[2,4]",
        ),
        (np.zeros((2, 3)), TWO, "the model has 2 inputs: pass an .npz file with 'left'"),
        ([np.zeros(3)], TWO, "sample 0: expected 2 arrays"),
        ([[np.zeros(3), np.zeros(3)]], TWO, "sample 0, input 'right': expected samples like float32[1,2]"),
        ([], TWO, "expected at least one sample, got none"),
        (5, TWO, "expected an iterable or a file, got int"),
        ([np.array([1, np.nan, 0])], [("x", real(3))], "expected finite numbers"),
        ([np.array(["a", "b", "c"])], [("x", real(3))], "expected float32 as the model takes it, got str"),
    ],
)
def test_refused_objects(source: Any, inputs: Any, words: str) -> None:
    assert words in refusal(source, inputs)


def test_refused_files(tmp_path: Path) -> None:
    assert "missing.npz: cannot be read: No such file" in refusal(tmp_path / "missing.npz", IMAGE)
    (tmp_path / "text.npz").write_text("hello")
    assert "text.npz: expected an .npz archive or .npy file" in refusal(tmp_path / "text.npz", IMAGE)
    assert "got .npz" in refusal(tmp_path, IMAGE)
    (tmp_path / "empty").mkdir()
    assert "got no files" in refusal(tmp_path / "empty", IMAGE)
    assert "limit 0" in refusal(tmp_path, IMAGE, limit=0)


def archived(file: Path, change: Callable[[bytearray, int], None]) -> Path:
    """An archive whose directory says something else: `change` gets its bytes, and where the directory begins."""
    np.savez(file, x=np.zeros((1, 4, 5, 3), np.float32))
    data = bytearray(file.read_bytes())
    change(data, data.find(b"PK\1\2"))
    file.write_bytes(data)
    return file


def test_archives_that_cannot_be_unpacked(tmp_path: Path) -> None:
    """With a password; packed in an unknown way; claiming more than there is memory for."""

    def locked(data: bytearray, at: int) -> None:
        data[at + 8] |= 1

    def unknown(data: bytearray, at: int) -> None:
        data[at + 10] = 99

    for change in (locked, unknown):
        assert "x.npz: expected an .npz archive or .npy file" in refusal(archived(tmp_path / "x.npz", change), IMAGE)
    header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 50, 4, 5, 3)}
    with (tmp_path / "x.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    assert "x.npy: " in refusal(tmp_path / "x.npy", IMAGE)


def test_refused_preprocessing() -> None:
    with pytest.raises(UsageError, match="layout 'hwc'"):
        Preprocessing(layout="hwc")  # type: ignore[arg-type]  # what a user may type
    with pytest.raises(UsageError, match="mean and scale"):
        Preprocessing(mean=())
    with pytest.raises(UsageError, match="scale: expected what the data is multiplied with, such as"):
        Preprocessing(scale=(0.5, 0.0, 1.0))
    assert "2 means or scales do not fit channels" in refusal(
        np.zeros((1, 4, 5, 3)), IMAGE, preprocessing=Preprocessing((1.0, 2.0))
    )
