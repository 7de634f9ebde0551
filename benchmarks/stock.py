# SPDX-License-Identifier: Apache-2.0
"""The quantizers that others use, with their own defaults, and the runtimes that belong to them.

A `Runner` takes samples and gives for each the float outputs of a model. TensorFlow is an extra of its own.
"""

from __future__ import annotations

import importlib.util
import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.accuracy_data import Sample
from tinygen import api
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array
from tinygen.quantize import with_float_ports
from tinygen.reference import run_real
from tinygen.verify.build_dir import read_build
from tinygen.verify.host import run_host

Outputs = list[list[Array]]
Runner = Callable[[Sequence[Sample]], Outputs]

#: Whether the TFLite converter and LiteRT are there.
TENSORFLOW = importlib.util.find_spec("tensorflow") is not None
#: The first opset whose quantization has one scale for each channel.
PER_CHANNEL = 13
TIMEOUT = 600.0


def in_real_numbers(graph: Graph) -> Runner:
    """tinygen's own meaning of a float model: for where there is no TensorFlow."""

    def run(samples: Sequence[Sample]) -> Outputs:
        found = (run_real(graph, sample) for sample in samples)
        return [[values[name] for name in graph.outputs] for values in found]

    return run


def as_c(graph: Graph) -> Runner:
    """The C that tinygen makes of an int8 graph, on this computer."""

    def run(samples: Sequence[Sample]) -> Outputs:
        with tempfile.TemporaryDirectory() as temporary:
            built = read_build(api.build(with_float_ports(graph), "cortex-m4").write(Path(temporary) / "build"))
            done = run_host(built, samples, sanitize=False, timeout=TIMEOUT)
        return [list(values) for values in done.outputs]

    return run


def litert(data: bytes) -> Runner:
    """A TFLite model in LiteRT: its own kernels, no delegate."""
    import tensorflow as tf

    kernels = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = tf.lite.Interpreter(model_content=data, experimental_op_resolver_type=kernels, num_threads=1)
    interpreter.allocate_tensors()
    inputs = [detail["index"] for detail in interpreter.get_input_details()]
    outputs = [detail["index"] for detail in interpreter.get_output_details()]

    def run(samples: Sequence[Sample]) -> Outputs:
        found: Outputs = []
        for sample in samples:
            for index, value in zip(inputs, sample, strict=True):
                interpreter.set_tensor(index, value)
            interpreter.invoke()
            found.append([interpreter.get_tensor(index) for index in outputs])
        return found

    return run


def quantized_by_tflite(data: bytes, samples: Sequence[Sample]) -> bytes:
    """A float TFLite model after the TFLite converter's full-integer quantization; float inputs and outputs.

    The two steps that `tf.lite.TFLiteConverter` takes when it is given a representative dataset.
    """
    from tensorflow.lite.python.convert import mlir_quantize
    from tensorflow.lite.python.optimize.calibrator import Calibrator

    calibrated = Calibrator(data).calibrate(lambda: iter([list(sample) for sample in samples]))
    return bytes(mlir_quantize(calibrated))


def onnxruntime(model: onnx.ModelProto) -> Runner:
    """An ONNX model in onnxruntime on the CPU."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return lambda samples: [list(session.run(None, dict(zip(names, s, strict=True)))) for s in samples]


def quantized_by_onnxruntime(
    model: onnx.ModelProto, samples: Sequence[Sample], per_channel: bool = True
) -> onnx.ModelProto:
    """A float ONNX model after `quantize_static`: QDQ, int8, min-max, weights by channel or not."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    logging.disable(logging.WARNING)
    if model.opset_import[0].version < PER_CHANNEL:
        model = onnx.version_converter.convert_version(model, PER_CHANNEL)
    with tempfile.TemporaryDirectory() as temporary:
        ready, made = Path(temporary) / "ready.onnx", Path(temporary) / "made.onnx"
        quant_pre_process(model, ready)
        names = _inputs(model)
        quantize_static(
            ready,
            made,
            _Reader(names, samples),
            quant_format=QuantFormat.QDQ,
            per_channel=per_channel,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(made)


def _inputs(model: onnx.ModelProto) -> list[str]:
    """Inputs that are no weights."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name not in weights]


class _Reader:
    """Calibration data as onnxruntime asks for them: one dictionary after the other."""

    def __init__(self, names: Sequence[str], samples: Sequence[Sample]) -> None:
        self.rows: Any = iter([dict(zip(names, sample, strict=True)) for sample in samples])

    def get_next(self) -> dict[str, Array] | None:
        return next(self.rows, None)

    def __iter__(self) -> _Reader:
        return self

    def __next__(self) -> dict[str, Array]:
        return next(self.rows)


def nchw(samples: Sequence[Sample]) -> list[Sample]:
    """Samples of one NHWC input in the other layout."""
    return [tuple(np.ascontiguousarray(value.transpose(0, 3, 1, 2)) for value in sample) for sample in samples]
