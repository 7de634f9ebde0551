# SPDX-License-Identifier: Apache-2.0
"""Operators: what each means. The registry is the package's own list of files."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any

from tinygen.errors import ModelError, UnsupportedError
from tinygen.ir.graph import Graph, Node
from tinygen.ops.base import Activation, Call, Op, call_of
from tinygen.ops.hints import type_hint
from tinygen.ops.supposed import as_int8, is_float

__all__ = ["Activation", "Call", "Op", "all_ops", "call_of", "check_float_node", "check_node", "op_of", "problems_of"]


@cache
def all_ops() -> dict[str, Op[Any]]:
    """Every operator by name, sorted: one for each module of this package that defines ``OP``."""
    found = {}
    for info in pkgutil.iter_modules(__path__):
        op = getattr(importlib.import_module(f"{__name__}.{info.name}"), "OP", None)
        if isinstance(op, Op):
            found[op.name] = op
    return dict(sorted(found.items()))


def op_of(node: Node) -> Op[Any]:
    """The operator of `node`; raises `UnsupportedError` if there is none of that name."""
    op = all_ops().get(node.op)
    if op is None:
        raise UnsupportedError(f"node '{node.name}': operator {node.op} is not supported (see docs/operators.md)")
    return op


def problems_of(graph: Graph, in_float: bool = False) -> list[tuple[Node, str]]:
    """Each node that cannot be compiled (`in_float`: after quantization), with the sentence that says why."""
    found, check = [], check_float_node if in_float else check_node
    for node in graph.nodes:
        try:
            check(graph, node)
        except (ModelError, UnsupportedError) as error:
            found.append((node, str(error)))
    return found


def check_node(graph: Graph, node: Node) -> None:
    """Raise unless `node` meets its operator's constraints and its declared output types match the inferred ones."""
    call = call_of(graph, node)
    _check(node, call, call)


def check_float_node(graph: Graph, node: Node) -> None:
    """Raise unless `node`, in float32, has the shapes and attributes of a node that can be compiled in int8."""
    op, call = op_of(node), call_of(graph, node)
    try:
        quantized = as_int8(op, call) if is_float(call) else call
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ModelError(f"node '{node.name}' ({node.op}) is malformed: {error}") from error
    _check(node, call, quantized)


def _check(node: Node, call: Call[Any], quantized: Call[Any]) -> None:
    """Raise unless `quantized` meets the constraints and `call` declares the output types that follow."""
    op = op_of(node)
    try:
        problems = op.problems(quantized)
        inferred = tuple(op.infer(call)) if not problems else ()
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        # a file can contradict itself in more ways than constraints can list
        raise ModelError(f"node '{node.name}' ({node.op}) is malformed: {error}") from error
    if problems:
        hint = type_hint(call)
        raise UnsupportedError(f"node '{node.name}' ({node.op}): {problems[0]}{' ' if hint else ''}{hint}")
    declared = tuple((t.shape, t.dtype) for t in call.outputs)
    if inferred != declared:
        raise ModelError(
            f"node '{node.name}' ({node.op}) declares outputs {_show(declared)}, but its inputs give {_show(inferred)}"
        )


def _show(signature: tuple[Any, ...]) -> str:
    return ", ".join(f"{dtype.value}{list(shape)}" for shape, dtype in signature)
