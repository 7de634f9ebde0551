# SPDX-License-Identifier: Apache-2.0
"""The ONNX file as it grows: values in several orders of dimensions, constants, QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tinygen.errors import UnsupportedError
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, DType, Quant

#: The operator set that is written: the last that ONNX files of format version 8 have.
OPSET = 17
#: An order of dimensions: the value in the file is the tensor transposed by it.
Order = tuple[int, ...]
NCHW: Order = (0, 3, 1, 2)


class Writer:
    """Nodes and constants of the file. Each tensor of `graph` is there in one order or more, in real numbers."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._forms: dict[str, dict[Order, str]] = {}
        self._names = {"", *graph.inputs}
        self._stored: dict[Any, str] = {}
        for name in graph.inputs:
            self.write(name, name, self.straight(name))

    # --- tensors -------------------------------------------------------------------------------------------------

    def shape(self, tensor: str) -> tuple[int, ...]:
        return self.graph.types[tensor].shape

    def rank(self, tensor: str) -> int:
        return len(self.shape(tensor))

    def straight(self, tensor: str) -> Order:
        """The order that leaves the tensor as it is."""
        return tuple(range(self.rank(tensor)))

    def order(self, tensor: str) -> Order:
        """The order in which `tensor` was computed."""
        return next(iter(self._forms[tensor])) if tensor in self._forms else self.straight(tensor)

    def read(self, tensor: str, order: Order | None = None) -> str:
        """The value of `tensor` in real numbers, in `order` (default: as it is)."""
        wanted = self.straight(tensor) if order is None else order
        forms = self._forms.setdefault(tensor, {})
        if wanted not in forms:
            known = tensor in self.graph.constants
            forms[wanted] = self.spread(tensor, wanted) if known else self._turned(tensor, wanted)
        return forms[wanted]

    def _turned(self, tensor: str, wanted: Order) -> str:
        source = self.order(tensor)
        perm = [source.index(axis) for axis in wanted]
        return self.node("Transpose", [self._forms[tensor][source]], self._name(tensor, wanted), perm=perm)

    def spread(self, tensor: str, order: Order) -> str:
        """A constant in `order`, which may have more dimensions: they come first, with size 1."""
        missing, quant = len(order) - self.rank(tensor), self.graph.types[tensor].quant
        value = self.graph.constants[tensor].reshape((1,) * missing + self.shape(tensor)).transpose(order)
        if quant is None:
            return self.constant(value, tensor)
        axis = order.index(quant.axis + missing) if quant.axis is not None else None
        return self.dequantized(value, Quant(quant.scales, quant.zero_points, axis), tensor)

    def write(self, tensor: str, value: str, order: Order) -> None:
        """`tensor` is what the node with output `value` computes, in `order`; it is quantized here."""
        kind = self.graph.types[tensor]
        if kind.quant is not None and kind.dtype is not DType.FLOAT32:
            pair = self._pair(kind.quant, kind.dtype)
            value = self.node("QuantizeLinear", [value, *pair], self.fresh(f"{tensor}/quantized"))
            value = self.node("DequantizeLinear", [value, *pair], self._name(tensor, order))
        self._forms[tensor] = {order: value}

    def alias(self, tensor: str, source: str, order: Order) -> None:
        """`tensor` in `order` is the value of `source` as it was computed: nothing runs."""
        self._forms[tensor] = {order: self.read(source, self.order(source))}

    def finish(self, tensor: str) -> None:
        """Make `tensor` an output of the file under its own name."""
        value = self.read(tensor)
        if value != tensor:
            if tensor in self.graph.inputs:
                raise UnsupportedError(f"output '{tensor}' is an input, too, which ONNX cannot say: leave it out")
            self.node("Identity", [value], tensor)

    # --- nodes and constants -------------------------------------------------------------------------------------

    def node(self, op: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Append a node with one output, and return that."""
        return self.node_with([output or self.fresh(f"{op}_{len(self.nodes)}")], op, inputs, **attributes)[0]

    def node_with(self, outputs: Sequence[str], op: str, inputs: Sequence[str], **attributes: Any) -> list[str]:
        """Append a node with these outputs, and return them."""
        self.nodes.append(helper.make_node(op, list(inputs), list(outputs), name=outputs[0], **attributes))
        self._names.update(outputs)
        return list(outputs)

    def fresh(self, name: str) -> str:
        """`name`, or one like it where it is taken by a value of the file or a tensor of the graph."""
        while name in self._names or name in self.graph.types:
            name += "'"
        self._names.add(name)
        return name

    def _name(self, tensor: str, order: Order) -> str:
        """What `tensor` is called in the file in `order`."""
        free = tensor not in self._names
        return tensor if free and order == self.straight(tensor) else self.fresh(f"{tensor}/real")

    def constant(self, value: Array | Sequence[int], name: str = "constant", dtype: Any = None) -> str:
        """A constant of the file; equal ones are stored once."""
        array = np.ascontiguousarray(np.asarray(value, dtype))
        array = array.reshape(np.shape(value))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._stored:
            self._stored[key] = self.fresh(name if name not in self.graph.types else f"{name}/stored")
            self.initializers.append(numpy_helper.from_array(array, self._stored[key]))
        return self._stored[key]

    def integers(self, values: Sequence[int]) -> str:
        """A constant of int64: axes, sizes, paddings."""
        return self.constant(values, "integers", np.int64)

    def real(self, value: float) -> str:
        """A constant of one float32."""
        return self.constant(np.asarray(value), "real", np.float32)

    def dequantized(self, value: Array, quant: Quant, name: str) -> str:
        """Integers as the real numbers that they stand for. The zero points of int32 are 0, which ONNX leaves out."""
        pair = self._pair(quant, DType.of(value))[: 1 if value.dtype == np.int32 else 2]
        return self.node(
            "DequantizeLinear", [self.constant(value, name), *pair], self.fresh(f"{name}/real"), axis=quant.axis or 0
        )

    def _pair(self, quant: Quant, dtype: DType) -> list[str]:
        """Scale and zero point."""
        scales: Array = np.array(quant.scales, np.float32)
        zeros: Array = np.array(quant.zero_points, dtype.numpy)
        if quant.axis is None:
            scales, zeros = scales.reshape(()), zeros.reshape(())
        return [self.constant(scales, "scale"), self.constant(zeros, "zero_point")]

    def refuse(self, node: Node, why: str) -> UnsupportedError:
        """The error for a node that has no ONNX form."""
        return UnsupportedError(f"{node.op} '{node.name}' has no ONNX form: {why}; export the model as .tflite")
