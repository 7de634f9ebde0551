# SPDX-License-Identifier: Apache-2.0
"""The proofs of float and ONNX models: small ones hold on the host and under QEMU, and failures show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from benchmarks import floats
from benchmarks.floats import Proof
from benchmarks.floats_page import page
from tests import zoo
from tests.onnx_models import model
from tinygen import api
from tinygen.errors import ToolError

PROVED = Proof("a/b.onnx", "proved", "", "float", "random", "onnxruntime", 1e-7, 8)
ROOT = Path(__file__).parents[1]


class Done:
    """A verification in which all was equal."""

    checked = (SimpleNamespace(vectors=4),)

    def raise_if_wrong(self) -> None:
        pass


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A float ONNX network of four layers, NCHW."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv", pads=[1, 0, 1, 2], strides=[2, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "m"], ["y"], transB=1),
    ]
    constants = {
        "w": rng.normal(size=(4, 3, 3, 2)).astype(np.float32),
        "m": rng.normal(size=(2, 4)).astype(np.float32),
    }
    onnx.save(model(nodes, {"x": (1, 3, 8, 6)}, ["y"], constants), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


@pytest.mark.qemu
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_float_network_is_proved_and_its_quantized_form_too(network: Path) -> None:
    proof = floats.prove(network, "net")
    assert (proof.state, proof.kind, proof.data, proof.runtime) == ("proved", "float", "random", "onnxruntime")
    assert proof.apart is not None and proof.apart < floats.TOLERANCE and proof.sets == floats.RANDOM + 3
    api.save(api.quantize_model(network, "random", limit=2).graph, network.parent / "int8.onnx")
    proof = floats.prove(network.parent / "int8.onnx", "int8")
    assert (proof.state, proof.kind, proof.apart, proof.sets) == ("proved", "int8", None, floats.RANDOM + 3)


def test_other_answers_than_the_runtime_s_fail(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floats, "_verified", lambda graph: ("proved", "", 8))
    changed = onnx.load(network)
    weights = numpy_helper.to_array(changed.graph.initializer[0]) * 1.01
    changed.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "w"))
    right = floats.stock.onnxruntime
    monkeypatch.setattr(floats.stock, "onnxruntime", lambda model: right(changed))
    proof = floats.prove(network, "net")
    assert proof.state == "failed" and "from onnxruntime" in proof.detail


def test_refusals_and_failures_say_why(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def verify(folder: Path, on: str, vectors: int) -> Done:
        if on == "qemu":
            raise ToolError("'m' cannot be emulated: it needs 9 bytes more RAM than mps2-an386 has")
        return Done()

    monkeypatch.setattr(floats.running, "verify", verify)
    proof = floats.prove(network, "net")
    assert proof.state == "host only" and "9 bytes more RAM" in proof.detail
    changed = onnx.load(network)
    changed.graph.node[1].op_type = "Softsign"
    onnx.save(changed, network)
    proof = floats.prove(network, "net")
    assert proof.state == "refused" and "Softsign" in proof.detail


@pytest.mark.parametrize("state, code", [("proved", 0), ("host only", 0), ("refused", 0), ("failed", 1)])
def test_only_a_failure_is_one(
    state: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(zoo, "PRESENT", True)
    monkeypatch.setattr(floats, "models", lambda: ["a/b.onnx"])
    detail = "" if state == "proved" else "why"
    monkeypatch.setattr(floats, "prove", lambda path, name: replace(PROVED, state=state, detail=detail))
    assert floats.main([]) == code
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"a/b.onnx: {state}") and told[1].startswith(f"{int(state == 'proved')} of 1 models")


def test_the_page_lists_exceptions() -> None:
    text = page([PROVED, replace(PROVED, model="c", state="refused", detail="no LSTM", apart=None, sets=0)])
    assert "| a/b.onnx | float | 1e-07, onnxruntime | 8 | random | proved |" in text and "- c: no LSTM" in text


@pytest.mark.zoo
@pytest.mark.qemu
@pytest.mark.skipif(not zoo.PRESENT, reason=zoo.ABSENT)
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "name",
    [
        "onnx2c/atmega_mnist_14x14.onnx",
        "ort_quantized/mnist_cntk_qdq_s8s8_pertensor.onnx",
        "kazuhito/keypoint_classifier.tflite",
    ],
)
def test_small_published_networks_are_proved(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floats.stock, "TENSORFLOW", False)  # whose import takes longer than all the rest
    assert floats.prove(zoo.FOLDER / "models" / name, name).state == "proved"


@pytest.mark.zoo
@pytest.mark.skipif(not zoo.PRESENT, reason=zoo.ABSENT)
def test_the_page_has_every_model() -> None:
    text = (ROOT / "docs" / "floats.md").read_text(encoding="utf-8")
    assert all(f"| {name} |" in text for name in floats.models())
    assert "| failed |" not in text
