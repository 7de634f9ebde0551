# SPDX-License-Identifier: Apache-2.0
"""TFLite flatbuffers → Graph. The file is not trusted: every count, index and size is checked before it is used."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tflite

from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.frontends.advice import advice_for
from tinygen.frontends.hybrid import as_float
from tinygen.frontends.tflite_options import read_attrs
from tinygen.ir.graph import ABSENT, Graph, Node
from tinygen.ir.types import Array, DType, Quant, TensorType
from tinygen.ops import all_ops

IDENTIFIER = b"TFL3"
VERSION = 3
#: More than any model for a microcontroller has; a file that claims more is malformed or hostile.
MAX_OPERATORS, MAX_TENSORS, MAX_OPERANDS, MAX_RANK, MAX_SCALES, MAX_NAME = 1_500, 20_000, 1_000, 8, 1 << 20, 1 << 12
#: The metadata entry that says in which forms constants ask to lie in flash, by tensor: written by tinygen's export.
STORAGE, MAX_STORAGE = "tinygen.storage", 1 << 20
#: Names are cut to this length; converters join dozens of them.
SHOWN_NAME = 200
#: Largest tensor, and all tensors together, in bytes: far above the memory of any microcontroller.
MAX_TENSOR_BYTES, MAX_BYTES = 1 << 24, 1 << 27
#: Scales outside do not occur, and their ratios would leave the range of float32 numbers.
MIN_SCALE, MAX_SCALE = 1e-24, 1e12

_SMALLER = "this is no model for a microcontroller: reduce its input or its layers"
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
    with _naming(path):
        return _Reader(data).graph(path.stem)


def operators(path: Path, data: bytes) -> list[str]:
    """The operator names of the first subgraph in order, supported or not; raises as `read` does."""
    with _naming(path):
        reader = _Reader(data)
        return [reader.op_name(operator) for operator in reader.operator_tables()]


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors name the file; what the flatbuffers runtime raises becomes a `ModelError`."""
    try:
        yield
    except TinygenError as error:
        raise type(error)(f"{path.name}: {error}") from None
    except (*_BROKEN, MemoryError) as error:
        raise ModelError(
            f"{path.name}: the TFLite file is damaged or truncated (its offsets lead nowhere): export the model again"
        ) from error


