# SPDX-License-Identifier: Apache-2.0
"""Several models in one firmware: one arena, one copy of what they share, and the outputs of each by itself."""

from __future__ import annotations

import importlib.util
import re
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
from tinygen.layout import laid_out
from tinygen.lower import Optimize
from tinygen.reference import run
from tinygen.target import load_target

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
    done = CliRunner().invoke(main, ["build", *paths, "--target", "host", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "one arena for all" in done.output
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {"a_b.c", "a_b.h", "a.h", "b.h", "a.tgm", "report.json"}
    same = CliRunner().invoke(main, ["build", paths[0], paths[0], "--target", "host"])
    assert same.exit_code == UsageError.exit_code
    blob = CliRunner().invoke(main, ["build", *paths, "--weights", "blob"])
    assert blob.exit_code == UsageError.exit_code


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
