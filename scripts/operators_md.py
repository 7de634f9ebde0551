"""Writes docs/operators.md from the operators themselves: their docstrings, and their constraints' sentences.

python scripts/operators_md.py [--check]
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from pathlib import Path

import tinygen.ops
from tinygen.frontends.onnx.registry import handlers
from tinygen.kernels import kernels_for
from tinygen.ops.base import Op, sentence

FILE = Path(__file__).parents[1] / "docs" / "operators.md"

HEAD = """\
# Operators

Made by `make docs` from `tinygen/ops`; do not edit. A node that breaks one of its operator's conditions is refused with
the condition's sentence. Each operator's integers equal TensorFlow Lite Micro's reference kernels bit for bit, where
TFLM has the operator for int8; where it has not, the text says what rule holds instead.
"""

ONNX = """\
Float ONNX models (operator sets 7 and newer) are read with these {count} ONNX operators, each of which becomes one or
more of the operators above: {names}. Whatever depends on constants and shapes alone may use others; it is computed
while the model is read.
"""


def document() -> str:
    """The content of docs/operators.md."""
    sections = []
    for info in pkgutil.iter_modules(tinygen.ops.__path__):
        module = importlib.import_module(f"tinygen.ops.{info.name}")
        op = getattr(module, "OP", None)
        if isinstance(op, Op):
            sections.append((op.name, _section(op, inspect.getdoc(module) or "")))
    names = [name for name, _ in sorted(sections)]
    index = f"{len(names)} operators: {', '.join(f'[{n}](#{n.lower()})' for n in names)}.\n"
    onnx = ONNX.format(count=len(handlers()), names=", ".join(handlers()))
    return "\n".join([HEAD, index, onnx, *(text for _, text in sorted(sections))])


def _section(op: Op[object], description: str) -> str:  # type: ignore[type-var]  # any operator's attributes
    kernels = sorted({k.template for k in kernels_for(op.name) if k.template != "lookup/table"})
    lines = [f"## {op.name}", "", description, ""]
    lines += [f"- {sentence(constraint)}" for constraint in op.constraints]
    how = "a view: nothing runs" if op.view else ", ".join(f"`{k}`" for k in kernels) or "a 256-byte table"
    return "\n".join([*lines, "", f"Kernel: {how}.", ""])


def main() -> int:
    text = document()
    if "--check" in sys.argv:
        return 0 if FILE.is_file() and FILE.read_text(encoding="utf-8") == text else 1
    FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
