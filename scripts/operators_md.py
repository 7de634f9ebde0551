# SPDX-License-Identifier: Apache-2.0
"""Writes docs/operators.md from the operators themselves: their docstrings, and their constraints' sentences.

python -m scripts.operators_md [--check]
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from pathlib import Path

import tinygen.ops
from scripts.onnx_tables import by_onnx, by_operator, refused
from tinygen.frontends.onnx import FOLDED
from tinygen.frontends.onnx.registry import handlers
from tinygen.frontends.onnx.simplify import MIN_OPSET
from tinygen.kernels import kernels_for
from tinygen.ops.base import Op, as_a_whole, never, sentence

FILE = Path(__file__).parents[1] / "docs" / "operators.md"

HEAD = """\
# Operators

Made by `make docs` from `tinygen/ops`; do not edit. A node that breaks one of its operator's conditions is refused with
the condition's sentence. Each operator's integers equal TensorFlow Lite Micro's reference kernels bit for bit, where
TFLM has the operator for int8; where it has not, the text says what rule holds instead.
"""

ONNX = """\
## Formats

What each operator is called in a TFLite file (with the number of the builtin), and which ONNX operators lead to it: in
float models, which are quantized here; in QDQ models, where QuantizeLinear and DequantizeLinear stand between the same
operators (those with "written" are exported so, too); and as integer operators (QOperator). Operator sets {first} and
newer are read; a number behind an ONNX operator is the operator set it came with.

{table}

## ONNX operators

The {count} ONNX operators that are read, what they become (layout aside: images are transposed around operators on
images, and these transpositions cancel), and what a node of them is refused with; the conditions of the operator that
it becomes come on top. Whatever depends on constants and shapes alone may use other operators, since it is computed
while the model is read: {folded}.

{onnx}

## ONNX operators that are refused

All others, with a sentence that names the node. For these it says what works instead:

{refused}
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
    onnx = ONNX.format(
        first=MIN_OPSET,
        count=len(handlers()),
        folded=", ".join(sorted(FOLDED)),
        table="\n".join(by_operator()),
        onnx="\n".join(by_onnx()),
        refused="\n".join(refused()),
    )
    return "\n".join([HEAD, index, onnx, *(text for _, text in sorted(sections))])


def _section(op: Op[object], description: str) -> str:  # type: ignore[type-var]  # any operator's attributes
    kernels = sorted({k.template for k in kernels_for(op.name) if k.template != "lookup/table"})
    lines = [f"## {op.name}", "", description, ""]
    lines += [f"- {sentence(constraint)}" for constraint in op.constraints]
    how = "a view: nothing runs" if op.view else ", ".join(f"`{k}`" for k in kernels) or "a 256-byte table"
    runs = " Under `--optimize ram`, a few rows at a time." if in_rows(op) else ""
    return "\n".join([*lines, "", f"Kernel: {how}.{runs}", ""])


def in_rows(op: Op[object]) -> bool:  # type: ignore[type-var]  # any operator's attributes
    """Whether nodes of `op` may be computed a few rows at a time: as their rows allow, or as sums that grow by rows."""
    return op.rows is not as_a_whole or op.pointwise is not never or bool(kernels_for(f"{op.name}_ROWS"))


def main() -> int:
    text = document()
    if "--check" in sys.argv:
        return 0 if FILE.is_file() and FILE.read_text(encoding="utf-8") == text else 1
    FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
