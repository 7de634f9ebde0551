# SPDX-License-Identifier: Apache-2.0
"""Graph → TFLite flatbuffer. What `frontends/tflite.py` reads back is the same graph, unless paddings had to be nodes.

The layout follows the schema (tensorflow/lite/schema/schema.fbs, version 3a). The same graph gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import flatbuffers
import numpy as np
import tflite

from tinygen.errors import UnsupportedError
from tinygen.export.spelling import spelled
from tinygen.export.tflite_options import tensor_type, write_options
from tinygen.frontends.tflite import STORAGE
from tinygen.ir.graph import ABSENT, Graph, Node
from tinygen.ir.types import Array, DType, Quant, TensorType

IDENTIFIER = b"TFL3"
VERSION = 3
#: Alignment of constants in the file, in bytes, which kernels that read them in place rely on.
ALIGNMENT = 16

#: Versions of operators on int8 tensors, as tensorflow/lite/tools/versioning/op_version.cc gives them; else 2. Those on
#: int16 tensors out of TensorFlow's converter are the same.
_INT8_VERSIONS = {
    **dict.fromkeys(("CAST", "ELU", "EXPAND_DIMS", "HARD_SWISH", "LEAKY_RELU", "NEG", "PRELU", "QUANTIZE"), 1),
    **dict.fromkeys(("RELU_N1_TO_1", "RESHAPE", "SHAPE", "SQRT", "SQUEEZE"), 1),
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "MUL", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), 3),
    "FULLY_CONNECTED": 4,
}
#: FULLY_CONNECTED with a scale for each output channel.
_PER_CHANNEL_VERSION = 12
#: Versions on other tensors; else 1.
_VERSIONS = {"DEPTHWISE_CONV_2D": 2, "DEQUANTIZE": 2, "RESIZE_BILINEAR": 3, "RESIZE_NEAREST_NEIGHBOR": 3}


def dumps(graph: Graph) -> bytes:
    """`graph`, before functions are folded to tables, as the content of a .tflite file.

    Raises `UnsupportedError`, naming the node, for what TFLite cannot say.
    """
    for node in graph.nodes:
        if not hasattr(tflite.BuiltinOperator, node.op):
            hint = ": export the model before its functions are folded to tables" if node.op == "LOOKUP" else ""
            raise UnsupportedError(f"{node.op} '{node.name}' has no TFLite form{hint}")
    return _Writer(spelled(graph)).file()


def version_of(graph: Graph, node: Node) -> int:
    """The version of its operator that `node` asks for."""
    types = [graph.types[name] for name in (*node.inputs, *node.outputs) if name]
    if node.op == "TRANSPOSE_CONV" and len(node.inputs) > 3 and node.inputs[3]:
        return 3
    if not any(t.dtype in (DType.INT8, DType.INT16) for t in types):
        return _VERSIONS.get(node.op, 1)
    if node.op == "FULLY_CONNECTED" and (quant := types[1].quant) is not None and len(quant.scales) > 1:
        return _PER_CHANNEL_VERSION
    return _INT8_VERSIONS.get(node.op, 2)


class _Writer:
    """One writing of a file. Offsets are the flatbuffers runtime's: a table's parts come before it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.builder = flatbuffers.Builder(1 << 16)
        self.numbers = {name: number for number, name in enumerate(graph.types)} | {ABSENT: -1}
        self.codes = list(dict.fromkeys((node.op, version_of(graph, node)) for node in graph.nodes))

    def file(self) -> bytes:
        builder = self.builder
        buffers, buffer_of = self.buffers()
        subgraph = self.subgraph(buffer_of)
        codes = self.offsets([self.code(op, version) for op, version in self.codes])
        subgraphs, description = self.offsets([subgraph]), builder.CreateString("tinygen")
        metadata = self.metadata(len(set(buffer_of.values())) + 1) if self.graph.storage else None
        tflite.ModelStart(builder)
        tflite.ModelAddVersion(builder, VERSION)
        tflite.ModelAddOperatorCodes(builder, codes)
        tflite.ModelAddSubgraphs(builder, subgraphs)
        tflite.ModelAddDescription(builder, description)
        tflite.ModelAddBuffers(builder, buffers)
        if metadata is not None:
            tflite.ModelAddMetadata(builder, metadata)
        builder.Finish(tflite.ModelEnd(builder), IDENTIFIER)
        return bytes(builder.Output())

    def buffers(self) -> tuple[int, dict[str, int]]:
        """The vector of buffers, and the number of each constant's; equal constants share one. Number 0 is empty."""
        tflite.BufferStart(self.builder)
        offsets, numbers = [tflite.BufferEnd(self.builder)], {}
        known: dict[bytes, int] = {}
        for name, value in self.graph.constants.items():
            data = np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes()
            if data not in known:
                known[data] = len(offsets)
                offsets.append(self.buffer(data))
            numbers[name] = known[data]
        if self.graph.storage:
            forms = {str(self.numbers[name]): form for name, form in self.graph.storage.items()}
            offsets.append(self.buffer(json.dumps(forms).encode()))
        return self.offsets(offsets), numbers

    def metadata(self, buffer: int) -> int:
        """The vector with one entry: the number of the `buffer` that says which forms constants ask for."""
        name = self.builder.CreateString(STORAGE)
        tflite.MetadataStart(self.builder)
        tflite.MetadataAddName(self.builder, name)
        tflite.MetadataAddBuffer(self.builder, buffer)
        return self.offsets([int(tflite.MetadataEnd(self.builder))])

    def buffer(self, data: bytes) -> int:
        self.builder.StartVector(1, len(data), ALIGNMENT)
        self.builder.head -= len(data)
        self.builder.Bytes[self.builder.head : self.builder.head + len(data)] = data
        vector = self.builder.EndVector()
        tflite.BufferStart(self.builder)
        tflite.BufferAddData(self.builder, vector)
        return int(tflite.BufferEnd(self.builder))

    def subgraph(self, buffer_of: dict[str, int]) -> int:
        graph, builder = self.graph, self.builder
        tensors = self.offsets([self.tensor(name, t, buffer_of.get(name, 0)) for name, t in graph.types.items()])
        operators = self.offsets([self.operator(node) for node in graph.nodes])
        inputs, outputs, name = self.names(graph.inputs), self.names(graph.outputs), builder.CreateString(graph.name)
        tflite.SubGraphStart(builder)
        tflite.SubGraphAddTensors(builder, tensors)
        tflite.SubGraphAddInputs(builder, inputs)
        tflite.SubGraphAddOutputs(builder, outputs)
        tflite.SubGraphAddOperators(builder, operators)
        tflite.SubGraphAddName(builder, name)
        return int(tflite.SubGraphEnd(builder))

    def tensor(self, name: str, kind: TensorType, buffer: int) -> int:
        builder = self.builder
        quant = self.quantization(kind.quant) if kind.quant is not None else None
        shape, label = self.array(kind.shape, np.int32), builder.CreateString(name)
        tflite.TensorStart(builder)
        tflite.TensorAddShape(builder, shape)
        tflite.TensorAddType(builder, tensor_type(kind.dtype))
        tflite.TensorAddBuffer(builder, buffer)
        tflite.TensorAddName(builder, label)
        if quant is not None:
            tflite.TensorAddQuantization(builder, quant)
        return int(tflite.TensorEnd(builder))

    def quantization(self, quant: Quant) -> int:
        builder = self.builder
        scales, zeros = self.array(quant.scales, np.float32), self.array(quant.zero_points, np.int64)
        tflite.QuantizationParametersStart(builder)
        tflite.QuantizationParametersAddScale(builder, scales)
        tflite.QuantizationParametersAddZeroPoint(builder, zeros)
        tflite.QuantizationParametersAddQuantizedDimension(builder, quant.axis or 0)
        return int(tflite.QuantizationParametersEnd(builder))

    def operator(self, node: Node) -> int:
        builder = self.builder
        kind, options = write_options(builder, self.graph, node)
        inputs, outputs = self.names(node.inputs), self.names(node.outputs)
        tflite.OperatorStart(builder)
        tflite.OperatorAddOpcodeIndex(builder, self.codes.index((node.op, version_of(self.graph, node))))
        tflite.OperatorAddInputs(builder, inputs)
        tflite.OperatorAddOutputs(builder, outputs)
        if kind:
            tflite.OperatorAddBuiltinOptionsType(builder, kind)
            tflite.OperatorAddBuiltinOptions(builder, options)
        return int(tflite.OperatorEnd(builder))

    def code(self, op: str, version: int) -> int:
        number = int(getattr(tflite.BuiltinOperator, op))
        tflite.OperatorCodeStart(self.builder)
        # readers older than schema 3a know the 8-bit field only
        tflite.OperatorCodeAddDeprecatedBuiltinCode(self.builder, min(number, 127))
        tflite.OperatorCodeAddVersion(self.builder, version)
        tflite.OperatorCodeAddBuiltinCode(self.builder, number)
        return int(tflite.OperatorCodeEnd(self.builder))

    def names(self, names: Iterable[str]) -> int:
        """Tensors by number."""
        return self.array([self.numbers[name] for name in names], np.int32)

    def array(self, values: Iterable[Any], dtype: type[np.generic]) -> int:
        numbers: Array = np.array(list(values), dtype)
        return int(self.builder.CreateNumpyVector(numbers))

    def offsets(self, tables: Sequence[int]) -> int:
        """A vector of tables."""
        self.builder.StartVector(4, len(tables), 4)
        for table in reversed(tables):
            self.builder.PrependUOffsetTRelative(table)
        return int(self.builder.EndVector())
