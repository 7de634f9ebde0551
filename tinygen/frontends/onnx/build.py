# SPDX-License-Identifier: Apache-2.0
"""Builds a Graph node by node. Tensors keep ONNX's own layout; spatial operators transpose around themselves.

Which of these transpositions cancel is the business of `tinygen/passes/cancel_transposes.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.errors import ModelError, UnsupportedError
from tinygen.ir.graph import ABSENT, Attrs, Graph, Node
from tinygen.ir.types import Array, DType, TensorType
from tinygen.ops import Call, all_ops

#: Largest tensor, and all tensors together, in bytes: far above the memory of any microcontroller.
MAX_TENSOR_BYTES, MAX_BYTES, MAX_NODES, MAX_RANK = 1 << 26, 1 << 29, 10_000, 8


class Builder:
    """A graph in the making. `known` holds the values of tensors that are constant, in ONNX's element types."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[Node] = []
        self.types: dict[str, TensorType] = {}
        self.known: dict[str, Array] = {}
        self.inputs: list[str] = []
        self._constants: dict[str, Array] = {}
        self._label = ""
        self._bytes = 0

    def begin(self, label: str) -> None:
        """The nodes that follow are named after `label`."""
        self._label = label

    # --- tensors -------------------------------------------------------------------------------------------------

    def add_input(self, name: str, shape: tuple[int, ...], dtype: DType) -> str:
        self.types[name] = self._checked(name, TensorType(shape, dtype))
        self.inputs.append(name)
        return name

    def constant(self, value: Array | Sequence[int] | float, name: str = "constant") -> str:
        """A tensor with this value. Doubles and halves become float32 and int64 becomes int32 when a node reads it."""
        tensor = self._fresh(f"{self._label}/{name}" if self._label else name)
        self.known[tensor] = np.asarray(value)
        self.types[tensor] = self._checked(tensor, TensorType(self.known[tensor].shape, _dtype(self.known[tensor])))
        return tensor

    def integers(self, values: Sequence[int] | Array) -> str:
        """A constant of int32: axes, sizes, paddings."""
        return self.constant(np.asarray(values, np.int32), "parameters")

    def floats(self, values: Any) -> str:
        """A constant of float32."""
        return self.constant(np.asarray(values, np.float32))

    def stored_as(self, tensor: str, source: str, axis: int = 0) -> str:
        """`tensor`, a constant made of `source`, which says now by which integers that was stored, along `axis`."""
        quant = self.types[source].quant
        if quant is not None and (len(quant.scales) == 1 or len(quant.scales) == self.shape(tensor)[axis]):
            stored = replace(quant, axis=axis if len(quant.scales) > 1 else None)
            self.types[tensor] = replace(self.types[tensor], quant=stored)
        return tensor

    def shape(self, tensor: str) -> tuple[int, ...]:
        return self.types[tensor].shape

    def rank(self, tensor: str) -> int:
        return len(self.types[tensor].shape)

    # --- nodes ---------------------------------------------------------------------------------------------------

    def emit(self, op: str, inputs: Sequence[str], attrs: Attrs | None = None, shape: tuple[int, ...] = ()) -> str:
        """Append a node with one output and return it. `shape` is the output's where the operator does not infer it."""
        return self.emit_all(op, inputs, attrs, (shape,))[0]

    def emit_all(
        self, op: str, inputs: Sequence[str], attrs: Attrs | None, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[str, ...]:
        """Append a node with as many outputs as `shapes`, and return them."""
        if len(self.nodes) >= MAX_NODES:
            raise UnsupportedError(f"the model takes more than {MAX_NODES} nodes: it is no model for a microcontroller")
        for name in inputs:
            self._use(name)
        names: list[str] = []
        for declared in shapes:
            names.append(self._fresh(f"{self._label}/{op.lower()}"))
            self.types[names[-1]] = TensorType(declared, DType.FLOAT32)
        outputs = tuple(names)
        node = Node(outputs[0], op, tuple(inputs), outputs, attrs or all_ops()[op].attrs())
        for name, (inferred, dtype) in zip(outputs, all_ops()[op].infer(self._call(node)), strict=True):
            self.types[name] = self._checked(name, TensorType(tuple(int(n) for n in inferred), dtype))
        self.nodes.append(node)
        return outputs

    def _call(self, node: Node) -> Call[Any]:
        return Call(
            node.name,
            node.op,
            node.attrs,
            tuple(self.types[n] if n else None for n in node.inputs),
            tuple(self.types[n] for n in node.outputs),
            tuple(self._constants.get(n) for n in node.inputs),
        )

    def _use(self, name: str) -> None:
        """A node of the graph reads `name`: if it is known, it becomes a constant of the graph."""
        if name in self.known and name not in self._constants:
            value = self.known[name].astype(_dtype(self.known[name]).numpy)
            self._constants[name] = value
            self.types[name] = TensorType(value.shape, DType.of(value), self.types[name].quant)

    def transpose(self, x: str, order: Sequence[int]) -> str:
        if list(order) == list(range(len(order))):
            return x
        if x in self.known:
            return self.constant(self.known[x].transpose(order))
        return self.emit("TRANSPOSE", [x, self.integers(order)])

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        wanted = tuple(int(n) for n in shape)
        if wanted == self.shape(x):
            return x
        if 0 in wanted:
            raise UnsupportedError(
                f"node '{self._label}' makes the empty shape {list(wanted)}, which is not supported: leave it out"
            )
        if math.prod(wanted) != self.types[x].elements:
            raise ModelError(f"a tensor of shape {list(self.shape(x))} cannot have shape {list(wanted)}")
        if x in self.known:
            return self.constant(self.known[x].reshape(wanted))
        return self.emit("RESHAPE", [x, self.integers(wanted)], shape=wanted)

    # --- the whole -----------------------------------------------------------------------------------------------

    def graph(self, outputs: dict[str, str]) -> Graph:
        """The graph, with `outputs`: name → tensor."""
        renames: dict[str, str] = {}
        for wanted, tensor in outputs.items():
            if wanted == tensor and tensor in self.inputs:  # an input that is an output, too
                continue
            if tensor in self.known or tensor in self.inputs or tensor in renames:
                self.begin(wanted)
                self._use(tensor)
                target = self.shape(tensor)
                tensor = self.emit("RESHAPE", [tensor, self.integers(target)], shape=target)
            renames[tensor] = wanted
        for wanted in set(renames.values()) & (set(self.types) - set(renames)):
            renames[wanted] = self._fresh(wanted)  # an inner tensor that happens to bear the name
        swap = {**{n: n for n in self.types}, ABSENT: ABSENT, **renames}
        nodes = [
            Node(swap[n.name], n.op, tuple(swap[i] for i in n.inputs), tuple(swap[o] for o in n.outputs), n.attrs)
            for n in self.nodes
        ]
        types = {swap[name]: kind for name, kind in self.types.items()}
        constants = {swap[name]: value for name, value in self._constants.items()}
        return Graph(self.name, tuple(self.inputs), tuple(outputs), tuple(nodes), types, constants).pruned()

    def _fresh(self, name: str) -> str:
        if name not in self.types:
            return name
        number = 2
        while f"{name}:{number}" in self.types:
            number += 1
        return f"{name}:{number}"

    def _checked(self, name: str, tensor: TensorType) -> TensorType:
        """`tensor`, unless it is empty or larger than makes sense."""
        small = "this is no model for a microcontroller: reduce its input or its layers"
        if len(tensor.shape) > MAX_RANK:
            raise UnsupportedError(
                f"tensor '{name}' has {len(tensor.shape)} dimensions; at most {MAX_RANK} are possible: reshape it"
            )
        if tensor.bytes > MAX_TENSOR_BYTES:
            raise UnsupportedError(f"tensor '{name}' ({tensor}) is larger than {MAX_TENSOR_BYTES >> 20} MiB; {small}")
        self._bytes += tensor.bytes
        if self._bytes > MAX_BYTES:
            raise UnsupportedError(f"all tensors together are larger than {MAX_BYTES >> 20} MiB; {small}")
        if not tensor.elements and name not in self.known:
            raise UnsupportedError(
                f"tensor '{name}' has shape {list(tensor.shape)}: every dimension must be at least 1: leave it out"
            )
        return tensor


_NARROW = {"float64": DType.FLOAT32, "float16": DType.FLOAT32, "bfloat16": DType.FLOAT32, "int64": DType.INT32}


def _dtype(value: Array) -> DType:
    """The element type that `value` has in a Graph."""
    if value.dtype.name in _NARROW:
        return _NARROW[value.dtype.name]
    try:
        return DType.of(value)
    except ValueError:
        raise UnsupportedError(
            f"element type {value.dtype.name} is not supported: export the model in float32"
        ) from None
