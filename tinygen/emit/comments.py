# SPDX-License-Identifier: Apache-2.0
"""What the comments of the generated C say: of a layer, and of what is called by number, which layers need it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tinygen.ir.program import Program, Step
from tinygen.ir.types import TensorType

#: How many a list names before it says how many more there are.
NAMED = 4


def plain(text: str) -> str:
    """`text` as it may stand inside a C comment: printable ASCII that ends nothing and continues nothing."""
    return re.sub(r"[^A-Za-z0-9_.,:;()\[\]<>=+ /-]", "_", text).replace("*/", "__").replace("/*", "__")


def step_comment(index: int, step: Step, program: Program, types: Mapping[str, TensorType]) -> str:
    """What a reader of the C wants to know of a layer."""
    inputs = ", ".join(str(types[n]) for n in step.inputs if n in program.tensors)
    outputs = ", ".join(str(types[n]) for n in step.outputs)
    macs = f", {step.macs} MACs" if step.macs else ""
    return plain(f"Step {index}, {step.op} {step.name}: {inputs} -> {outputs}{macs}")


def step_labels(program: Program) -> list[str]:
    """What comments call the steps of a program that has its C file for itself."""
    return [f"step {index}" for index in range(len(program.steps))]


def listed(labels: Sequence[str]) -> str:
    """Different `labels` as a list, which is cut where it grows long."""
    every = list(dict.fromkeys(labels))
    return ", ".join(every[:NAMED]) + (f" and {len(every) - NAMED} more" if len(every) > NAMED else "")


def constant_comments(program: Program, labels: Sequence[str]) -> dict[str, str]:
    """For each constant that a call needs: as what (a field of its parameters, or an input), and in which steps."""
    uses: dict[str, dict[str, list[str]]] = {}
    for label, step in zip(labels, program.steps, strict=True):
        for call in step.invocations:
            fields = [(value, field.split(".")[-1]) for field, value in call.params.items() if isinstance(value, str)]
            for name, use in fields + [(operand.name, "input") for operand in call.reads if operand.constant]:
                uses.setdefault(name, {}).setdefault(use, []).append(label)
    return {
        name: ", ".join(f"{use} of {listed(where)}" for use, where in found.items()) for name, found in uses.items()
    }
