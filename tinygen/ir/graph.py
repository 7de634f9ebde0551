# SPDX-License-Identifier: Apache-2.0
"""The graph: what a model computes, as frozen records with tensors by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from tinygen.errors import ModelError
from tinygen.ir.types import Array, DType, TensorType

#: The name that stands for an optional input that is not given.
ABSENT = ""


@dataclass(frozen=True)
class Attrs:
    """Base of every operator's attributes; on its own: an operator without any."""


@dataclass(frozen=True)
class Node:
    """One operator application. `op` is the TFLite builtin name; inputs may be `ABSENT`."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Attrs = field(default_factory=Attrs)


@dataclass(frozen=True)
class Graph:
    """A whole model: nodes in an order in which they can run, a type for each tensor, values for the constant ones.

    Constants are read-only arrays. `storage` asks for the form in which constants lie in flash, by name: one of
    `tinygen.kernels.base.FORMS`, ``smallest``, or ``smallest at any speed``; it changes no value. Construction checks
    the grammar and raises `ModelError` where it is broken.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    types: Mapping[str, TensorType]
    constants: Mapping[str, Array]
    storage: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        frozen = {}
        for name, value in self.constants.items():
            view = np.ascontiguousarray(value).reshape(value.shape).view()
            view.flags.writeable = False
            frozen[name] = view
        object.__setattr__(self, "constants", MappingProxyType(frozen))
        object.__setattr__(self, "types", MappingProxyType(dict(self.types)))
        object.__setattr__(self, "storage", MappingProxyType(dict(self.storage)))
        self.check()

    def check(self) -> None:
        """Raise `ModelError` unless every tensor is typed, defined once, and defined before it is read."""
        for name, value in self.constants.items():
            declared = self._type_of(name, "constant")
            if declared.shape != value.shape or declared.dtype is not DType.of(value):
                raise ModelError(f"constant '{name}' is {DType.of(value).value}{list(value.shape)}, not {declared}")
        for name in self.storage:
            if name not in self.constants:
                raise ModelError(f"graph '{self.name}' asks for a form of '{name}', which is no constant")
        defined = {ABSENT, *self.constants, *self.inputs}
        if len(set(self.inputs)) != len(self.inputs) or set(self.inputs) & set(self.constants):
            raise ModelError(f"graph '{self.name}' lists an input twice, or an input that is a constant")
        for node in self.nodes:
            self._check_node(node, defined)
        for name in (*self.inputs, *self.outputs):
            self._type_of(name, "graph input or output")
            if name not in defined:
                raise ModelError(f"graph output '{name}' is computed by no node")

    def _check_node(self, node: Node, defined: set[str]) -> None:
        for name in node.inputs:
            if name not in defined:
                raise ModelError(f"node '{node.name}' ({node.op}) reads '{name}', which nothing before it computes")
        for name in node.outputs:
            self._type_of(name, f"output of node '{node.name}'")
            if name in defined:
                raise ModelError(f"node '{node.name}' ({node.op}) defines '{name}', which is defined already")
            defined.add(name)

    def _type_of(self, name: str, what: str) -> TensorType:
        if name not in self.types:
            raise ModelError(f"tensor '{name}' ({what}) has no type")
        return self.types[name]

    def producer(self, tensor: str) -> Node | None:
        """The node that computes `tensor`, or None for inputs and constants."""
        return next((n for n in self.nodes if tensor in n.outputs), None)

    def consumers(self, tensor: str) -> tuple[Node, ...]:
        """The nodes that read `tensor`, in order."""
        return tuple(n for n in self.nodes if tensor in n.inputs)

    def is_output(self, tensor: str) -> bool:
        return tensor in self.outputs

    def with_nodes(self, nodes: Iterator[Node] | tuple[Node, ...] | list[Node], **changes: object) -> Graph:
        """This graph with other nodes (and other fields, if given); tensors that no one names any more are dropped."""
        graph = replace(self, nodes=tuple(nodes), **changes)  # type: ignore[arg-type]  # replace() is untyped by field
        return graph.pruned()

    def pruned(self) -> Graph:
        """This graph without types and constants that no node, input or output names."""
        used = {*self.inputs, *self.outputs}
        for node in self.nodes:
            used.update(node.inputs, node.outputs)
        return replace(
            self,
            types={k: v for k, v in self.types.items() if k in used},
            constants={k: v for k, v in self.constants.items() if k in used},
            storage={k: v for k, v in self.storage.items() if k in used and k in self.constants},
        )
