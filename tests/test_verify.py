# SPDX-License-Identifier: Apache-2.0
"""`verify` and `run` from Python: what is compared, how a difference is found, and what is said of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tinygen
from tests import small_models
from tests.laws import load
from tests.tflite_builder import ModelBuilder
from tinygen import running
from tinygen.errors import UsageError, VerificationError
from tinygen.ir import store
from tinygen.ops import all_ops
from tinygen.verify.check import Checked, Mismatch, Verification

MACHINES = ["host", "qemu"]


def hidden() -> bytes:
    """A dense layer, then a MAXIMUM with 127: whatever the layer computes, the output is the same."""
    b, rng = ModelBuilder(), np.random.default_rng(0)
    x, y, z = (b.tensor((1, n), *small_models.Q, name=name) for n, name in ((4, "x"), (3, "dense"), (3, "z")))
    w = b.tensor((3, 4), "int8", 0.01, 0, rng.integers(-100, 100, (3, 4)))
    b.op("FULLY_CONNECTED", [x, w, -1], [y], "FullyConnectedOptions")
    b.op("MAXIMUM", [y, b.tensor((1,), *small_models.Q, [127])], [z], "MaximumMinimumOptions")
    return b.finish([x], [z])


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A build of each model that the tests use."""
    folder = tmp_path_factory.mktemp("originals")
    models = {"dense": small_models.dense_layers(), "hidden": hidden(), "two": small_models.two_inputs()}
    return {name: tinygen.build(load(data, name), "cortex-m4").write(folder / name) for name, data in models.items()}