class _Reader:
    """One reading of a file."""

    def __init__(self, data: bytes) -> None:
        self.model = tflite.Model.GetRootAsModel(data, 0)
        self.scales = 0
        if self.model.Version() != VERSION:
            raise ModelError(f"schema version {self.model.Version()}, expected {VERSION}: export the model again")
        if not self.model.SubgraphsLength():
            raise ModelError("the file holds no subgraph, so there is nothing to compile: export the model again")
        self.subgraph: Any = self.model.Subgraphs(0)

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
            return f"CUSTOM({printable(code.CustomCode()) or '?'})"
        if number not in _OPERATORS:
            raise ModelError(f"operator number {number} is unknown")
        return _OPERATORS[number]

    def graph(self, name: str) -> Graph:
        operators = self.operator_tables()
        self._refuse_what_no_graph_expresses(operators)
        self.names = list(self._tensor_names())
        self.types = dict(zip(self.names, self._tensor_types(), strict=True))
        constants = dict(self._constants())
        graph = Graph(
            name=name,
            inputs=self._ports("inputs", self.subgraph.InputsAsNumpy()),
            outputs=self._ports("outputs", self.subgraph.OutputsAsNumpy()),
            nodes=tuple(self._node(operator) for operator in operators),
            types=self.types,
            constants=constants,
            storage={name: form for name, form in self._storage() if name in constants},
        )
        return as_float(graph.pruned())

    def _refuse_what_no_graph_expresses(self, operators: list[Any]) -> None:
        unknown = [(self.op_name(o), o) for o in operators if self.op_name(o) not in all_ops()]
        if unknown:
            op, first = unknown[0]
            names = listed(sorted({name for name, _ in unknown}))
            raise UnsupportedError(
                f"operators not supported: {names} (docs/operators.md has those that are); "
                f"the first is node '{self._label(first)}' ({op}): {advice_for(op)}"
            )
        if self.model.SubgraphsLength() > 1:
            raise UnsupportedError(
                "the model has several subgraphs (control flow or state), which is not supported: "
                f"{advice_for('WHILE')}"
            )

    def _label(self, operator: Any) -> str:
        """The name of the operator's first output."""
        index = operator.Outputs(0) if operator.OutputsLength() else -1
        exists = 0 <= index < self.subgraph.TensorsLength()
        return printable(self.subgraph.Tensors(index).Name()) if exists else "?"

    def _tensor_names(self) -> Iterator[str]:
        """A distinct name for each tensor: its own, with its number where that is taken or empty."""
        taken = {ABSENT}
        for index in range(_count(self.subgraph.TensorsLength(), MAX_TENSORS, "tensors")):
            name = printable(self.subgraph.Tensors(index).Name())
            if name in taken:
                name = f"{name or 'tensor'}:{index}"
            while name in taken:
                name += "'"
            taken.add(name)
            yield name

    def _tensor_types(self) -> Iterator[TensorType]:
        total = 0
        for index, name in enumerate(self.names):
            tensor = self._type(self.subgraph.Tensors(index), name)
            total += tensor.bytes
            if total > MAX_BYTES:
                raise UnsupportedError(f"all tensors together are larger than {MAX_BYTES >> 20} MiB; {_SMALLER}")
            yield tensor

    def _type(self, tensor: Any, name: str) -> TensorType:
        kind = _TYPES.get(tensor.Type(), f"number {tensor.Type()}")
        if kind not in _SUPPORTED_TYPES:
            raise UnsupportedError(f"tensor '{name}' is of type {kind}, which is not supported: quantize it to int8")
        if tensor.IsVariable() or tensor.Sparsity() is not None:
            what = "a variable (state)" if tensor.IsVariable() else "stored sparse"
            raise UnsupportedError(f"tensor '{name}' is {what}, which is not supported")
        rank = _count(tensor.ShapeLength(), MAX_RANK, f"dimensions of tensor '{name}'")
        shape = tuple(int(n) for n in tensor.ShapeAsNumpy()) if rank else ()
        if any(n < 1 for n in shape):
            raise UnsupportedError(
                f"tensor '{name}' has shape {list(shape)}: every dimension must be at least 1; fix the input's shape"
            )
        dtype = DType(kind)
        if math.prod(shape) * dtype.bytes > MAX_TENSOR_BYTES:
            raise UnsupportedError(
                f"tensor '{name}' with shape {list(shape)} is larger than {MAX_TENSOR_BYTES >> 20} MiB; {_SMALLER}"
            )
        return TensorType(shape, dtype, self._quant(tensor, name, shape, dtype))

    def _quant(self, tensor: Any, name: str, shape: tuple[int, ...], dtype: DType) -> Quant | None:
        table = tensor.Quantization()
        if table is None or not table.ScaleLength() or dtype is DType.FLOAT32:
            return None
        count = table.ScaleLength()
        # person_detect.tflite says axis 3 for one-dimensional biases; TFLM does not mind
        axis = min(table.QuantizedDimension(), max(len(shape) - 1, 0))
        if count > 1 and not (axis >= 0 and shape and shape[axis] == count):
            raise ModelError(f"tensor '{name}' has {count} scales for axis {axis} of shape {list(shape)}")
        self.scales += _count(count, MAX_SCALES - self.scales, f"scales up to tensor '{name}'")
        scales = tuple(float(s) for s in table.ScaleAsNumpy())
        if not all(MIN_SCALE <= s <= MAX_SCALE for s in scales):
            raise ModelError(
                f"tensor '{name}' has a scale outside {MIN_SCALE:g} to {MAX_SCALE:g}: quantize the model again"
            )
        return Quant(scales, self._zero_points(table, name, count, dtype), axis if count > 1 else None)

    def _zero_points(self, table: Any, name: str, count: int, dtype: DType) -> tuple[int, ...]:
        if table.ZeroPointLength() not in (0, 1, count):
            raise ModelError(f"tensor '{name}' has {table.ZeroPointLength()} zero points for {count} scales")
        zeros = [int(z) for z in table.ZeroPointAsNumpy()] if table.ZeroPointLength() else [0]
        low, high = dtype.limits
        if any(not low <= z <= high for z in zeros):
            raise ModelError(f"tensor '{name}' has a zero point outside {dtype.value} ({low} to {high})")
        return tuple(zeros * count if len(zeros) == 1 else zeros)

    def _constants(self) -> Iterator[tuple[str, Array]]:
        buffers = _count(self.model.BuffersLength(), MAX_TENSORS, "buffers")
        for index, (name, tensor) in enumerate(self.types.items()):
            number = self.subgraph.Tensors(index).Buffer()
            if number >= buffers:
                raise ModelError(f"tensor '{name}' names buffer {number}, which does not exist")
            buffer = self.model.Buffers(number)
            if buffer is not None and buffer.Offset() > 1:
                raise UnsupportedError(f"tensor '{name}' keeps its data outside the flatbuffer, which is not supported")
            if buffer is None or not buffer.DataLength():
                continue
            if buffer.DataLength() != tensor.bytes:
                raise ModelError(
                    f"tensor '{name}' ({tensor}) has {buffer.DataLength()} bytes of data, expected {tensor.bytes}"
                )
            data = buffer.DataAsNumpy().tobytes()
            yield name, np.frombuffer(data, dtype=tensor.dtype.numpy.newbyteorder("<")).reshape(tensor.shape)

    def _storage(self) -> Iterator[tuple[str, str]]:
        """The forms that tensors ask for; what cannot be read asks for nothing."""
        for entry in (self.model.Metadata(i) for i in range(min(self.model.MetadataLength(), MAX_TENSORS))):
            number = entry.Buffer() if entry.Name() == STORAGE.encode() else self.model.BuffersLength()
            buffer = self.model.Buffers(number) if number < self.model.BuffersLength() else None
            if buffer is None or not 0 < buffer.DataLength() <= MAX_STORAGE:
                continue
            try:
                found = dict(json.loads(buffer.DataAsNumpy().tobytes()))
            except (ValueError, TypeError, RecursionError):
                continue
            yield from ((name, found[str(i)]) for i, name in enumerate(self.names) if type(found.get(str(i))) is str)

    def _ports(self, what: str, indices: Any) -> tuple[str, ...]:
        """The model's inputs or outputs."""
        names = self._tensors(indices)
        if not names or ABSENT in names:
            raise UnsupportedError(f"the model has no {what}, or an absent one; expected at least one tensor")
        return names

    def _tensors(self, indices: Any) -> tuple[str, ...]:
        """Tensor names by index; -1 stands for an optional tensor that is absent."""
        if isinstance(indices, int):  # the runtime's answer for an empty vector
            return ()
        _count(len(indices), MAX_OPERANDS, "operands of one operator")
        wrong = next((i for i in indices if not -1 <= i < len(self.names)), None)
        if wrong is not None:
            raise ModelError(f"tensor number {wrong} does not exist")
        return tuple(ABSENT if i == -1 else self.names[i] for i in indices)

    def _node(self, operator: Any) -> Node:
        op = self.op_name(operator)
        inputs, outputs = self._tensors(operator.InputsAsNumpy()), self._tensors(operator.OutputsAsNumpy())
        if not outputs or ABSENT in outputs:
            raise ModelError(f"an operator {op} has no output")
        types = [self.types[n] if n else None for n in inputs], [self.types[n] for n in outputs]
        attrs = read_attrs(op, all_ops()[op].attrs, operator, *types)
        # exporters join the names of what they fused with ';'
        return Node(outputs[0].split(";")[0] or outputs[0], op, inputs, outputs, attrs)


def printable(text: bytes | None) -> str:
    """A name out of the file on one line, cut where it is long: what does not print becomes '_'."""
    _count(len(text or b""), MAX_NAME, "characters in a name")
    decoded = (text or b"").decode(errors="replace")
    shown = "".join(c if c.isprintable() else "_" for c in decoded)
    return shown if len(shown) <= SHOWN_NAME else f"{shown[: SHOWN_NAME - 1]}…"


def listed(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more


def _count(value: int, limit: int, what: str) -> int:
    if not 0 <= value <= limit:
        raise ModelError(f"the file claims {value} {what}, more than the {max(limit, 0)} that can be")
    return value
