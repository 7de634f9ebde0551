# SPDX-License-Identifier: Apache-2.0
"""Keras files and SavedModel folders, which TensorFlow converts: the same numbers as Keras computes."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import tinygen
from tinygen import api
from tinygen.cli import main
from tinygen.errors import ModelError, ToolError, UnsupportedError, UsageError
from tinygen.frontends import keras
from tinygen.ir.types import Array
from tinygen.reference import run_real

needs_tensorflow = pytest.mark.skipif(
    find_spec("tensorflow") is None, reason="TensorFlow is missing: pip install 'tinygen[train]'"
)


@pytest.mark.parametrize("kind", ["keras", "h5", "folder"])
def test_without_tensorflow_the_sentence_says_what_to_install(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras, "find_spec", lambda name: None)
    path = tmp_path / ("net" if kind == "folder" else f"net.{kind}")
    if kind == "folder":
        path.mkdir()
        (path / "saved_model.pb").write_bytes(b"")
    else:
        path.write_bytes((b"PK\x03\x04" if kind == "keras" else b"\x89HDF") + bytes(64))
    with pytest.raises(ToolError, match=r"TensorFlow is not installed: pip install 'tinygen\[train\]'"):
        tinygen.load(path)
    for words in (["build"], ["inspect"], ["quantize", "-o", "x.onnx"], ["evaluate", "--data", "random"]):
        result = CliRunner().invoke(main, [*words, str(path)])
        assert result.exit_code == ToolError.exit_code == 7 and path.name in result.stderr


def test_other_folders_and_files_are_refused_as_ever(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"expected .* or a SavedModel folder"):
        tinygen.load(tmp_path / "empty")
    (tmp_path / "net.keras").write_bytes(b"<html>")
    with pytest.raises(ModelError, match="is an HTML"):
        tinygen.load(tmp_path / "net.keras")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Array, Array]:
    """net.keras, net.h5 and saved/ of one small network, samples, and what Keras makes of them."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("keras")
    layers: Any = tf.keras.layers
    tf.keras.utils.set_random_seed(1)
    net = tf.keras.Sequential(
        [
            layers.Input((8, 6, 2), name="picture"),
            layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )
    samples = np.random.default_rng(0).normal(size=(20, 8, 6, 2)).astype(np.float32)
    net.save(folder / "net.keras")
    net.save(folder / "net.h5")
    net.export(folder / "saved", verbose=False)
    np.savez(folder / "samples.npz", in0=samples[:, None])
    return folder, samples, np.asarray(net(samples))


@needs_tensorflow
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["net.keras", "net.h5", "saved"])
def test_the_graph_computes_what_keras_does(name: str, models: tuple[Path, Array, Array]) -> None:
    folder, samples, expected = models
    with pytest.warns(UserWarning, match="the batch dimension is taken as 1"):
        graph = api.load(folder / name)
    for sample, answer in zip(samples[:4], expected, strict=False):
        found = run_real(graph, [sample[None]])[graph.outputs[0]]
        assert np.allclose(found, answer, atol=1e-4 * np.abs(expected).max())


@needs_tensorflow
@pytest.mark.slow
@pytest.mark.parametrize("name", ["net.keras", "saved"])
def test_it_is_built_and_verified_without_a_word_of_tensorflow(
    name: str, models: tuple[Path, Array, Array], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, _, _ = models
    words = ["build", str(folder / name), "--calibration", str(folder / "samples.npz"), "--target", "host"]
    result = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "out"), "--name", "net"])
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == [s for s in result.stderr.splitlines() if s.startswith("warning: ")]
    assert capfd.readouterr() == ("", "")
    told = json.loads((tmp_path / "out" / "report.json").read_text())["model"]
    assert told["format"] == ("keras" if name == "net.keras" else "savedmodel") and len(told["sha256"]) == 64
    tinygen.verify(tmp_path / "out", on="host", vectors=2).raise_if_wrong()


@needs_tensorflow
@pytest.mark.slow
def test_evaluate_and_inspect_take_them_too(models: tuple[Path, Array, Array]) -> None:
    folder, _, expected = models
    np.savez(folder / "test.npz", in0=models[1][:, None], y=expected.argmax(axis=1))
    words = ["evaluate", str(folder / "saved"), "--data", str(folder / "test.npz"), "--json"]
    assert json.loads(CliRunner().invoke(main, words).stdout)["scores"] == {"float": 1.0}
    shown = CliRunner().invoke(main, ["inspect", str(folder / "net.keras")])
    assert shown.exit_code == 0 and "CONV_2D" in shown.stdout


@needs_tensorflow
@pytest.mark.slow
def test_dynamic_and_broken_models(tmp_path: Path) -> None:
    import tensorflow as tf

    layers: Any = tf.keras.layers
    net = tf.keras.Sequential([layers.Input((None, None, 1), name="picture"), layers.Conv2D(2, 3)])
    net.save(tmp_path / "open.keras")
    with pytest.raises(UnsupportedError, match=r"'picture' has a dynamic dimension .*--shape picture=1,32,32,1"):
        tinygen.load(tmp_path / "open.keras")
    graph = tinygen.load(tmp_path / "open.keras", {"picture": (1, 5, 6, 1)})
    assert graph.types[graph.inputs[0]].shape == (1, 5, 6, 1)
    with pytest.raises(UsageError, match="--shape names input 'other'"):
        tinygen.load(tmp_path / "open.keras", {"other": (1, 5, 6, 1)})
    (tmp_path / "broken.keras").write_bytes(b"PK\x03\x04" + bytes(64))
    with pytest.raises(ModelError, match=r"broken\.keras: TensorFlow cannot read it"):
        tinygen.load(tmp_path / "broken.keras")
