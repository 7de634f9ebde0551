# SPDX-License-Identifier: Apache-2.0
"""Several models in one firmware: one arena, one copy of what they share, and the outputs of each by itself."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.laws import assert_equal, draw_inputs, load, run_texts
from tests.small_models import dense_layers
from tests.stripe_models import network
from tinygen.cli import main
from tinygen.emit.shared import emit_shared
from tinygen.errors import UsageError
from tinygen.export.tflite import dumps
from tinygen.layout import laid_out
from tinygen.lower import Optimize
from tinygen.reference import run
from tinygen.running import CORNERS, verify
from tinygen.target import load_target
from tinygen.verify.build_dir import read_build

HOST = load_target("host")
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("optimize", ["balanced", "ram"])
def test_shared_models_compute_what_they_compute_alone(optimize: Optimize) -> None:
    """Each pair is one C file, whose models run one after the other in one process; also layers that run by rows."""
    graphs = [replace(network(seed), name=f"m{seed}") for seed in range(8)]
    texts = []
    for first in range(0, len(graphs), 2):
        parts = [laid_out(graph, HOST, optimize)[1:] for graph in graphs[first : first + 2]]
        files = dict(emit_shared(f"pair{first}", parts, ["test"]))
        files[f"m{first}.c"] = files.pop(f"pair{first}.c")
        texts += [files, {f"m{first + 1}.c": ""}]
    sets = [draw_inputs(graph, 0) for graph in graphs]
    texts = [{name: text or "typedef int nothing;\n" for name, text in files.items()} for files in texts]
    for graph, some, answers in zip(graphs, sets, run_texts(graphs, texts, sets), strict=True):
        for inputs, got in zip(some, answers, strict=True):
            assert_equal("in one firmware", got, run(graph, inputs))


def test_nothing_is_there_twice() -> None:
    """A model beside itself adds a function and no constants, no kernel and no bytes of arena."""
    graph = network(3)
    parts = [laid_out(replace(graph, name=name), HOST, "balanced")[1:] for name in ("one", "two")]
    alone, both = emit_shared("x", parts[:1], []), emit_shared("x", parts, [])
    definitions = r"^static const \w+ x_c\d+|^typedef struct|^static X_NOINLINE void x_call_\d+"
    assert re.findall(definitions, both["x.c"], re.M) == re.findall(definitions, alone["x.c"], re.M)
    assert re.findall("ARENA_BYTES (.*)", both["x.h"]) == [str(max(plan.bytes for _, plan in parts))]
    assert {"one.h", "two.h"} <= both.keys()


def test_command(tmp_path: Path) -> None:
    """`tinygen build a b` writes one C file and three headers, which a compiler takes; names have to differ."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.tflite").write_bytes(dense_layers())
    paths = [str(tmp_path / f"{name}.tflite") for name in ("a", "b")]
    done = CliRunner().invoke(main, ["build", *paths, "--share", "--target", "host", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    alone = CliRunner().invoke(main, ["build", paths[0], "--share"])
    assert alone.exit_code == UsageError.exit_code and "or several models" in alone.output
    assert "one arena for all" in done.output
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {"a_b.c", "a_b.h", "a.h", "b.h", "a.tgm", "report.json"}
    same = CliRunner().invoke(main, ["build", paths[0], paths[0], "--target", "host"])
    assert same.exit_code == UsageError.exit_code
    blob = CliRunner().invoke(main, ["build", *paths, "--weights", "blob"])
    assert blob.exit_code == UsageError.exit_code


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models in one file for Cortex-M4, of which the second has the weights of the first and others."""
    folder = tmp_path_factory.mktemp("pair")
    for name, graph in (("one", network(3)), ("two", network(4))):
        (folder / f"{name}.tflite").write_bytes(dumps(graph))
    paths = [str(folder / f"{name}.tflite") for name in ("one", "two")]
    done = CliRunner().invoke(main, ["build", *paths, "--out", str(folder / "out")])
    assert done.exit_code == 0 and "instead of" in done.output, done.output
    return folder / "out"


@pytest.mark.qemu
def test_models_are_verified_in_turn(pair: Path) -> None:
    """`tinygen verify` runs one after the other in the same arena, on the host and under QEMU, for each input set."""
    result = verify(pair, vectors=2)
    assert [run.mismatch for run in result.checked] == [None, None] and not result.modified
    report = json.loads((pair / "report.json").read_text())
    outputs = sum(port["bytes"] for model in report["models"] for port in model["outputs"])
    assert [run.bytes_compared for run in result.checked] == [(2 + CORNERS) * outputs] * 2
    with pytest.raises(UsageError, match="several models"):
        read_build(pair)


def test_what_two_models_take_together(pair: Path) -> None:
    report = json.loads((pair / "report.json").read_text())
    arenas = [model["ram"]["arena"] for model in report["models"]]
    assert report["ram"]["arena"] == report["arena"] == max(arenas) < report["apart"]["arena"] == sum(arenas)
    flash, apart = report["flash"], sum(model["flash"]["total"] for model in report["models"])
    assert 0 < flash["total"] == flash["code"] + flash["constants"] < report["apart"]["flash"] == apart


def test_a_wrong_model_is_found(pair: Path, tmp_path: Path) -> None:
    """Whichever it is; and a changed file is named."""
    wrong = Path(shutil.copytree(pair, tmp_path / "wrong"))
    code = wrong / "one_two.c"
    text = code.read_text()
    at = text.index("{", text.index("void two_run("))
    code.write_text(f"{text[: at + 1]} two_input(arena)[0] ^= 64;{text[at + 1 :]}")
    result = verify(wrong, on="host", vectors=2)
    assert result.modified == ("one_two.c",)
    assert result.checked[0].mismatch is not None and result.checked[0].mismatch.tensor.startswith("1:")


@pytest.mark.qemu
@pytest.mark.filterwarnings("ignore:random noise")
def test_the_firmware_of_the_example(tmp_path: Path) -> None:
    """On an emulated Cortex-M4, the networks answer in turn out of one arena what the reference answers."""
    spec = importlib.util.spec_from_file_location("two_models_demo", ROOT / "examples" / "two_models" / "demo.py")
    assert spec is not None and spec.loader is not None
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    frames = np.random.default_rng(0).integers(0, 17, (6, 8, 8)).astype(np.uint8)
    printed = demo.row_push().emulate(demo.firmware(tmp_path, frames))
    answers = []
    for name in ("quick", "exact"):
        graph = load((tmp_path / f"{name}.tflite").read_bytes())
        q = graph.types[graph.inputs[0]].q
        images = np.clip(np.rint(frames / 16 / q.scale) + q.zero_point, -128, 127).astype(np.int8)
        answers.append([run(graph, [image[None, :, :, None]])[0].ravel().astype(int) for image in images])
    sure = [np.diff(np.sort(scores)[-2:])[0] >= 250 for scores in answers[0]]
    expected = [int(np.argmax(quick if ok else exact)) for quick, exact, ok in zip(*answers, sure, strict=True)]
    assert [int(d) for d in re.findall(r"recognised (\d)", printed)] == expected
    assert f"asked {sure.count(False)} times" in printed and sure.count(False) > 0