@pytest.fixture
def copy(originals: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    def copied(name: str) -> Path:
        (tmp_path / name).mkdir()
        for file in originals[name].iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
        return tmp_path / name

    return copied


def edit(folder: Path, old: str, new: str, suffix: str = ".c") -> None:
    path = folder / f"{folder.name}{suffix}"
    text = path.read_text()
    assert len(re.findall(old, text)) >= 1, f"{old} is not in {path.name}"
    path.write_text(re.sub(old, new, text, count=1))


# --- verify -------------------------------------------------------------------------------------------------------


def test_all_machines_agree(originals: dict[str, Path]) -> None:
    result = tinygen.verify(originals["dense"], vectors=2)
    host, qemu = result.checked
    result.raise_if_wrong()
    assert (host.where, host.every_layer, host.instructions) == ("host", True, None)
    assert (qemu.where, qemu.every_layer) == ("qemu-mps2-an386", False)
    assert host.vectors == qemu.vectors == 2 + running.CORNERS
    assert (host.bytes_compared, qemu.bytes_compared) == (5 * (8 + 5 + 4 + 4), 5 * 4)
    assert qemu.instructions and qemu.stack and result.modified == ()


@pytest.mark.parametrize("on", MACHINES)
def test_instructions_and_results_repeat(on: str, originals: dict[str, Path]) -> None:
    assert tinygen.verify(originals["dense"], on=on, vectors=1) == tinygen.verify(originals["dense"], on=on, vectors=1)


@pytest.mark.parametrize("on", MACHINES)
@pytest.mark.parametrize("layer, size", [(0, 48), (1, 40), (2, 20)])
def test_the_first_wrong_layer_and_element_are_named(
    layer: int, size: int, on: str, copy: Callable[[str], Path]
) -> None:
    """The last weight of a layer is changed: its last unit is wrong, and all that follows."""
    folder = copy("dense")
    edit(folder, rf"(int8_t dense_c\d+\[{size}\][^=]*= {{[^}}]*?)-?\d+,(\s+}})", r"\g<1>-127,\2")
    (checked,) = tinygen.verify(folder, on=on).checked
    assert checked.mismatch is not None
    assert checked.mismatch.layer == f"{layer} FULLY_CONNECTED" and checked.mismatch.tensor == f"dense{layer}"
    assert checked.mismatch.index == (0, (8, 5, 4)[layer] - 1)
    assert checked.mismatch.got != checked.mismatch.expected


def test_a_wrong_layer_that_the_output_hides_shows_on_the_host(copy: Callable[[str], Path]) -> None:
    folder = copy("hidden")
    edit(folder, r"(hidden_c\d+\[12\][^=]*= {[^\n]*\s+)-?\d+,", r"\g<1>-127,")
    host, qemu = tinygen.verify(folder).checked
    assert host.mismatch is not None and host.mismatch.layer == "0 FULLY_CONNECTED"
    assert qemu.mismatch is None


@pytest.mark.parametrize("on", MACHINES)
def test_an_output_that_is_wrong_after_the_last_layer(on: str, copy: Callable[[str], Path]) -> None:
    folder = copy("dense")
    edit(folder, r"DENSE_HOOK\(2\);", r"DENSE_HOOK(2); dense_output_changed(arena);")
    edit(folder, r"void dense_run", "static void dense_output_changed(dense_arena_t *);\nvoid dense_run")
    with (folder / "dense.c").open("a") as file:
        file.write("static void dense_output_changed(dense_arena_t *a) { *(int8_t *)dense_output(a) ^= 1; }\n")
    edit(folder, "static inline const int8_t \\*dense_output\\(", "static inline int8_t *dense_output(", ".h")
    with pytest.raises(VerificationError, match="first difference after the last layer, tensor 'dense2' at \\[0, 0\\]"):
        tinygen.verify(folder, on=on).raise_if_wrong()


def test_modified_files_are_noted(copy: Callable[[str], Path]) -> None:
    folder = copy("dense")
    for suffix in (".c", ".h"):
        with (folder / f"dense{suffix}").open("a") as file:
            file.write("\n")
    result = tinygen.verify(folder, on="host", vectors=1)
    assert result.modified == ("dense.c", "dense.h")
    assert result.lines()[0] == "note: dense.c is not the file that was built"
    result.raise_if_wrong()


def test_a_graph_of_another_build_is_refused(copy: Callable[[str], Path], originals: dict[str, Path]) -> None:
    folder = copy("dense")
    (folder / "dense.tgm").write_bytes((originals["hidden"] / "hidden.tgm").read_bytes())
    with pytest.raises(UsageError, match=r"report.json and dense.tgm do not agree on the outputs: build again"):
        tinygen.verify(folder, on="host")
    graph = store.loads((originals["dense"] / "dense.tgm").read_bytes(), {n: o.attrs for n, o in all_ops().items()})
    renamed = replace(
        graph,
        nodes=(
            replace(graph.nodes[0], outputs=("other",)),
            replace(graph.nodes[1], inputs=("other", *graph.nodes[1].inputs[1:])),
            *graph.nodes[2:],
        ),
        types={**graph.types, "other": graph.types["dense0"]},
    )
    (folder / "dense.tgm").write_bytes(store.dumps(renamed))
    with pytest.raises(UsageError, match="do not agree on tensor 'dense0': build again"):
        tinygen.verify(folder, on="host")


def test_inputs_of_the_user(originals: dict[str, Path], tmp_path: Path) -> None:
    np.savez(
        tmp_path / "x.npz",
        left=np.ones((4, 2, 3), np.int8),
        in1=np.ones((4, 2, 3), np.int8),
        real=np.ones((4, 4), np.float32),
    )
    (checked,) = tinygen.verify(originals["two"], on="host", inputs=tmp_path / "x.npz").checked
    assert checked.vectors == 4 and checked.mismatch is None


def test_random_floats_cover_what_is_quantized(originals: dict[str, Path]) -> None:
    """Floats that are quantized at once are drawn over the range that the quantization covers."""
    assert running.spreads(running.read_graph(originals["two"])) == {"real": pytest.approx(6.4)}


def test_where_to_run() -> None:
    assert [m and m.name for m in running.machines("cortex-m4", "all")] == [None, "cortex-m4"]
    assert running.machines("host", "all") == [None]
    with pytest.raises(UsageError, match="--on qemu: the program was built for the host"):
        running.machines("host", "qemu")
    with pytest.raises(UsageError, match="--on board: expected host, qemu or all"):
        running.machines("cortex-m4", "board")


# --- What is said -------------------------------------------------------------------------------------------------


def test_a_verification_in_words_and_as_json() -> None:
    wrong = Mismatch(2, "3 CONV_2D", "c", (0, 1, 2), "5", "4")
    qemu = Checked("board", 3, 12, False, wrong, 1234567, 96)
    host = Checked("host", 3, 48, True, None, None, None)
    found = Verification("kws", (host, qemu), ("kws.c",))
    assert found.lines() == [
        "note: kws.c is not the file that was built",
        "host: EQUAL: 48 bytes of every layer's output for 3 input sets",
        "board: DIFFERENT: 12 bytes of output for 3 input sets; 1,234,567 instructions per inference; "
        "96 bytes of stack used",
        "  input set 2: first difference after layer 3 CONV_2D, tensor 'c' at [0, 1, 2]: the C computes 5, the "
        "reference 4",
    ]
    parsed = json.loads(json.dumps(found.as_dict()))
    assert parsed["equal"] is False and parsed["runs"][0]["mismatch"] is None
    assert parsed["runs"][1]["mismatch"] == {
        "vector": 2, "layer": "3 CONV_2D", "tensor": "c", "index": [0, 1, 2], "got": "5", "expected": "4",
    }  # fmt: skip
    with pytest.raises(VerificationError, match=r"^kws on board: input set 2: first difference after layer 3 CONV_2D"):
        found.raise_if_wrong()


# --- run ----------------------------------------------------------------------------------------------------------


def test_run_on_every_machine(originals: dict[str, Path]) -> None:
    rng = np.random.default_rng(0)
    sets = [
        [rng.integers(-128, 128, (2, 3)).astype(np.int8) for _ in range(2)] + [rng.normal(size=4).astype(np.float32)]
        for _ in range(3)
    ]
    reference, host, qemu = (tinygen.run_on(originals["two"], sets, on=on) for on in ("reference", *MACHINES))
    assert len(reference) == 3 and [a.shape for a in reference[0]] == [(2, 3), (4,)]
    for a, b, c in zip(reference, host, qemu, strict=True):
        assert [x.tobytes() for x in a] == [x.tobytes() for x in b] == [x.tobytes() for x in c]


def test_run_between_files(originals: dict[str, Path], tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", in0=np.zeros((2, 6), np.int8))
    assert tinygen.run(originals["dense"], tmp_path / "in.npz", tmp_path / "out.npz", on="reference") == 2
    with np.load(tmp_path / "out.npz") as outputs:
        assert outputs["out0"].shape == (2, 1, 4) and outputs["out0"].dtype == np.int8


@pytest.mark.parametrize("on", ["reference", *MACHINES])
def test_inputs_that_do_not_fit_are_refused_everywhere(on: str, originals: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match=r"input set 0, input 'x': expected int8\[1,6\], got int8\[6\]"):
        tinygen.run_on(originals["dense"], [[np.zeros(6, np.int8)]], on=on)
    with pytest.raises(UsageError, match="input set 0 has 2 arrays; the model has 1 inputs"):
        tinygen.run_on(originals["dense"], [[np.zeros((1, 6), np.int8)] * 2], on=on)


def test_run_has_one_place_to_run(originals: dict[str, Path]) -> None:
    for on in ("all", "board"):
        with pytest.raises(UsageError, match="expected reference, host or qemu"):
            tinygen.run_on(originals["dense"], [[np.zeros((1, 6), np.int8)]], on=on)
