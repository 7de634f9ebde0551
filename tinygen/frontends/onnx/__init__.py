# SPDX-License-Identifier: Apache-2.0
"""ONNX models of float numbers → Graph. Inside, images are NHWC; inputs and outputs keep the model's own layout.

`registry` knows which function builds which operator; the other modules hold these functions by family. Importing this
package imports onnx, which those who compile TFLite models need not wait for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.frontends.onnx.advice import advice_for
from tinygen.frontends.onnx.build import Builder
from tinygen.frontends.onnx.external import read_in
from tinygen.frontends.onnx.fold import evaluate
from tinygen.frontends.onnx.node import OnnxNode
from tinygen.frontends.onnx.registry import handlers
from tinygen.frontends.onnx.simplify import Shapes, opset_of, parse, simplified
from tinygen.frontends.tflite import printable
from tinygen.ir.graph import ABSENT, Graph
from tinygen.ir.types import Array, DType

_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
_INDICES = (onnx.TensorProto.INT32, onnx.TensorProto.INT64)
#: What onnx and numpy raise on names that are no text, and on other things that do not hold together.
_BROKEN = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Reading:
    """The graph, and a line for each thing that was decided for the user."""

    graph: Graph
    notes: tuple[str, ...]


def read(path: Path, data: bytes, shapes: Shapes | None = None) -> Reading:
    """The float32 graph of the ONNX file `path` with content `data`. `shapes` fixes dynamic inputs, by name.

    Raises `ModelError` if the file is malformed, `UnsupportedError` if it uses what a Graph cannot express or leaves
    another dimension than the first open, `UsageError` if `shapes` does not fit.
    """
    with _naming(path):
        model, notes = simplified(parse(data, path.parent), shapes or {})
        return Reading(_Reader(model).graph(path.stem), notes)


def operators(path: Path, data: bytes) -> list[str]:
    """The operator names of the graph in order, as stored, supported or not."""
    with _naming(path):
        return [node.op_type for node in parse(data, path.parent).graph.node]


def weights_beside(path: Path, data: bytes) -> bytes:
    """What the ONNX file `path` with content `data` keeps in files beside it; empty where it keeps nothing there."""
    with _naming(path):
        return read_in(onnx.ModelProto.FromString(data), path.parent)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors name the file."""
    try:
        yield
    except TinygenError as error:
        raise type(error)(f"{path.name}: {error}") from None
    except (*_BROKEN, MemoryError, RecursionError) as error:
        raise ModelError(f"{path.name}: the ONNX file is damaged (it contradicts itself): export it again") from error


class _Reader:
    """One reading of a model."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.version = opset_of(model)
        self.values: dict[str, str] = {"": ABSENT}

    def graph(self, name: str) -> Graph:
        builder = Builder(name)
        self._refuse_unknown()
        for tensor in self.model.graph.initializer:
            self.values[tensor.name] = builder.constant(_array(tensor), printable(tensor.name.encode()) or "constant")
        for value in self.model.graph.input:
            self._input(builder, value)
        for index, proto in enumerate(self.model.graph.node):
            self._node(builder, proto, index)
        outputs = {printable(v.name.encode()): self._value(v.name) for v in self.model.graph.output}
        return builder.graph(outputs)

    def _refuse_unknown(self) -> None:
        """Say at once which operators are not supported, and what the nearest thing is."""
        for proto in self.model.graph.node:
            op = _qualified(proto)
            if op not in handlers() and proto.op_type not in FOLDED:
                raise UnsupportedError(
                    f"node '{_label(proto)}': the ONNX operator {op} is not supported{advice_for(op)}"
                )

    def _input(self, builder: Builder, value: Any) -> None:
        kind = value.type.tensor_type.elem_type
        name = printable(value.name.encode())
        if kind not in (*_FLOATS, *_INDICES):
            raise UnsupportedError(
                f"input '{name}' is {onnx.TensorProto.DataType.Name(kind).lower()}; expected a float model: export it "
                "with float32 inputs"
            )
        shape = tuple(int(dim.dim_value) for dim in value.type.tensor_type.shape.dim)
        self.values[value.name] = builder.add_input(name, shape, DType.FLOAT32 if kind in _FLOATS else DType.INT32)

    def _value(self, name: str) -> str:
        if name not in self.values:
            raise ModelError(f"the value '{printable(name.encode())}' is computed by no node")
        return self.values[name]

    def _node(self, builder: Builder, proto: onnx.NodeProto, index: int) -> None:
        node = OnnxNode(
            name=_label(proto) or f"{proto.op_type}_{index}",
            op=proto.op_type,
            version=self.version,
            inputs=tuple(self._value(name) for name in proto.input),
            outputs=tuple(proto.output),
            attributes=_attributes(proto),
        )
        builder.begin(node.name)
        tensors = self._outputs(builder, proto, node)
        self.values.update(zip((n for n in proto.output if n), tensors, strict=False))

    def _outputs(self, builder: Builder, proto: onnx.NodeProto, node: OnnxNode) -> list[str]:
        constant = all(not name or name in builder.known for name in node.inputs)
        if constant and proto.op_type not in _IN_REAL_NUMBERS:
            return [
                builder.constant(value) for value in evaluate(proto, node, [builder.known.get(n) for n in node.inputs])
            ]
        if _qualified(proto) not in handlers():
            raise node.refusal(f"it is supported only where its inputs are constant{advice_for(node.op)}")
        try:
            result = handlers()[_qualified(proto)](builder, node)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise ModelError(f"node '{node.name}' (ONNX {node.op}) is malformed: {error}") from error
        return [result] if isinstance(result, str) else list(result)


#: Operators that are read as real numbers also where their inputs are constant.
_IN_REAL_NUMBERS = {"DequantizeLinear", "QuantizeLinear"}

#: Operators of integers and conditions that shape arithmetic consists of: taken where their inputs are constant.
FOLDED = {
    "And",
    "ArgMax",
    "ArgMin",
    "Ceil",
    "Constant",
    "ConstantOfShape",
    "CumSum",
    "Equal",
    "EyeLike",
    "Floor",
    "GatherElements",
    "GatherND",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Mod",
    "NonZero",
    "Not",
    "OneHot",
    "Or",
    "Range",
    "ReduceProd",
    "Round",
    "ScatterElements",
    "ScatterND",
    "Sign",
    "Where",
    "Xor",
}


def _qualified(proto: onnx.NodeProto) -> str:
    """The operator's name, with its domain where that is another than ONNX's."""
    return str(proto.op_type if proto.domain in ("", "ai.onnx") else f"{proto.domain}.{proto.op_type}")


def _label(proto: onnx.NodeProto) -> str:
    """A node's name, or else its output's."""
    return printable((proto.name or next(iter(proto.output), "")).encode())


def _array(tensor: onnx.TensorProto) -> Array:
    try:
        value = numpy_helper.to_array(tensor)
    except (TypeError, ValueError) as error:
        raise ModelError(f"the data of '{printable(tensor.name.encode())}' do not fit its shape: {error}") from None
    return np.asarray(value)


def _attributes(proto: onnx.NodeProto) -> Mapping[str, Any]:
    """Attributes as Python values; bytes become text."""
    return {attribute.name: _plain(onnx.helper.get_attribute_value(attribute)) for attribute in proto.attribute}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, onnx.TensorProto):
        return _array(value)
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else value
