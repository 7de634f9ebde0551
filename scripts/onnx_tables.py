# SPDX-License-Identifier: Apache-2.0
"""Which ONNX operators become which of ours, and on what conditions: read out of the functions that build them.

A function of `tinygen/frontends/onnx` names the operators it emits, and the reasons for which it refuses a node. Its
syntax tree is searched for both, and those of the functions it calls; choices by the ONNX operator's name (a dictionary
or a comparison) are made as for the operator in question.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import onnx.defs
import tflite

from tinygen.export.onnx import emitters as written
from tinygen.frontends.onnx.advice import ADVICE
from tinygen.frontends.onnx.quantized import QOPERATORS
from tinygen.frontends.onnx.registry import handlers
from tinygen.frontends.onnx.simplify import MIN_OPSET
from tinygen.ops import all_ops

PACKAGE = "tinygen.frontends.onnx"
#: Methods of the builder that emit a node, where an operator's own function calls them.
_METHODS = {"reshape": "RESHAPE", "transpose": "TRANSPOSE"}


@dataclass
class Reading:
    """What the function of ONNX operator `name` leads to: operators, and reasons for refusal, in the order found."""

    name: str
    ops: dict[str, None] = field(default_factory=dict)
    reasons: dict[str, None] = field(default_factory=dict)
    seen: set[Any] = field(default_factory=set)

    def follow(self, function: Any, depth: int = 0) -> None:
        if function in self.seen:
            return
        self.seen.add(function)
        scope = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
        for node in self.chosen(ast.parse(textwrap.dedent(inspect.getsource(function))).body[0], scope):
            if isinstance(node, ast.Constant):
                self.text(node.value)
            elif isinstance(node, ast.Name) and node.id in scope:
                self.value(scope[node.id], depth)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr in ("need", "refusal"):
                    self.reasons[_literal(node.args[-1])] = None
                on_builder = isinstance(node.func.value, ast.Name) and node.func.value.id == "b"
                if node.func.attr in _METHODS and on_builder and depth == 0:
                    self.ops[_METHODS[node.func.attr]] = None

    @staticmethod
    def dictionary(node: ast.Call, scope: dict[str, Any]) -> dict[str, Any]:
        """The dictionary of which `node` calls ``get``; empty for other calls."""
        of = node.func.value if isinstance(node.func, ast.Attribute) and node.func.attr == "get" else None
        found = scope.get(of.id) if isinstance(of, ast.Name) else None
        return found if isinstance(found, dict) else {}

    def chosen(self, node: ast.AST, scope: dict[str, Any]) -> Iterator[ast.AST]:
        """`node` and what is in it, without the branches and entries that are for other ONNX operators."""
        yield node
        if isinstance(node, ast.Dict) and self.name in [k.value for k in node.keys if isinstance(k, ast.Constant)]:
            parts = [v for k, v in zip(node.keys, node.values, strict=True) if getattr(k, "value", "") == self.name]
        elif isinstance(node, ast.IfExp) and (name := _compared(node.test)):
            parts = [node.body if name == self.name else node.orelse]
        elif isinstance(node, ast.Call) and self.name in self.dictionary(node, scope):
            parts = [node.func]  # without the default of .get
        else:
            parts = list(ast.iter_child_nodes(node))
        for part in parts:
            yield from self.chosen(part, scope)

    def text(self, value: Any) -> None:
        if value in all_ops():
            self.ops[value] = None
        elif isinstance(value, str) and value in handlers():
            outer, self.name = self.name, value
            self.follow(handlers()[value], 1)
            self.name = outer

    def value(self, value: Any, depth: int) -> None:
        """Something that a function names."""
        if isinstance(value, dict):
            if self.name in value:
                self.value(value[self.name], depth)
            elif not set(value) & set(handlers()):
                for entry in value.values():
                    self.value(entry, depth)
        elif isinstance(value, str):
            self.text(value)
        elif isinstance(value, tuple):
            for entry in value:
                self.value(entry, depth)
        elif inspect.isfunction(value) and value.__module__.startswith(PACKAGE):
            self.follow(value, depth + 1)


def _compared(test: ast.AST) -> str:
    """NAME in ``node.op == "NAME"``; empty for other tests."""
    if isinstance(test, ast.Compare) and isinstance(test.left, ast.Attribute) and test.left.attr == "op":
        return str(getattr(test.comparators[0], "value", ""))
    return ""


def _literal(node: ast.AST) -> str:
    """A string as far as it is known: what is filled in is an ellipsis."""
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    return str(getattr(node, "value", "…"))


@cache
def readings() -> dict[str, Reading]:
    """What each ONNX operator leads to."""
    found = {}
    for name, handler in handlers().items():
        found[name] = Reading(name)
        found[name].follow(handler)
    return found


def since(name: str) -> int:
    """The operator set that an ONNX operator came with; 0 for those of other domains."""
    return min((s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.name == name), default=0)


def labelled(name: str) -> str:
    """An ONNX operator's name, and the operator set it came with if models of older ones are read, too."""
    return f"{name.rpartition('.')[2]} ({since(name)})" if since(name) > MIN_OPSET else name.rpartition(".")[2]


def by_operator() -> Iterator[str]:
    """The table of our operators."""
    yield "| operator | TFLite | ONNX, in float | ONNX, QDQ | ONNX, QOperator |"
    yield "|---|---|---|---|---|"
    for op in sorted(all_ops()):
        leading = [name for name, reading in readings().items() if op in reading.ops]
        plain = [name for name in leading if name not in QOPERATORS]
        number = getattr(tflite.BuiltinOperator, op, None)
        builtin = f"{op} ({number})" if number is not None else "-"
        qdq = " and ".join(word for word, does in (("read", plain), ("written", op in written())) if does) or "-"
        cells = f"[{op}](#{op.lower()})", builtin, _listed(plain), qdq, _listed([n for n in leading if n in QOPERATORS])
        yield f"| {' | '.join(cells)} |"


def _listed(names: list[str]) -> str:
    return ", ".join(labelled(name) for name in names) or "-"


def by_onnx() -> Iterator[str]:
    """The table of ONNX operators."""
    yield "| ONNX operator | becomes | is refused with |"
    yield "|---|---|---|"
    for name, reading in readings().items():
        becomes = ", ".join(f"[{op}](#{op.lower()})" for op in sorted(reading.ops)) or "nothing: no node is needed"
        yield f"| {labelled(name)} | {becomes} | {'; '.join(reading.reasons) or '-'} |"


def refused() -> Iterator[str]:
    """The table of ONNX operators that are not read, as far as something else can be advised."""
    yield "| ONNX operator | what to do |"
    yield "|---|---|"
    for name in sorted(set(ADVICE) - set(handlers())):
        yield f"| {labelled(name)} | {ADVICE[name]} |"
