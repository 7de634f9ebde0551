# SPDX-License-Identifier: Apache-2.0
"""The Python API: what a build holds, that it repeats, what is refused, and that all of it is documented and typed."""

from __future__ import annotations

import hashlib
import inspect
import json
import typing
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import tinygen
from tests import small_models
from tests.laws import load
from tinygen.errors import ModelError, UnsupportedError, UsageError
from tinygen.ir import store
from tinygen.ops import all_ops
from tinygen.target import load_target

ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((Path(__file__).parent / "report.schema.json").read_text())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "dense.tflite"
    path.write_bytes(small_models.dense_layers())
    return path


def test_a_build_holds_everything(model: Path) -> None:
    made = tinygen.build(model, "cortex-m4")
    assert (made.name, made.target.name, made.program.macs) == ("dense", "cortex-m4", 48 + 40 + 20)
    assert list(made.files) == ["dense.h", "dense.c", "dense.tgm", "report.json", "report.html"]
    jsonschema.Draft202012Validator(SCHEMA).validate(made.report)
    assert json.loads(made.files["report.json"]) == made.report
    for name, sha256 in made.report["files"].items():
        assert hashlib.sha256(made.files[name]).hexdigest() == sha256
    assert made.report["model"]["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert made.report["ram"]["arena"] == made.plan.bytes and made.report["macs"] == made.program.macs


def test_the_stored_graph_is_the_one_that_was_compiled(model: Path) -> None:
    made = tinygen.build(model)
    graph = store.loads(made.files["dense.tgm"], {name: op.attrs for name, op in all_ops().items()})
    assert store.dumps(graph) == store.dumps(made.graph) == made.files["dense.tgm"]


def test_nothing_is_written_before_write(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = tinygen.build(model)
    assert list(tmp_path.iterdir()) == [model]
    assert made.write("some/where") == Path("some/where")
    assert {p.name: p.read_bytes() for p in (tmp_path / "some" / "where").iterdir()} == made.files


@pytest.mark.parametrize("options", [{}, {"optimize": "size"}, {"name": "Kws"}, {"ram": 1 << 20, "flash": 1 << 20}])
def test_the_same_again(options: dict[str, typing.Any], model: Path) -> None:
    first, second = (tinygen.build(model, "cortex-m7", **options) for _ in range(2))
    assert first.files == second.files and first.report == second.report


def test_where_the_file_lies_does_not_matter(model: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    other = tmp_path / "elsewhere" / model.name
    other.write_bytes(model.read_bytes())
    assert tinygen.build(model).files == tinygen.build(other).files


def test_a_graph_instead_of_a_file(model: Path) -> None:
    graph = tinygen.load(model)
    made, from_file = tinygen.build(graph), tinygen.build(model)
    assert made.report["model"]["format"] == "graph" and from_file.report["model"]["format"] == "tflite"
    assert made.files["dense.tgm"] == from_file.files["dense.tgm"]
    assert tinygen.build(made.graph).files["dense.tgm"] == made.files["dense.tgm"], "passes have nothing left to do"


def test_a_target_instead_of_its_name(model: Path) -> None:
    assert tinygen.build(model, load_target("nucleo-f446re")).files == tinygen.build(model, "nucleo-f446re").files


def test_offsets_hold_what_the_report_says(model: Path, tmp_path: Path) -> None:
    """No two tensors of one step overlap, and all lie in the arena."""
    report = tinygen.build(model).report
    for tensor in (t for entry in report["layers"] for t in entry["outputs"]):
        assert 0 <= tensor["offset"] <= report["ram"]["arena"] - tensor["bytes"]
        assert tensor["bytes"] == np.dtype(tensor["dtype"]).itemsize * np.prod(tensor["shape"])
    assert report["ram"]["arena_lower_bound"] <= report["ram"]["arena"] <= report["ram"]["arena_greedy"] + 8


# --- Refusals -----------------------------------------------------------------------------------------------------


def test_refusals(tmp_path: Path, model: Path) -> None:
    with pytest.raises(UsageError, match="optimize 'fast': expected one of speed, size, ram, balanced"):
        tinygen.build(model, optimize="fast")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(UsageError, match="unknown target 'm4'"):
        tinygen.build(model, "m4")
    with pytest.raises(UsageError, match="cannot read model"):
        tinygen.load(tmp_path / "none.tflite")
    model.write_bytes(b"\0\0\0\0TFL3")
    with pytest.raises(ModelError, match=r"dense\.tflite: "):
        tinygen.load(model)


def test_a_graph_is_checked_as_a_file_is(tmp_path: Path) -> None:
    graph = load(small_models.float_inside())
    with pytest.raises(UnsupportedError, match=r"node 'sum' \(ADD\)"):
        tinygen.build(graph)
    with pytest.raises(UnsupportedError, match=r"node 'g' \(LOGISTIC\)"):
        tinygen.build(load(small_models.float_island("LOGISTIC")))  # before any pass makes a table of it
    (tmp_path / "floats.tflite").write_bytes(small_models.float_inside())
    with pytest.raises(UnsupportedError, match=r"floats\.tflite: node 'sum' \(ADD\)"):
        tinygen.load(tmp_path / "floats.tflite")


# --- Documentation and types --------------------------------------------------------------------------------------

PUBLIC = [getattr(tinygen, name) for name in tinygen.__all__ if callable(getattr(tinygen, name))]


def test_the_names_are_all_there() -> None:
    assert {"build", "verify", "run", "run_on", "inspect", "load", "read_report", "Build"} <= set(tinygen.__all__)
    assert tinygen.__version__.count(".") == 2


@pytest.mark.parametrize("thing", PUBLIC, ids=lambda thing: thing.__name__)
def test_everything_public_is_documented_and_typed(thing: typing.Any) -> None:
    assert inspect.getdoc(thing), f"{thing.__name__} has no docstring"
    if inspect.isfunction(thing):
        hints, parameters = typing.get_type_hints(thing), inspect.signature(thing).parameters
        assert hints.keys() == {*parameters, "return"}


def test_errors_have_one_base_and_an_exit_code_each() -> None:
    errors = [e for e in PUBLIC if inspect.isclass(e) and issubclass(e, Exception) and e is not tinygen.TinygenError]
    assert {e.exit_code for e in errors} == {2, 3, 4, 5, 6, 7} and all(
        issubclass(e, tinygen.TinygenError) for e in errors
    )


def test_the_example_in_the_docstring(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model.rename(tmp_path / "kws.tflite")
    code = [line for line in (tinygen.__doc__ or "").splitlines()[2:] if line]
    assert code[0] == "import tinygen" and len(code) == 4
    exec("\n".join(code), {})
    assert (tmp_path / "kws" / "kws.c").is_file()
