# SPDX-License-Identifier: Apache-2.0
"""The zoo: small published networks, with what TensorFlow Lite Micro answers on five input sets each.

The models are not part of this repository. `FOLDER` is ``TINYGEN_ZOO``, or ``shared/zoo`` beside the checkout.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tflite

from tinygen import api
from tinygen.errors import TinygenError
from tinygen.inspection import inspect
from tinygen.ir.types import Array
from tinygen.lower import Optimize
from tinygen.ops.limits import is_float
from tinygen.verify.build_dir import BuildDir, read_build

ROOT = Path(__file__).parents[1]
FOLDER = Path(os.environ.get("TINYGEN_ZOO") or ROOT.parent / "shared" / "zoo")
PRESENT = (FOLDER / "models").is_dir()
ABSENT = f"the zoo is not at {FOLDER}: set TINYGEN_ZOO to its folder"


@dataclass(frozen=True)
class Golden:
    """One input set of a model, and the outputs that the reference runtime gave for it."""

    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]


def names() -> list[str]:
    """Every TFLite model of the zoo, as ORIGIN/FILE without the ending."""
    folder = FOLDER / "models"
    return sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.tflite"))


def path_of(name: str) -> Path:
    """The file of model `name`."""
    return FOLDER / "models" / f"{name}.tflite"


def reason_not_covered(name: str) -> str | None:
    """Why tinygen refuses model `name`, in one sentence; None if it does not."""
    try:
        found = inspect(path_of(name))
    except TinygenError as error:
        return str(error)
    if found.graph is not None and is_float(found.graph) and not found.problems:
        return "a float model: needs --calibration"
    return found.problems[0] if found.problems else None


def build(
    name: str,
    folder: Path,
    target: str = "cortex-m4",
    optimize: Optimize = "balanced",
    without: Collection[str] = (),
) -> BuildDir:
    """Compile model `name` into `folder`, and read the result back as `tinygen verify` does."""
    return read_build(api.build(path_of(name), target, optimize=optimize, without=without).write(folder))


def golden(name: str) -> list[Golden]:
    """The golden input sets and outputs of model `name`, in the order in which they were run."""
    with np.load(FOLDER / "golden" / f"{name}.tflite.npz") as archive:
        arrays = {key: archive[key] for key in archive.files}
    runs = sorted({int(key.rpartition("_")[2]) for key in arrays})
    return [Golden(_arrays(arrays, "in", k), _arrays(arrays, "out", k)) for k in runs]


def _arrays(arrays: dict[str, Array], kind: str, run: int) -> tuple[Array, ...]:
    """``<kind>0_<run>``, ``<kind>1_<run>``, …"""
    count = sum(key.startswith(kind) and key.endswith(f"_{run}") for key in arrays)
    return tuple(arrays[f"{kind}{index}_{run}"] for index in range(count))


def tflm_layers(name: str, inputs: Sequence[Array]) -> dict[str, Array]:
    """What every operator of model `name` computes in TensorFlow Lite Micro on `inputs`; tensors by tinygen's names."""
    # Imported here: the wheel exists for one platform only, and the benchmarks do without.
    from tflite_micro.python.tflite_micro import runtime

    data = path_of(name).read_bytes()
    keep_all = runtime.InterpreterConfig.kPreserveAllTensors
    interpreter = runtime.Interpreter.from_bytes(data, arena_size=1 << 24, intrepreter_config=keep_all)
    for index, value in enumerate(inputs):
        interpreter.set_input(value, index)
    interpreter.invoke()
    nodes, subgraph = api.load(path_of(name)).nodes, tflite.Model.GetRootAsModel(data, 0).Subgraphs(0)
    assert len(nodes) == subgraph.OperatorsLength()
    indices = {
        label: subgraph.Operators(number).Outputs(position)
        for number, node in enumerate(nodes)
        for position, label in enumerate(node.outputs)
    }
    return {label: np.array(interpreter.GetTensor(index, 0)["tensor_data"]) for label, index in indices.items()}


def dataset(name: str) -> dict[str, Array]:
    """The arrays of ``datasets/<name>.npz``."""
    with np.load(FOLDER / "datasets" / f"{name}.npz") as archive:
        return {key: archive[key] for key in archive.files}


def difference(runs: Sequence[Golden], outputs: Sequence[Sequence[Array]]) -> str | None:
    """Where `outputs` first differs in any bit from the golden ones; None if it does not."""
    for k, (run, got) in enumerate(zip(runs, outputs, strict=True)):
        for index, (a, b) in enumerate(zip(got, run.outputs, strict=True)):
            if a.dtype != b.dtype or a.shape != b.shape:
                return f"output {index} is {a.dtype}{list(a.shape)}, not {b.dtype}{list(b.shape)}"
            if a.tobytes() != b.tobytes():
                wrong = np.flatnonzero(a.ravel() != b.ravel())
                at = int(wrong[0]) if len(wrong) else 0
                values = f"{a.ravel()[at]} instead of {b.ravel()[at]}"
                return f"run {k}, output {index}: {len(wrong)} of {a.size} elements differ, the first at {at}: {values}"
    return None
