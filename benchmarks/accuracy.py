# SPDX-License-Identifier: Apache-2.0
"""What int8 costs each float model of the zoo: tinygen's quantization beside the TFLite converter's and onnxruntime's.

    python -m benchmarks.accuracy [--models WORD] [--tests N] [--splits N] [--json] [--write docs/accuracy.md]

All quantize by the same samples and are judged on others, on several splits of the data. The exit code is 1 if a
labelled model loses more than its limit or tinygen is not at least as good as each of the others on most models, 2 if
the zoo is not there.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks import stock
from benchmarks.accuracy_data import CASES, SPLITS, Case, Data
from benchmarks.accuracy_rows import PEERS, Findings, Row
from benchmarks.command import on_the_zoo
from benchmarks.stock import TENSORFLOW, Outputs
from tinygen import api
from tinygen.errors import TinygenError
from tinygen.export import tflite
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array
from tinygen.quantize import quantize
from tinygen.quantize.prepare import prepare
from tinygen.quantize.report import decibels


def measure(case: Case, most: int = 0, splits: int = SPLITS) -> Row:
    """Quantize and judge one model, on at most `most` test samples; `TinygenError` if tinygen refuses it."""
    rows = [_measured(case, most, split) for split in range(min(splits, case.splits))]
    losses = [row.lost for row in rows if row.limit is not None]
    return replace(
        rows[0],
        scores=_mean([row.scores for row in rows]),
        notes=tuple(dict.fromkeys(note for row in rows for note in row.notes)),
        noise=_mean([row.noise for row in rows]),
        apart={peer: tuple(np.mean([row.apart[peer] for row in rows], axis=0).tolist()) for peer in rows[0].apart},
        agreement=_mean([row.agreement for row in rows]),
        splits=len(rows),
        worst=max(losses, default=None),
    )


def _mean(found: Sequence[dict[str, float]]) -> dict[str, float]:
    return {who: float(np.mean([values[who] for values in found])) for who in found[0]}


def _measured(case: Case, most: int, split: int) -> Row:
    """`measure` on one split of the data."""
    graph = api.load(case.path)
    calibration, test = case.split(most, split)
    exact = _float(case, graph, test)
    runs: dict[str, Outputs] = {"float": exact}
    runs["tinygen"] = stock.as_c(quantize(graph, calibration.samples).graph)(test.samples)
    notes: list[str] = []
    for peer, run in (("tflite", _tflite), ("onnxruntime", _onnxruntime)):
        try:
            found = run(case, graph, calibration, test, notes)
        except Exception as error:  # whatever a peer raises: the table says so, and goes on
            notes.append(f"{PEERS[peer]}: {_said(error)}")
        else:
            runs |= {peer: found} if found else {}
    counts, noise = (len(calibration.samples), len(test.samples)), {w: _noise(f, exact) for w, f in runs.items()}
    del noise["float"]
    about = Row(case.model, "sqnr", case.limit, test.source, *counts, noise, tuple(notes), noise)
    return about if test.labels is None else _labelled(about, runs, test.labels)


def _labelled(row: Row, runs: dict[str, Outputs], labels: Array) -> Row:
    """`row` with what follows from the classes of the test samples."""
    answers = {who: np.array([int(np.argmax(values[0])) for values in found]) for who, found in runs.items()}
    right = {who: found == labels for who, found in answers.items()}
    own = right["tinygen"]
    return replace(
        row,
        metric="accuracy",
        scores={who: 100.0 * float(np.mean(found)) for who, found in right.items()},
        apart={
            peer: (float(np.sum(own & ~right[peer])), float(np.sum(right[peer] & ~own)))
            for peer in set(PEERS) & set(right)
        },
        agreement={
            who: 100.0 * float(np.mean(found == answers["float"])) for who, found in answers.items() if who != "float"
        },
    )


def _float(case: Case, graph: Graph, test: Data) -> Outputs:
    """The float model where it is at home; a hybrid one with its weights as float."""
    if case.path.suffix == ".onnx":
        return stock.onnxruntime(onnx.load(case.path))(test.samples)
    runner = stock.litert(_tflite_bytes(case, graph, test)) if TENSORFLOW else stock.in_real_numbers(graph)
    return runner(test.samples)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120]}"


def _tflite(case: Case, graph: Graph, calibration: Data, test: Data, notes: list[str]) -> Outputs | None:
    if not TENSORFLOW:
        return None
    made = stock.quantized_by_tflite(_tflite_bytes(case, graph, calibration), calibration.samples)
    return stock.litert(made)(test.samples)


def _tflite_bytes(case: Case, graph: Graph, data: Data) -> bytes:
    """The model as float TFLite: its own file if it is that, else what tinygen quantizes, with clamps fused."""
    own = case.path.suffix == ".tflite" and not case.hybrid
    return case.path.read_bytes() if own else tflite.dumps(prepare(graph, data.samples[0]))


def _onnxruntime(case: Case, graph: Graph, calibration: Data, test: Data, notes: list[str]) -> Outputs | None:
    """None where there is no ONNX file of the model."""
    if case.onnx is None:
        return None
    turn = stock.nchw if case.twin else list
    model, samples = onnx.load(case.onnx), turn(calibration.samples)
    try:
        made = stock.quantized_by_onnxruntime(model, samples)
    except ValueError as error:
        notes.append(f"onnxruntime, quantized per tensor, since per channel it fails: {_said(error)}")
        made = stock.quantized_by_onnxruntime(model, samples, per_channel=False)
    return stock.onnxruntime(made)(turn(test.samples))


def _noise(found: Outputs, exact: Outputs) -> float:
    """The ratio of the worst output."""
    return min(sqnr([v[i] for v in found], [v[i] for v in exact]) for i in range(len(exact[0])))


def sqnr(found: Sequence[Any], exact: Sequence[Any]) -> float:
    """Signal to noise in dB of one output over all samples."""
    real = np.stack([np.ravel(v) for v in exact]).astype(np.float64)
    noise = np.stack([np.ravel(v) for v in found]) - real
    return decibels(float(np.sum(real**2)), float(np.sum(noise**2)))


def attempt(model: str, most: int = 0, splits: int = SPLITS) -> Row | str:
    """The row of a model, or why tinygen refuses it."""
    (case,) = (case for case in CASES if case.model == model)
    try:
        return measure(case, most, splits)
    except TinygenError as error:
        return str(error)


def _quiet() -> None:
    """Keep what TensorFlow prints from C++ away from the page; exceptions still arrive."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def measure_all(models: Sequence[str], most: int = 0, splits: int = SPLITS, jobs: int | None = None) -> Findings:
    """Every model, `jobs` at a time (as many as there are processors unless given), each in one thread."""
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    context, count = multiprocessing.get_context("spawn"), len(models)
    with ProcessPoolExecutor(jobs or os.cpu_count(), context, _quiet) as pool:
        found = pool.map(attempt, models, [most] * count, [splits] * count)
        results = dict(zip(models, found, strict=True))
    rows = [result for result in results.values() if isinstance(result, Row)]
    return Findings(rows, {model: result for model, result in results.items() if isinstance(result, str)})


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compare quantizers on the float models of the zoo.")
    parser.add_argument("--models", default="", metavar="WORD", help="only models with WORD in their names")
    parser.add_argument("--tests", type=int, default=0, metavar="N", help="at most N test samples of each model")
    parser.add_argument("--splits", type=int, default=SPLITS, metavar="N", help="splits of the data (default: 3)")
    parser.add_argument("--jobs", type=int, metavar="N", help="models at a time (default: one for each processor)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the page")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page there, too")
    return on_the_zoo(parser, arguments, measured)


def measured(options: argparse.Namespace) -> bool:
    """Measure, print, and write the page if asked; whether every goal is met."""
    from benchmarks.accuracy_page import page

    if not TENSORFLOW:
        print("tensorflow is not installed (extra 'train'): the TFLite converter's column is left out", file=sys.stderr)
    models = [case.model for case in CASES if options.models in case.model]
    found = measure_all(models, options.tests, options.splits, options.jobs)
    print(json.dumps(found.as_dict(), indent=1) if options.json else page(found))
    if options.write:
        options.write.write_text(page(found), encoding="utf-8")
    return found.ok


if __name__ == "__main__":
    sys.exit(main())
