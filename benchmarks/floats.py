# SPDX-License-Identifier: Apache-2.0
"""Every float and every quantized ONNX model of the zoo, built for a Cortex-M4 and proved.

    python -m benchmarks.floats [--models WORD] [--json] [--write docs/floats.md]

Two proofs for each: the float graph computes what onnxruntime or LiteRT do, and the C of the int8 graph what the
reference does, on this computer under sanitizers and under QEMU. The exit code is 1 if one of them fails, 2 if the zoo
is not there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
from rich.console import Console

from benchmarks import stock
from benchmarks.accuracy_data import CASES, Sample
from benchmarks.command import on_the_zoo
from benchmarks.floats_rows import CALIBRATION, COMPARED, CORE, LARGE, MANY_MACS, RANDOM, TOLERANCE, Proof, summary
from tests import zoo
from tinygen import api, running
from tinygen.errors import ModelError, TinygenError, ToolError, UnsupportedError
from tinygen.export import tflite
from tinygen.ir.graph import Graph
from tinygen.ops.limits import is_float, is_given
from tinygen.passes.base import macs, random_inputs
from tinygen.reference import run_real


def models() -> list[str]:
    """The float and the ONNX models of the zoo, as ORIGIN/FILE; int8 TFLite models are `benchmarks.coverage`'s."""
    folder = zoo.FOLDER / "models"
    files = sorted(str(p.relative_to(folder)) for ending in ("tflite", "onnx") for p in folder.rglob(f"*.{ending}"))
    return [name for name in files if name.endswith(".onnx") or _maybe_float(folder / name)]


def _maybe_float(path: Path) -> bool:
    """Whether a TFLite file is a float model, as far as it can be read or by its name."""
    try:
        return is_float(api.load(path))
    except TinygenError:
        return any(word in path.stem for word in ("float", "fp32", "dynrange")) or path.stem.endswith("_f")


def prove(path: Path, name: str) -> Proof:
    """Everything about the model in `path`, which is called `name`."""
    try:
        graph = api.load(path)
    except (ModelError, UnsupportedError) as error:
        return Proof(name, "refused", str(error))
    given = is_given(graph)
    samples, data = ([], "its own scales") if given else _samples(name, graph)
    started = Proof(name, "failed", kind="int8" if given else "float", data=data)
    try:
        runtime, apart = ("", None) if given else _apart(path, graph, samples[:COMPARED])
        made = api.integers(graph) if given else api.quantize_model(graph, [list(s) for s in samples]).graph
        state, detail, sets = _verified(made)
    except UnsupportedError as error:
        return Proof(**{**asdict(started), "state": "refused", "detail": str(error)})
    except TinygenError as error:
        return Proof(**{**asdict(started), "detail": str(error)})
    if apart is not None and not apart <= TOLERANCE:
        state, detail = "failed", f"the float graph is {apart:.1e} from {runtime}"
    return Proof(name, state, detail, started.kind, data, runtime, apart, sets)


def _samples(name: str, graph: Graph) -> tuple[list[Sample], str]:
    """The zoo's data for the model where `accuracy_data` has it, else noise."""
    for case in CASES:
        if case.model == name:
            found, _ = case.split(most=1)
            return list(found.samples[:CALIBRATION]), found.source
    return [tuple(random_inputs(graph, seed)) for seed in range(CALIBRATION)], "random"


def _apart(path: Path, graph: Graph, samples: Sequence[Sample]) -> tuple[str, float | None]:
    """The runtime that the float model is at home in, and how far `run_real` is from it; None if it is not there.

    LiteRT quantizes what hybrid weights multiply as it runs; these models are compared in their float form.
    """
    if path.suffix == ".onnx":
        runtime, run = "onnxruntime", stock.onnxruntime(onnx.load(path))
    elif stock.TENSORFLOW:
        hybrid = "hybrid" in path.stem
        runtime, run = "LiteRT", stock.litert(tflite.dumps(graph) if hybrid else path.read_bytes())
    else:
        return "LiteRT is not installed", None
    worst = 0.0
    for sample, answers in zip(samples, run(samples), strict=True):
        values = run_real(graph, sample)
        for output, answer in zip(graph.outputs, answers, strict=True):
            size = max(float(np.max(np.abs(answer))), 1e-6)
            worst = max(worst, float(np.max(np.abs(values[output] - answer))) / size)
    return runtime, worst


def _verified(graph: Graph) -> tuple[str, str, int]:
    """State, reason and number of input sets of the int8 `graph`'s C on the host and under QEMU."""
    count = LARGE if macs(graph) > MANY_MACS else RANDOM
    with tempfile.TemporaryDirectory() as folder:
        built = api.build(graph, CORE).write(Path(folder) / "build")
        host = running.verify(built, on="host", vectors=count)
        host.raise_if_wrong()
        try:
            running.verify(built, on="qemu", vectors=count).raise_if_wrong()
        except ToolError as error:
            if "cannot be emulated" not in str(error):
                raise
            return "host only", str(error), host.checked[0].vectors
    return "proved", "", host.checked[0].vectors


def line(proof: Proof) -> str:
    """The proof as text."""
    if proof.detail:
        return f"{proof.model}: {proof.state}: {proof.detail}"
    apart = f", {proof.apart:.0e} from {proof.runtime}" if proof.apart is not None else ""
    return f"{proof.model}: {proof.state} on {proof.sets} input sets ({proof.kind}, {proof.data}{apart})"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build and prove the float and ONNX models of the zoo.")
    parser.add_argument("--models", default="", metavar="WORD", help="only models with WORD in their names")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page there, too")
    return on_the_zoo(parser, arguments, measured)


def measured(options: argparse.Namespace) -> bool:
    """Prove, print, and write the page if asked; whether no proof fails."""
    from benchmarks.floats_page import page

    os.environ |= {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    proofs = []
    with warnings.catch_warnings(), Console(stderr=True).status("") as status:
        warnings.simplefilter("ignore")  # batch dimensions taken as 1, noise in place of data: the page says so
        for name in [name for name in models() if options.models in name]:
            status.update(name)
            proofs.append(prove(zoo.FOLDER / "models" / name, name))
            if not options.json:
                print(line(proofs[-1]), flush=True)
    print(json.dumps([asdict(p) for p in proofs], indent=1) if options.json else summary(proofs))
    if options.write:
        options.write.write_text(page(proofs), encoding="utf-8")
    return all(proof.state != "failed" for proof in proofs)


if __name__ == "__main__":
    sys.exit(main())
