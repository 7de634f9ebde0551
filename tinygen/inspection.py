# SPDX-License-Identifier: Apache-2.0
"""What a model file consists of, before anything is compiled."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygen import frontends
from tinygen.errors import UnsupportedError
from tinygen.ir.graph import Graph
from tinygen.ir.types import TensorType
from tinygen.ops import problems_of
from tinygen.ops.limits import check_model, is_float, is_given
from tinygen.passes.base import constant_bytes, macs


@dataclass(frozen=True)
class Inspection:
    """A model's operators in order; `graph` is None where the file needs what a graph cannot express."""

    file: str
    operators: tuple[str, ...]
    graph: Graph | None
    problems: tuple[str, ...]

    def lines(self) -> list[str]:
        """The inspection as text."""
        counted = ", ".join(f"{op} ×{n}" if n > 1 else op for op, n in Counter(self.operators).items())
        lines = [f"{self.file}: {len(self.operators)} operators: {counted}"]
        if self.graph is not None:
            lines += self._tensor_lines(self.graph)
            if is_float(self.graph) and not is_given(self.graph):
                lines.append("float model: needs --calibration")
        if not self.problems:
            return [*lines, "every operator is supported"]
        return [*lines, f"{len(self.problems)} problem(s):", *(f"  {p}" for p in self.problems)]

    def _tensor_lines(self, graph: Graph) -> list[str]:
        lines = [f"input   {name}: {described(graph.types[name])}" for name in graph.inputs]
        lines += [f"output  {name}: {described(graph.types[name])}" for name in graph.outputs]
        lines.append(f"constants: {constant_bytes(graph):,} bytes")
        if not self.problems:
            lines.append(f"multiply-accumulates: {macs(graph):,}")
        for index, node in enumerate(graph.nodes):
            shapes = " → ".join(
                ", ".join(described(graph.types[n]) for n in names if n and n not in graph.constants)
                for names in (node.inputs, node.outputs)
            )
            lines.append(f"  {index:3} {node.op:<24} {shapes}  {node.name}")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """The inspection as JSON values."""
        graph = self.graph
        return {
            "file": self.file,
            "operators": dict(Counter(self.operators)),
            "inputs": {n: described(graph.types[n]) for n in graph.inputs} if graph else None,
            "outputs": {n: described(graph.types[n]) for n in graph.outputs} if graph else None,
            "constant_bytes": constant_bytes(graph) if graph else None,
            "macs": macs(graph) if graph and not self.problems else None,
            "problems": list(self.problems),
        }


def inspect(path: Path) -> Inspection:
    """Look at the model file `path`. Raises `ModelError` only if it is malformed; what is unsupported is reported."""
    operators = tuple(frontends.operators(path))
    try:
        graph = frontends.load(path)
    except UnsupportedError as error:
        return Inspection(path.name, operators, None, (str(error),))
    problems = tuple(sentence for _, sentence in problems_of(graph, is_float(graph)))
    return Inspection(path.name, operators, graph, problems or _whole(graph))


def _whole(graph: Graph) -> tuple[str, ...]:
    """What is wrong with a graph whose nodes are all right."""
    try:
        check_model(graph)
    except UnsupportedError as error:
        return (str(error),)
    return ()


def described(tensor: TensorType) -> str:
    """Type, shape and quantization in a few words."""
    if tensor.quant is None:
        return str(tensor)
    if len(tensor.quant.scales) > 1:
        return f"{tensor} (per channel)"
    return f"{tensor} ({tensor.quant.scale:.6g}, {tensor.quant.zero_point})"
