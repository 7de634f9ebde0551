# SPDX-License-Identifier: Apache-2.0
"""Nodes whose inputs are all constant, computed by ONNX's reference implementation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from tinygen.frontends.onnx.node import OnnxNode
from tinygen.frontends.onnx.simplify import MAX_GROWN
from tinygen.ir.types import Array

#: Their result is another in each run.
_RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)


def evaluate(proto: onnx.NodeProto, node: OnnxNode, inputs: Sequence[Array | None]) -> list[Array]:
    """The outputs of `proto`, which is `node`, for constant inputs."""
    node.need(proto.op_type not in _RANDOM, "it is random: export the model for inference")
    _bounded(node, inputs)
    names = [name for name in proto.input if name]
    values = dict(zip(names, (np.asarray(v) for v in inputs if v is not None), strict=True))
    ports = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in values.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in proto.output if name]
    graph = helper.make_graph([proto], "constant", ports, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(proto.domain, node.version)])
    try:
        results: Any = ReferenceEvaluator(model).run(None, values)
    except Exception as error:  # the evaluator raises what its numpy code happens to raise
        raise node.refusal(f"it depends on constants alone, and they do not fit it: {error}") from None
    return [np.asarray(result) for result in results]


def _bounded(node: OnnxNode, inputs: Sequence[Array | None]) -> None:
    """Refuse what would make an absurdly large constant."""
    largest = max((v.size for v in inputs if v is not None), default=0)
    grown = 1
    if node.op in ("ConstantOfShape", "Expand", "Tile"):
        shape = inputs[-1]
        grown = math.prod(abs(int(v)) or 1 for v in shape.ravel()) if shape is not None else 1
    elif node.op == "Range":
        start, limit, delta = (float(v.ravel()[0]) for v in inputs if v is not None)
        grown = int(abs((limit - start) / delta)) if delta else MAX_GROWN + 1
    node.need(
        grown <= MAX_GROWN and largest <= 4 * MAX_GROWN,
        "it makes a tensor larger than any for a microcontroller: reduce its sizes",
    )
