# SPDX-License-Identifier: Apache-2.0
"""ONNX's own node tests (they come with the onnx package) for the operators that the ONNX frontend claims.

A test gives a model of one node (some a function of several), inputs and outputs. Its integer inputs (axes, shapes,
indices) are baked in as constants, and so are weights: those are what the frontend wants to know at build time.

    python -m tests.onnx_backend        # prints what passes, and every refusal with its reason
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from tinygen.errors import ModelError, UnsupportedError
from tinygen.frontends.onnx import read
from tinygen.frontends.onnx.registry import handlers
from tinygen.passes.cancel_transposes import CancelTransposes
from tinygen.reference import run_real

#: Operators all of whose inputs but the first are weights.
WITH_WEIGHTS = frozenset(
    {"BatchNormalization", "Clip", "Conv", "ConvTranspose", "LayerNormalization", "PRelu", "Pad", "Pow", "Resize"}
    | {"Upsample"}
)


@dataclass(frozen=True)
class Case:
    """One of ONNX's tests: a model, its inputs in order, and the outputs expected."""

    name: str
    model: onnx.ModelProto
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    rtol: float

    @property
    def operators(self) -> set[str]:
        return {node.op_type if not node.domain else f"{node.domain}.{node.op_type}" for node in self.model.graph.node}


@cache
def cases() -> tuple[Case, ...]:
    """Every node test of the onnx package."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    return tuple(Case(c.name, c.model, *map(tuple, c.data_sets[0]), rtol=c.rtol) for c in found if c.data_sets)


def claimed() -> Iterator[Case]:
    """The tests of operators that the frontend knows, on float32 activations, without empty tensors."""
    for case in cases():
        values = (*case.inputs, *case.outputs)
        if not case.inputs or not all(isinstance(v, np.ndarray | np.generic) for v in values):
            continue
        activations = (case.inputs[0], *case.outputs)
        if all(v.dtype == np.float32 and v.size for v in activations) and case.operators <= handlers().keys():
            yield case


def baked(case: Case) -> tuple[onnx.ModelProto, list[Any]]:
    """The test's model with constants in place of integers and weights, and the values of the inputs that are left."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    weights = bool(case.operators & WITH_WEIGHTS)
    left: list[Any] = []
    for index, (port, value) in enumerate(zip(case.model.graph.input, case.inputs, strict=True)):
        if value.dtype == np.float32 and not (weights and index):
            left.append(value)
            continue
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), port.name))
        model.graph.input.remove(next(p for p in model.graph.input if p.name == port.name))
    return model, left


def outcome(case: Case) -> str:
    """`passed`, `refused: …` or `failed: …`."""
    model, inputs = baked(case)
    try:
        graph = read(Path(f"{case.name}.onnx"), model.SerializeToString()).graph
    except UnsupportedError as error:
        return f"refused: {error}"
    except ModelError as error:
        return f"failed: {error}"
    with np.errstate(all="ignore"):
        for candidate in (graph, CancelTransposes().run(graph).graph):
            values = run_real(candidate, inputs)
            for name, expected in zip(candidate.outputs, case.outputs, strict=True):
                got = np.asarray(values[name])
                if got.shape != expected.shape:
                    return f"failed: shape {got.shape} instead of {expected.shape}"
                if not np.allclose(got, expected, rtol=max(case.rtol, 1e-4), atol=1e-5, equal_nan=True):
                    return f"failed: off by {np.nanmax(np.abs(got - expected))}"
    return "passed"


def main() -> None:
    results = {case.name: outcome(case) for case in claimed()}
    for name, result in results.items():
        if result != "passed":
            print(f"{name}: {result}")
    passed = sum(result == "passed" for result in results.values())
    print(f"{passed} passed of {len(results)} claimed of {len(cases())} in total")


if __name__ == "__main__":
    main()
