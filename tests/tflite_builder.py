# SPDX-License-Identifier: Apache-2.0
"""Builds TFLite files for tests, with the schema's own object API (out of tflite-micro, which tinygen does not use)."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int16": schema.TensorType.INT16,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "bool": schema.TensorType.BOOL,
}


class ModelBuilder:
    """One subgraph, built tensor by tensor and operator by operator; tensors are numbers."""

    def __init__(self) -> None:
        self._model = schema.ModelT()
        self._model.version = 3
        self._model.buffers = [schema.BufferT()]
        self._model.operatorCodes = []
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []

    def tensor(
        self,
        shape: tuple[int, ...],
        dtype: str = "int8",
        scale: float | list[float] | None = None,
        zero_point: int | list[int] = 0,
        data: Any = None,
        axis: int = 0,
        name: str | None = None,
    ) -> int:
        """A tensor; `data` makes it a constant, several scales make it per-channel along `axis`."""
        tensor = schema.TensorT()
        tensor.name = name if name is not None else f"t{len(self._graph.tensors)}"
        tensor.shape, tensor.type = list(shape), _TYPES[dtype]
        if scale is not None:
            quant = schema.QuantizationParametersT()
            quant.scale = [float(s) for s in np.atleast_1d(scale)]
            zeros = np.atleast_1d(zero_point)
            quant.zeroPoint = [int(z) for z in np.broadcast_to(zeros, len(quant.scale))]
            quant.quantizedDimension = axis
            tensor.quantization = quant
        tensor.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data, dtype=dtype).tobytes(), np.uint8)
            self._model.buffers.append(buffer)
            tensor.buffer = len(self._model.buffers) - 1
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def constant(self, values: Any, dtype: str = "int32") -> int:
        """An unquantized constant such as axes or a shape."""
        array = np.asarray(values, dtype=dtype)
        return self.tensor(array.shape, dtype, data=array)

    def op(self, name: str, inputs: list[int], outputs: list[int], options: str | None = None, **values: Any) -> None:
        """An operator by TFLite name; `options` is the option table's name, `values` its fields in camelCase."""
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = 1
        self._model.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self._model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, outputs
        if options is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, f"{options}T")()
            for key, value in values.items():
                assert hasattr(operator.builtinOptions, key), f"{options} has no field {key}"
                setattr(operator.builtinOptions, key, value)
        self._graph.operators.append(operator)

    def finish(self, inputs: list[int], outputs: list[int]) -> bytes:
        """The file's bytes."""
        self._graph.inputs, self._graph.outputs = inputs, outputs
        self._model.subgraphs = [self._graph]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
