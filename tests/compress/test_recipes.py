# SPDX-License-Identifier: Apache-2.0
"""Recipes and the runner, with a technique made for it: settings, order, evidence, what each line says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import tinygen
from tests import small_models
from tests.laws import load
from tinygen.compress import Bought, Evidence, Setting, Stage, recipe
from tinygen.compress.runner import compress
from tinygen.errors import UsageError
from tinygen.ir.graph import Graph
from tinygen.passes.base import Result
from tinygen.quantize.report import PERFECT
from tinygen.reference import run
from tinygen.target import load_target


@dataclass(frozen=True)
class Coarse:
    """Weights in steps of `step`."""

    name: ClassVar[str] = "coarse"
    stage: ClassVar[Stage] = Stage.VALUES
    step: Setting = field(default=Setting(2), metadata={"main": True})
    shift: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.step.value, int | None):
            raise UsageError(f"expected a whole number of steps, got {self.step.value!r}")

    def run(self, graph: Graph, evidence: Evidence) -> Result:
        constants, done = dict(graph.constants), []
        for node in graph.nodes:
            step = self.step.of(node)
            if step is not None:
                weights = node.inputs[1]
                constants[weights] = (constants[weights] // step * step + self.shift).astype(np.int8)
                done.append(f"{node.name}: steps of {step}")
        return Result(replace(graph, constants=constants), tuple(done), () if done else ("no layer was left",))


@dataclass(frozen=True)
class Asks:
    """Asks for nothing."""

    name: ClassVar[str] = "asks"
    stage: ClassVar[Stage] = Stage.STORAGE

    def run(self, graph: Graph, evidence: Evidence) -> Result:
        return Result(graph, (), (f"{len(evidence.samples)} samples ask for nothing",))


@pytest.fixture(autouse=True)
def two_techniques(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(recipe, "techniques", lambda: {"coarse": Coarse, "asks": Asks})
    yield


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "dense.tflite"
    path.write_bytes(small_models.dense_layers())
    return path


def samples(count: int = 16) -> np.ndarray:
    return np.random.default_rng(1).integers(-128, 128, (count, 6)).astype(np.int8)


# --- Reading ------------------------------------------------------------------------------------------------------


def test_a_recipe_is_read_with_its_settings(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '[[technique]]\nname = "coarse"\nstep = 4\nshift = 1\nlayers = { "dense0" = 8, "dense*" = "none" }\n'
        '[[technique]]\nname = "asks"\n',
    )
    assert recipe.read(path) == (Coarse(Setting(4, {"dense0": 8, "dense*": None}), 1), Asks())
    assert recipe.words(path) == ["--recipe", "recipe.toml"]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    entry = {"name": "coarse", "step": 4, "layers": {'a"\\[*]': 2, "é\x7f\n": None}, "shift": -1}
    made = written(tmp_path, recipe.dumps({"technique": [entry, {"name": "asks"}]}))
    assert recipe.load(made) == (Coarse(Setting(4, {'a"\\[*]': 2, "é\x7f\n": None}), -1), Asks())


def test_options_become_techniques() -> None:
    assert recipe.read({"asks": True, "coarse": "3"}) == (Coarse(Setting(3)), Asks())
    assert recipe.words({"asks": True, "coarse": 3}) == ["--coarse", "3", "--asks"]
    assert recipe.read(None) == () and recipe.words((Asks(),)) == ["--recipe", "RECIPE"]


def test_a_recipe_may_be_fitted_to_all_samples(model: Path, tmp_path: Path) -> None:
    made = written(tmp_path, recipe.dumps({"samples": "all", "technique": [{"name": "asks"}]}))
    assert made.read_text().startswith('samples = "all"\n\n[[technique]]') and recipe.load(made) == (Asks(),)
    asked = lambda **others: tinygen.compress_model(model, made, {"x": samples()}, **others).bought[-1].declined  # noqa: E731  # short
    with pytest.warns(UserWarning, match="judged on samples that it has seen"):
        assert asked() == ("16 samples ask for nothing",)
    assert asked(data={"x": samples(3)}) == ("16 samples ask for nothing",), "as ever, and without a warning"
    plain = written(tmp_path, recipe.dumps({"technique": [{"name": "asks"}]}))
    assert tinygen.compress_model(model, plain, {"x": samples()}).bought[-1].declined == ("12 samples ask for nothing",)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1", r"recipe.toml: expected \[\[technique\]\] tables"),
        ("[[technique", "recipe.toml: not a TOML file"),
        ('samples = 3\n[[technique]]\nname = "asks"', 'recipe.toml: expected samples = "all", or no such line, got 3'),
        ('[[technique]]\nname = "prune"', r"technique 1: expected name to be one of coarse, asks, got 'prune'"),
        (
            '[[technique]]\nname = "coarse"\nsteps = 3',
            r"\(coarse\): 'steps' is no setting of it; expected step, shift, layers",
        ),
        ('[[technique]]\nname = "coarse"\nstep = "big"', r"\(coarse\): expected a whole number of steps, got 'big'"),
        ('[[technique]]\nname = "asks"\nlayers = { a = 1 }', r"\(asks\): expected layers"),
        (
            '[[technique]]\nname = "asks"\n[[technique]]\nname = "coarse"',
            "'coarse' changes the values of weights and would undo what 'asks' did .*: put 'coarse' first",
        ),
    ],
)
def test_a_wrong_recipe_is_refused_with_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        recipe.read(written(tmp_path, text))


def test_unknown_techniques_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected techniques of coarse, asks, got 'fine'"):
        recipe.read({"fine": 1})
    with pytest.raises(UsageError, match=r"cannot read recipe '.*none.toml': No such file"):
        recipe.read(tmp_path / "none.toml")


# --- Running ------------------------------------------------------------------------------------------------------


def test_each_technique_gets_a_line_that_says_what_it_bought() -> None:
    graph, target = load(small_models.dense_layers()), load_target("cortex-m4")
    evidence = Evidence([], [[row[None]] for row in samples()], np.zeros(16, int))
    heard: list[Bought] = []
    small, bought = compress(
        graph, (Coarse(Setting(16, {"dense1": None})), Asks()), evidence, target, heard=heard.append
    )
    assert [line.name for line in bought] == ["start", "coarse", "asks"] and list(bought) == heard
    start, coarse, asks = bought
    assert start.quality.agreement == 1 and start.quality.sqnr == PERFECT
    assert coarse.done == ("dense0: steps of 16", "dense2: steps of 16") and asks.declined
    assert coarse.quality.sqnr < 60 and coarse.quality == asks.quality
    winners = [int(np.argmax(run(small, sample)[0])) for sample in evidence.held_back]
    assert coarse.quality.accuracy == np.mean(np.array(winners) == 0)
    assert start.macs == 108 and start.flash > start.constants > 108


def test_a_pattern_that_matches_no_layer_is_refused() -> None:
    graph = load(small_models.dense_layers())
    with pytest.raises(UsageError, match="coarse: no layer's name matches 'conv'; there are dense0, dense1"):
        compress(graph, (Coarse(Setting(2, {"dense*": 3, "conv": 3})),), Evidence([]), load_target("cortex-m4"))


# --- The whole road -----------------------------------------------------------------------------------------------


def test_build_compresses_and_reports(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "samples.npz", x=samples())
    made = tinygen.build(model, "host", calibration=tmp_path / "samples.npz", recipe={"coarse": 16})
    assert [line["name"] for line in made.report["compression"]] == ["start", "coarse"]
    assert made.report["command"] == "tinygen build dense.tflite --target host --calibration samples.npz --coarse 16"
    assert all(np.all(made.graph.constants[n.inputs[1]] % 16 == 0) for n in made.graph.nodes)


def test_a_compressed_model_is_saved_and_built(model: Path, tmp_path: Path) -> None:
    made = tinygen.compress_model(model, (Coarse(Setting(4)),), {"x": samples()})
    for name in ("small.tg", "small.tflite"):
        again = tinygen.load(tinygen.save(made.graph, tmp_path / name))
        for row in samples():
            assert np.array_equal(run(again, [row[None]])[0], run(made.graph, [row[None]])[0])
    assert tinygen.build(tmp_path / "small.tg").report["model"]["format"] == "tinygen"


def test_what_is_missing_is_said(model: Path) -> None:
    with pytest.raises(UsageError, match=r"coarse: compression looks at what the layers of dense.tflite compute: pass"):
        tinygen.build(model, recipe={"coarse": 2})
    with pytest.raises(UsageError, match="--data judges what is lost: pass a technique"):
        tinygen.build(model, data={"x": samples()})
    with pytest.raises(UsageError, match="the recipe has no technique"):
        tinygen.compress_model(model, {}, {"x": samples()})
    with pytest.warns(UserWarning, match="3 calibration samples are too few to hold some back"):
        tinygen.compress_model(model, {"coarse": 2}, {"x": samples(3)})
    with pytest.raises(UsageError, match="quantized already, so that there is nothing to calibrate"):
        tinygen.build(model, calibration={"x": samples()})
