# SPDX-License-Identifier: Apache-2.0
"""How good a model is on data: in float, in the integer reference, and as emitted C, side by side."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from tinygen import api, reference, running
from tinygen.data.calibration import Samples, Source, load_labelled
from tinygen.data.preprocessing import Preprocessing
from tinygen.errors import UsageError
from tinygen.evaluation import metrics
from tinygen.frontends.keras import is_keras
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array, Real, TensorType
from tinygen.ops.limits import is_float
from tinygen.ops.numerics import clamp, round_half_away
from tinygen.ops.quantize import LIMIT
from tinygen.quantize import Wide
from tinygen.shrink import integers, needs_quantization
from tinygen.target import Target, load_target
from tinygen.verify.build_dir import read_build
from tinygen.verify.host import run_host
from tinygen.verify.qemu import run_qemu

Metric = Literal["top1", "top5", "auc", "mse", "mae", "agreement"]
On = Literal["reference", "host", "qemu"]
#: Seconds that the C may take for all samples.
TIMEOUT = 3600.0
#: The share of real input values outside of the model's range from which on the samples look wrong.
OUTSIDE = 0.1
#: Metrics that compare with the first runner where there are no labels.
_COMPARING = ("mse", "mae", "agreement")


@dataclass(frozen=True)
class Evaluation:
    """The `metric` of a model's first output over `samples` samples, by what ran it: float, reference, host or a board.

    `against` is ``labels``, or the name of the runner that the others are compared with.
    """

    model: str
    metric: str
    samples: int
    against: str
    scores: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "scores": dict(self.scores)}


def evaluate(
    model: str | Path | Graph,
    data: Source,
    *,
    metric: Metric | None = None,
    on: On = "host",
    limit: int | None = None,
    preprocessing: Preprocessing | None = None,
    target: str | Target = "cortex-m4",
    calibration: Source | None = None,
    mixed: Wide = "none",
    shapes: api.Shapes | None = None,
) -> Evaluation:
    """Run `model` (a model file, a graph, or a folder that ``build`` wrote) on `data` and compare with its labels.

    `data` is what `tinygen.data.calibration` reads; labels are its y or labels: class indices [N] or one-hot for top1
    and top5, 0 and 1 for auc, values of the output's shape for mse and mae. Without labels, all runners are compared
    with the first one. Float data is quantized with the model's input scales. What runs is cumulative: `on` is
    ``reference``, ``host`` (the reference and the C on this computer) or ``qemu`` (the C under emulation, too). A model
    file is compiled for `target`, a float model only with `calibration` to quantize it by (`mixed`: with 16 bits for
    which activations). The default `metric` follows
    from labels and outputs. `shapes` is as for `tinygen.load`.
    """
    if metric is not None and metric not in get_args(Metric):
        raise UsageError(f"metric '{metric}': expected one of {', '.join(get_args(Metric))}")
    if on not in get_args(On):
        raise UsageError(f"on '{on}': expected reference, host or qemu")
    folder = (
        Path(model) if isinstance(model, str | Path) and Path(model).is_dir() and not is_keras(Path(model)) else None
    )
    graph = model if isinstance(model, Graph) else running.read_graph(folder) if folder else api.load(model, shapes)
    samples = load_labelled(data, [(n, graph.types[n]) for n in graph.inputs], limit=limit, preprocessing=preprocessing)
    outputs = {}
    if is_float(graph):
        name = graph.outputs[0]
        outputs["float"] = _stacked([reference.run_real(graph, values)[name] for values in samples.sets])
    integer = _integers(graph, calibration, preprocessing, mixed)
    if integer is not None:
        outputs |= _runs(integer, folder, samples.sets, on, target)
    judge = _Judge(graph, samples, outputs)
    chosen = metric or judge.default()
    against = "labels" if samples.labels is not None and chosen != "agreement" else next(iter(outputs))
    scores = {where: judge.score(chosen, found) for where, found in outputs.items()}
    return Evaluation(graph.name, chosen, len(samples.sets), against, scores)


def _integers(
    graph: Graph, calibration: Source | None, preprocessing: Preprocessing | None, mixed: Wide
) -> Graph | None:
    """The int8 form of `graph`; None for a float model without calibration data."""
    if calibration is not None:
        return api.quantize_model(graph, calibration, preprocessing=preprocessing, mixed=mixed).graph
    if mixed != "none":
        raise UsageError("--mixed is for float models that are quantized here: pass --calibration, too")
    return None if needs_quantization(graph) else integers(graph)


def _runs(
    graph: Graph, folder: Path | None, sets: Sequence[Sequence[Array]], on: On, target: str | Target
) -> Iterator[tuple[str, Real]]:
    """What runs, by name, and the first output's real numbers [N, elements]."""
    kind = graph.types[graph.outputs[0]]
    integers = as_inputs([graph.types[n] for n in graph.inputs], sets)
    yield "reference", _stacked([kind.dequantize(reference.run(graph, values)[0]) for values in integers])
    if on == "reference":
        return
    with tempfile.TemporaryDirectory(prefix="tinygen-") as temporary:
        made = read_build(folder or api.build(graph, target).write(Path(temporary) / "build"))
        goal = load_target(made.report["target"]["name"])
        done = [run_host(made, integers, sanitize=False, timeout=TIMEOUT)]
        if on == "qemu":
            done.append(run_qemu(made, integers, goal, timeout=TIMEOUT))
    for execution in done:
        yield execution.where, _stacked([kind.dequantize(values[0]) for values in execution.outputs])


