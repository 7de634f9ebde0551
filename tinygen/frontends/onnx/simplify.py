# SPDX-License-Identifier: Apache-2.0
"""What happens to an ONNX model before it is read node by node: sizes fixed, constants folded, functions inlined.

The folding is onnxscript's optimizer. It may leave things as they are (large constants, say), which the builder then
folds itself.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from tinygen.errors import ModelError, UnsupportedError, UsageError
from tinygen.frontends.onnx.external import read_in
from tinygen.frontends.tflite import printable

#: More nodes than any model for a microcontroller has.
MAX_NODES = 5_000
#: The element count that a constant may ask ConstantOfShape and its like to make.
MAX_GROWN = 1 << 22
MIN_OPSET = 7

#: Operators whose result is as large as the values of an input say.
_GROWING = frozenset({"ConstantOfShape", "Expand", "Tile", "Range", "OneHot", "EyeLike", "Pad", "Resize", "Upsample"})

Shapes = Mapping[str, tuple[int, ...]]


def parse(data: bytes, folder: Path) -> onnx.ModelProto:
    """The model in `data`, with weights out of files in `folder`; raises `ModelError` unless it is well formed."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RuntimeError, ValueError) as error:
        raise ModelError(f"the ONNX file is damaged or truncated ({error}): export the model again") from None
    if not model.HasField("graph") or not model.graph.output:
        raise ModelError("the ONNX file holds no graph with outputs, so there is nothing to compile: export it again")
    if len(model.graph.node) > MAX_NODES:
        raise UnsupportedError(f"the model has {len(model.graph.node)} nodes, more than {MAX_NODES}: use a smaller one")
    read_in(model, folder)
    # files of version 3 must list initializers among the inputs, and tools forget to, which no runtime minds
    model.ir_version = max(model.ir_version, 4)
    _check_opset(model)
    _check_grammar(model)
    return model


def _check_grammar(model: onnx.ModelProto) -> None:
    """ONNX's own checker; shapes that are not given are none of its business here."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    for value in (*copy.graph.input, *copy.graph.output):
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(copy)
    except onnx.checker.ValidationError as error:
        first = " ".join(str(error).split("==>")[0].split())
        raise ModelError(f"the ONNX model is malformed: {first[:300].rstrip('.')}: export it again") from None


def _check_opset(model: onnx.ModelProto) -> None:
    version = opset_of(model)
    if not MIN_OPSET <= version <= onnx.defs.onnx_opset_version():
        raise UnsupportedError(
            f"the model uses ONNX operator set {version}; expected {MIN_OPSET} to {onnx.defs.onnx_opset_version()}: "
            "export it with another opset_version"
        )


def opset_of(model: onnx.ModelProto) -> int:
    """The version of the default operator set."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def simplified(model: onnx.ModelProto, shapes: Shapes) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The model with static inputs and folded constants, and a line for each thing that was decided for the user."""
    notes = tuple(_fix_inputs(model, shapes))
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    _refuse_growth(model)
    return _optimized(model), notes


def _fix_inputs(model: onnx.ModelProto, shapes: Shapes) -> Iterator[str]:
    """Drop initializers from the inputs (as files of before 2019 list them), and give each input a size."""
    initial = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in initial]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    unknown = [name for name in shapes if name not in {value.name for value in model.graph.input}]
    if unknown:
        names = ", ".join(value.name for value in model.graph.input)
        raise UsageError(f"--shape names input '{unknown[0]}', which the model does not have; its inputs: {names}")
    for value in model.graph.input:
        yield from _fix(value, shapes.get(value.name))


def _fix(value: Any, wanted: tuple[int, ...] | None) -> Iterator[str]:
    name = printable(value.name.encode())
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        raise UnsupportedError(f"input '{name}' is no tensor, which is not supported")
    if not tensor.HasField("shape"):
        if wanted is None:
            raise UnsupportedError(f"input '{name}' has no shape: say it, as in --shape {name}=1,3,32,32")
        tensor.shape.dim.extend(onnx.TensorShapeProto.Dimension() for _ in wanted)
    dims = tensor.shape.dim
    if wanted is not None and len(wanted) != len(dims):
        raise UsageError(f"--shape gives {len(wanted)} dimensions for input '{name}', which has {len(dims)}")
    for axis, dim in enumerate(dims):
        fixed = dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
        if wanted is not None:
            if wanted[axis] < 1 or fixed not in (None, wanted[axis]):
                raise UsageError(
                    f"--shape gives dimension {axis} of input '{name}' the size {wanted[axis]}; "
                    f"expected {fixed or 'at least 1'}"
                )
            dim.dim_value = wanted[axis]
        elif fixed is None and axis == 0:
            yield f"input '{name}': the batch dimension '{dim.dim_param or '?'}' is taken as 1"
            dim.dim_value = 1
        elif fixed is None:
            example = ",".join(str(d.dim_value or 32) if i else "1" for i, d in enumerate(dims))
            raise UnsupportedError(
                f"input '{name}' has the dynamic dimension '{dim.dim_param or '?'}' (axis {axis}): give its size, "
                f"as in --shape {name}={example}"
            )


def _refuse_growth(model: onnx.ModelProto) -> None:
    """Refuse nodes that would make absurdly large constants while the model is folded."""
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            values[node.output[0]] = node.attribute[0].t
        if node.op_type in _GROWING:
            for name in node.input:
                if name in values and _grows(values[name]):
                    raise UnsupportedError(
                        f"node '{printable(node.name.encode())}' (ONNX {node.op_type}) makes a tensor that is larger "
                        "than any for a microcontroller"
                    )


def _grows(tensor: onnx.TensorProto) -> bool:
    """Whether the tensor's integers multiply to more elements than make sense."""
    if tensor.data_type not in (onnx.TensorProto.INT64, onnx.TensorProto.INT32) or math.prod(tensor.dims) > 64:
        return False
    return math.prod(abs(int(v)) or 1 for v in numpy_helper.to_array(tensor).ravel()) > MAX_GROWN


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the optimizer's remarks on what it leaves as it is."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _optimized(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnxscript import optimizer

    with _quietly():
        try:
            return optimizer.optimize(model)
        except Exception:  # whatever it cannot digest, the builder refuses with a sentence of its own, or takes
            return model
