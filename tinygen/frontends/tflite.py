"""TFLite flatbuffers → Graph. The file is not trusted: every count, index and size is checked before it is used."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tflite

from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.frontends.tflite_options import read_attrs
from tinygen.ir.graph import ABSENT, Graph, Node
from tinygen.ir.types import Array, DType, Quant, TensorType
from tinygen.ops import all_ops

IDENTIFIER = b"TFL3"
#: More than any model for a microcontroller has; a file that claims more is malformed or hostile.
MAX_OPERATORS, MAX_TENSORS, MAX_OPERANDS, MAX_RANK = 10_000, 50_000, 1_000, 8
#: Largest tensor, in bytes: far above the memory of any microcontroller.
MAX_TENSOR_BYTES = 1 << 26

_OPERATORS: dict[int, str] = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
_TYPES: dict[int, str] = {v: k.lower() for k, v in vars(tflite.TensorType).items() if isinstance(v, int)}
_SUPPORTED_TYPES = {t.value for t in DType}

#: What the flatbuffers runtime raises on bytes that do not hold together.
_BROKEN = (struct.error, IndexError, TypeError, ValueError, OverflowError, AttributeError, UnicodeDecodeError, KeyError)


def is_tflite(data: bytes) -> bool:
    """Whether `data` bears the TFLite file identifier."""
    return data[4:8] == IDENTIFIER


def read(path: Path, data: bytes) -> Graph:
    """The graph in the TFLite file `path` with content `data`.

    Raises `ModelError` if the file is malformed, `UnsupportedError` if it uses what a Graph cannot express.
    """
    try:
        return _Reader(path, data).graph()
    except TinygenError as error:
        raise type(error)(f"{path.name}: {error}") from None
    except (*_BROKEN, MemoryError) as error:
        raise ModelError(
            f"{path.name}: not a valid TFLite file (damaged or truncated?): {error}; export the model again"
        ) from error


def operators(data: bytes) -> list[str]:
    """The operator names of the first subgraph in order, supported or not; raises as `read` does."""
    try:
        reader = _Reader(Path("model"), data)
        return [reader.op_name(operator) for operator in reader.operator_tables()]
    except _BROKEN as error:
        raise ModelError(f"not a valid TFLite file: {error}") from error


class _Reader:
    """One reading of a file."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        self.data = data
        self.model = tflite.Model.GetRootAsModel(data, 0)
        self.subgraph = self.model.Subgraphs(0)
        if self.subgraph is None:
            raise ModelError("the file holds no subgraph")

    def operator_tables(self) -> list[Any]:
        count = _count(self.subgraph.OperatorsLength(), MAX_OPERATORS, "operators")
        return [self.subgraph.Operators(i) for i in range(count)]

    def op_name(self, operator: Any) -> str:
        index = operator.OpcodeIndex()
        if index >= _count(self.model.OperatorCodesLength(), MAX_OPERATORS, "operator codes"):
            raise ModelError(f"operator code {index} does not exist")
        code = self.model.OperatorCodes(index)
        # files older than schema 3a hold the code in the deprecated 8-bit field
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if number == tflite.BuiltinOperator.CUSTOM:
            return f"CUSTOM({(code.CustomCode() or b'?').decode(errors='replace')})"
        if number not in _OPERATORS:
            raise ModelError(f"operator number {number} is unknown")
        return _OPERATORS[number]

    def graph(self) -> Graph:
        operators = self.operator_tables()
        self._refuse_what_no_graph_expresses(operators)
        self.names = list(self._tensor_names())
        self.types = [self._type(i) for i in range(len(self.names))]
        self.constants = dict(self._constants())
        return Graph(
            name=self.path.stem,
            inputs=self._tensors(self.subgraph.InputsAsNumpy()),
            outputs=self._tensors(self.subgraph.OutputsAsNumpy()),
            nodes=tuple(self._node(operator) for operator in operators),
            types=dict(zip(self.names, self.types, strict=True)),
            constants=self.constants,
        ).pruned()

    def _refuse_what_no_graph_expresses(self, operators: list[Any]) -> None:
        unknown = sorted({name for name in map(self.op_name, operators) if name not in all_ops()})
        if unknown:
            raise UnsupportedError(f"operators not supported: {', '.join(unknown)} (see docs/operators.md)")
        if self.model.SubgraphsLength() > 1:
            raise UnsupportedError("the model has several subgraphs (control flow or state), which is not supported")

    def _tensor_names(self) -> Iterator[str]:
        """A distinct name for each tensor: its own, with its number where that is taken or empty."""
        taken = {ABSENT}
        for index in range(_count(self.subgraph.TensorsLength(), MAX_TENSORS, "tensors")):
            name = (self.subgraph.Tensors(index).Name() or b"").decode(errors="replace")
            if name in taken:
                name = f"{name or 'tensor'}:{index}"
            while name in taken:
                name += "'"
            taken.add(name)
            yield name

    def _type(self, index: int) -> TensorType:
        tensor, name = self.subgraph.Tensors(index), self.names[index]
        kind = _TYPES.get(tensor.Type(), "unknown")
        if kind not in _SUPPORTED_TYPES:
            raise UnsupportedError(f"tensor '{name}' is of type {kind}, which is not supported")
        if tensor.IsVariable() or tensor.Sparsity() is not None:
            what = "a variable (state)" if tensor.IsVariable() else "stored sparse"
            raise UnsupportedError(f"tensor '{name}' is {what}, which is not supported")
        rank = _count(tensor.ShapeLength(), MAX_RANK, f"dimensions of tensor '{name}'")
        shape = tuple(int(n) for n in tensor.ShapeAsNumpy()) if rank else ()
        if any(n < 1 for n in shape):
            raise UnsupportedError(f"tensor '{name}' has shape {list(shape)}; every dimension must be at least 1")
        dtype = DType(kind)
        if math.prod(shape) * dtype.bytes > MAX_TENSOR_BYTES:
            raise UnsupportedError(f"tensor '{name}' with shape {list(shape)} is larger than {MAX_TENSOR_BYTES} bytes")
        return TensorType(shape, dtype, self._quant(tensor, name, shape, dtype))

    def _quant(self, tensor: Any, name: str, shape: tuple[int, ...], dtype: DType) -> Quant | None:
        table = tensor.Quantization()
        if table is None or not table.ScaleLength() or dtype is DType.FLOAT32:
            return None
        count = _count(table.ScaleLength(), max(math.prod(shape), 1), f"scales of tensor '{name}'")
        scales = tuple(float(s) for s in table.ScaleAsNumpy())
        if not all(math.isfinite(s) and s > 0 for s in scales):
            raise ModelError(f"tensor '{name}' has a scale that is not a positive number")
        zeros = tuple(int(z) for z in table.ZeroPointAsNumpy()) if table.ZeroPointLength() else (0,) * count
        low, high = dtype.limits
        if len(zeros) not in (1, count) or any(not low <= z <= high for z in zeros):
            raise ModelError(f"tensor '{name}' has zero points that do not fit its scales or its type")
        zeros = zeros * count if len(zeros) == 1 else zeros
        # person_detect.tflite says axis 3 for one-dimensional biases; TFLM does not mind
        axis = min(table.QuantizedDimension(), max(len(shape) - 1, 0))
        if count > 1 and shape[axis] != count:
            raise ModelError(f"tensor '{name}' has {count} scales for axis {axis} of shape {list(shape)}")
        return Quant(scales, zeros, axis if count > 1 else None)

    def _constants(self) -> Iterator[tuple[str, Array]]:
        buffers = _count(self.model.BuffersLength(), MAX_TENSORS, "buffers")
        for index, (name, tensor) in enumerate(zip(self.names, self.types, strict=True)):
            number = self.subgraph.Tensors(index).Buffer()
            if number >= buffers:
                raise ModelError(f"tensor '{name}' names buffer {number}, which does not exist")
            buffer = self.model.Buffers(number)
            if buffer is None or not buffer.DataLength():
                continue
            data = buffer.DataAsNumpy().tobytes()
            if len(data) != tensor.bytes:
                raise ModelError(f"tensor '{name}' ({tensor}) has {len(data)} bytes of data, expected {tensor.bytes}")
            yield name, np.frombuffer(data, dtype=tensor.dtype.numpy.newbyteorder("<")).reshape(tensor.shape)

    def _tensors(self, indices: Any) -> tuple[str, ...]:
        """Tensor names by index; -1 stands for an optional tensor that is absent."""
        if isinstance(indices, int):  # the runtime's answer for an empty vector
            return ()
        _count(len(indices), MAX_OPERANDS, "operands of one operator")
        if any(not -1 <= i < len(self.names) for i in indices):
            raise ModelError(f"tensor number {max(indices)} does not exist")
        return tuple(ABSENT if i == -1 else self.names[i] for i in indices)

    def _node(self, operator: Any) -> Node:
        op = self.op_name(operator)
        inputs, outputs = self._tensors(operator.InputsAsNumpy()), self._tensors(operator.OutputsAsNumpy())
        if not outputs or ABSENT in outputs:
            raise ModelError(f"an operator {op} has no output")
        by_name = dict(zip(self.names, self.types, strict=True))
        types = [by_name[n] if n else None for n in inputs], [by_name[n] for n in outputs]
        attrs = read_attrs(op, all_ops()[op].attrs, operator, *types)
        # exporters join the names of what they fused with ';'
        return Node(outputs[0].split(";")[0] or outputs[0], op, inputs, outputs, attrs)


def _count(value: int, limit: int, what: str) -> int:
    if not 0 <= value <= limit:
        raise ModelError(f"the file claims {value} {what}, more than the {limit} that can be")
    return value