def as_inputs(types: Sequence[TensorType], sets: Sequence[Sequence[Array]]) -> list[list[Array]]:
    """`sets` in the model's own element types: real numbers are quantized where the model takes integers.

    Warns where the model's range holds too few of them.
    """
    for index, tensor in enumerate(types):
        real = [values[index] for values in sets if values[index].dtype != tensor.dtype.numpy]
        if real and (outside := _outside(np.stack(real), tensor)) > OUTSIDE:
            low, high = tensor.dequantize(np.array(tensor.dtype.limits))
            warnings.warn(
                f"{outside:.0%} of input {index} lies outside of {low:.4g} to {high:.4g}, which is all that the model "
                "can take: are the samples scaled as in training?",
                stacklevel=3,
            )
    return [
        [quantized(v, t) if v.dtype != t.dtype.numpy else v for v, t in zip(values, types, strict=True)]
        for values in sets
    ]


def _outside(values: Array, tensor: TensorType) -> float:
    """The share of real `values` that lie more than a step outside of what `tensor` can hold."""
    low, high = tensor.dequantize(np.array(tensor.dtype.limits))
    return float(np.mean((values < low - tensor.q.scale) | (values > high + tensor.q.scale)))


def quantized(values: Array, tensor: TensorType) -> Array:
    """float32 `values` as integers of `tensor`, as the operator QUANTIZE makes them."""
    scaled = np.clip(values / np.float32(tensor.q.scale), -LIMIT, LIMIT)
    return clamp(round_half_away(scaled).astype(np.int64) + tensor.q.zero_point, tensor)


def _stacked(outputs: Sequence[Array]) -> Real:
    return np.stack([np.asarray(output, np.float64).ravel() for output in outputs])


@dataclass(frozen=True)
class _Judge:
    """Scores outputs [N, elements]."""

    graph: Graph
    samples: Samples
    outputs: Mapping[str, Real]

    @property
    def first(self) -> Real:
        return next(iter(self.outputs.values()))

    def default(self) -> Metric:
        labels, elements = self.samples.labels, self.first.shape[1]
        if labels is None:
            return "agreement" if elements > 1 else "mse"
        if labels.dtype.kind == "f":
            return "mse"
        binary = set(np.unique(labels).tolist()) == {0, 1}
        return "auc" if elements == 1 or (binary and self.reconstructs()) else "top1"

    def reconstructs(self) -> bool:
        """Whether the output is the input again, as of an autoencoder."""
        source, target = (self.graph.types[names[0]].shape for names in (self.graph.inputs, self.graph.outputs))
        return len(self.graph.inputs) == 1 and source == target and self.first.shape[1] > 2

    def score(self, metric: Metric, outputs: Real) -> float:
        if metric in _COMPARING and (metric == "agreement" or self.samples.labels is None):
            if len(self.outputs) < 2:
                raise UsageError(
                    f"metric {metric}: nothing to compare with: the data has no labels (y), and one model ran"
                )
            return _PAIRS[metric](outputs, self.first)
        if metric in _COMPARING:
            return _PAIRS[metric](outputs, self.targets())
        if metric == "auc":
            positive = self.binary()
            return metrics.auc(self.scores(outputs), positive)
        return metrics.top(outputs, self.classes(), 1 if metric == "top1" else 5)

    def labels(self, metric: str) -> Array:
        if self.samples.labels is None:
            raise UsageError(f"metric {metric} needs labels: expected y or labels in the data, got none")
        return self.samples.labels

    def classes(self) -> Array:
        labels, elements = self.labels("top1 or top5"), self.first.shape[1]
        if labels.ndim == 2 and labels.shape[1] == elements > 1:
            return np.asarray(labels.argmax(axis=1))
        flat = labels.reshape(len(labels), -1)
        whole = flat.shape[1] == 1 and np.array_equal(flat, flat.astype(np.int64))
        if not whole or flat.min() < 0 or flat.max() >= elements:
            raise UsageError(f"labels: expected one class of 0 to {elements - 1} for each sample, got {_range(labels)}")
        return flat[:, 0].astype(np.int64)

    def binary(self) -> Array:
        labels = self.labels("auc").ravel()
        if len(labels) != len(self.first) or set(np.unique(labels).tolist()) != {0, 1}:
            raise UsageError(f"labels: expected 0 and 1, one for each sample and both of them, got {_range(labels)}")
        return labels.astype(bool)

    def targets(self) -> Real:
        labels = self.labels("mse or mae").reshape(len(self.first), -1).astype(np.float64)
        if labels.shape != self.first.shape:
            elements = f"{self.first.shape[1]} values for each sample, got {labels.shape[1]}"
            raise UsageError(f"labels: expected the output's {elements}")
        return labels

    def scores(self, outputs: Real) -> Real:
        """How positive each sample is: the only output, the second less the first, or the error of reconstruction."""
        if self.reconstructs():
            kind = self.graph.types[self.graph.inputs[0]]
            inputs = _stacked([kind.dequantize(v) if v.dtype == kind.dtype.numpy else v for (v,) in self.samples.sets])
            return np.asarray(np.mean((outputs - inputs) ** 2, axis=1))
        if outputs.shape[1] > 2:
            raise UsageError(f"metric auc: expected a model with one or two outputs, got {outputs.shape[1]}")
        return outputs[:, -1] - (outputs[:, 0] if outputs.shape[1] == 2 else 0.0)


_PAIRS: dict[str, Callable[[Real, Real], float]] = {
    "mse": metrics.mse,
    "mae": metrics.mae,
    "agreement": metrics.agreement,
}


def _range(labels: Array) -> str:
    return f"{labels.dtype.name}[{','.join(map(str, labels.shape))}] of {labels.min()} to {labels.max()}"
