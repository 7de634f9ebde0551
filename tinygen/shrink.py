# SPDX-License-Identifier: Apache-2.0
"""A model's graph → the int8 graph that is compiled: quantized by samples of its inputs, and compressed if asked."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tinygen.batch import run_real_samples
from tinygen.compress import Bought, Evidence, Technique, compress
from tinygen.compress.base import Sample
from tinygen.data.calibration import Source, load_labelled, load_samples
from tinygen.data.preprocessing import Preprocessing
from tinygen.errors import UsageError
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array, Real, TensorType
from tinygen.ops.limits import is_float, is_given
from tinygen.passes import LOSSLESS, Pass
from tinygen.quantize import Options, Wide, quantize
from tinygen.quantize.given import from_given
from tinygen.quantize.report import Report, inputs_of
from tinygen.selection import Optimize
from tinygen.target import Target

#: One calibration sample of so many is held back to judge compression by, where there are at least `FEWEST`.
HELD_BACK, FEWEST = 4, 8
#: What is said of a recipe that leaves nothing to judge by.
FITTED = (
    "the recipe is fitted to all calibration samples, so that what compression loses is judged on samples that it has "
    "seen: pass others with --data"
)


@dataclass(frozen=True)
class Compression:
    """What compression is asked for.

    `target` and `optimize` are what costs are measured for, `data` holds samples (with labels) to judge with instead of
    calibration samples, and `heard` gets a line for each technique as soon as it is known; the lossless
    `passes` run before and after each. With `fits_all`, techniques are fitted to what is held back of calibration, too.
    """

    techniques: Sequence[Technique]
    target: Target
    optimize: Optimize = "balanced"
    data: Source | None = None
    heard: Callable[[Bought], None] = field(default=lambda bought: None)
    passes: Sequence[Pass] = LOSSLESS
    fits_all: bool = False


@dataclass(frozen=True)
class Shrunk:
    """An int8 graph, the report of its quantization if that was done here, and what each technique bought."""

    graph: Graph
    quantization: Report | None = None
    bought: tuple[Bought, ...] = ()


def integers(graph: Graph) -> Graph:
    """`graph`, if it was quantized elsewhere, in int8; see `tinygen.quantize.given`."""
    return from_given(graph) if is_given(graph) else graph


def needs_quantization(graph: Graph) -> bool:
    """Whether `graph` is a float model that nobody has quantized."""
    return is_float(graph) and not is_given(graph)


def shrink(
    graph: Graph,
    file: str,
    calibration: Source | None,
    preprocessing: Preprocessing | None = None,
    compression: Compression | None = None,
    mixed: Wide = "none",
) -> Shrunk:
    """The int8 form of `graph`, which was read from `file`; `mixed`: with 16 bits for which activations.

    Raises `UsageError` where samples are missing, or of no use.
    """
    if compression is not None and not compression.techniques:
        compression = None
    _check_samples(graph, file, calibration, compression)
    _check_mixed(graph, file, compression, mixed)
    if calibration is None:
        return Shrunk(integers(graph))
    if compression is None:
        samples = load_samples(calibration, _ports(graph), preprocessing=preprocessing)
        made = quantize(graph, samples, Options(wide=mixed))
        return Shrunk(made.graph, made.report)
    start, evidence = started(graph, calibration, compression.data, preprocessing)
    if compression.fits_all and compression.data is None:
        warnings.warn(FITTED, stacklevel=2)
        evidence = evidence.fitting_all()
    small, bought = compress(
        start.graph,
        compression.techniques,
        evidence,
        compression.target,
        compression.optimize,
        compression.heard,
        compression.passes,
    )
    return Shrunk(small, start.quantization, bought)


def started(
    graph: Graph, calibration: Source, data: Source | None = None, preprocessing: Preprocessing | None = None
) -> tuple[Shrunk, Evidence]:
    """The int8 form of `graph` before compression, and what techniques may learn from.

    Without `data`, every fourth sample is held back: neither quantization nor compression sees it. Labels that come
    with `calibration` are for techniques that train.
    """
    given = load_labelled(calibration, _ports(graph), preprocessing=preprocessing)
    samples, classes, labels = given.sets, _classes(given.labels), None
    if data is not None:
        found = load_labelled(data, _ports(graph), preprocessing=preprocessing)
        fitting, judging, labels = samples, found.sets, _classes(found.labels)
    else:
        fit, held = _split(len(samples))
        fitting, judging = ([samples[i] for i in some] for some in (fit, held))
        classes, labels = (None, None) if classes is None else (classes[fit], classes[held])
    quantized = quantize(graph, fitting) if needs_quantization(graph) else None
    start = Shrunk(quantized.graph, quantized.report) if quantized else Shrunk(integers(graph))
    fitted, held_back = ([_as_inputs(start.graph, sample) for sample in some] for some in (fitting, judging))
    truth, teacher = (_truth(graph, judging), graph) if quantized else (None, start.graph)
    return start, Evidence(fitted, held_back, labels, truth, classes, teacher)


def _ports(graph: Graph) -> list[tuple[str, TensorType]]:
    return [(name, graph.types[name]) for name in graph.inputs]


def _check_samples(graph: Graph, file: str, calibration: Source | None, compression: Compression | None) -> None:
    if calibration is None and needs_quantization(graph):
        raise UsageError(
            f"{file} is a float model: pass samples of its input with --calibration FILE (.npz, .npy or a folder, a "
            "hundred will do), by which it is quantized to int8; '--calibration random' tries it without data"
        )
    if calibration is None and compression is not None:
        names = ", ".join(technique.name for technique in compression.techniques)
        raise UsageError(
            f"{names}: compression looks at what the layers of {file} compute: pass samples of its input with "
            "--calibration FILE (.npz, .npy or a folder, a hundred will do)"
        )
    if calibration is not None and compression is None and not needs_quantization(graph):
        raise UsageError(f"{file} is quantized already, so that there is nothing to calibrate: drop --calibration")


def _check_mixed(graph: Graph, file: str, compression: Compression | None, mixed: Wide) -> None:
    if mixed == "none":
        return
    if not needs_quantization(graph):
        raise UsageError(f"{file} is quantized already, so that its layers have their types: drop --mixed")
    if compression is not None:
        raise UsageError("--mixed and compression do not go together yet: pass one of them")


def _split(count: int) -> tuple[list[int], list[int]]:
    """Which of `count` samples are to fit and which to judge by; of few, all do both, and a warning says so."""
    if count < FEWEST:
        warnings.warn(
            f"{count} calibration samples are too few to hold some back: what compression loses is judged on "
            f"those that it was fitted to; pass at least {FEWEST}",
            stacklevel=4,
        )
        return list(range(count)), list(range(count))
    held = range(HELD_BACK - 1, count, HELD_BACK)
    return [i for i in range(count) if i not in held], list(held)


def _as_inputs(graph: Graph, sample: Sequence[Array]) -> Sample:
    """`sample` as the int8 `graph` takes it: integers as they are, real numbers quantized."""
    real = inputs_of(graph, sample)
    return [v if v.dtype == r.dtype else r for v, r in zip(sample, real, strict=True)]


def _truth(graph: Graph, samples: Sequence[Sequence[Array]]) -> list[Real]:
    """What float `graph` gives as its first output."""
    return [values[graph.outputs[0]] for values in run_real_samples(graph, samples)]


def _classes(labels: Array | None) -> Array | None:
    """Labels as class indices, from these or from one-hot rows; None where they are neither."""
    if labels is None or (labels.ndim == 1 and labels.dtype.kind in "biu"):
        return labels
    flat = labels.reshape(len(labels), -1)
    if flat.shape[1] > 1:
        return np.asarray(flat.argmax(axis=1))
    return flat[:, 0].astype(np.int64) if np.array_equal(flat, np.rint(flat)) else None
