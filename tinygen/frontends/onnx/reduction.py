# SPDX-License-Identifier: Apache-2.0
"""ONNX operators that reduce along axes."""

from __future__ import annotations

import numpy as np

from tinygen.frontends.onnx.build import Builder
from tinygen.frontends.onnx.elementwise import floating
from tinygen.frontends.onnx.node import OnnxNode
from tinygen.frontends.onnx.registry import handles
from tinygen.ops.reduction import ReducerAttrs

_REDUCERS = {"ReduceMean": "MEAN", "ReduceSum": "SUM", "ReduceMax": "REDUCE_MAX", "ReduceMin": "REDUCE_MIN"}
#: In TFLite's operators: what is done to the elements before, of how many of them, and to their sum after.
_SUMS = {
    "ReduceL1": ("ABS", 1, ""),
    "ReduceL2": ("MUL", 2, "SQRT"),
    "ReduceSumSquare": ("MUL", 2, ""),
    "ReduceLogSum": ("", 0, "LOG"),
    "ReduceLogSumExp": ("EXP", 1, "LOG"),
}


@handles(*_REDUCERS, *_SUMS)
def reduce(b: Builder, node: OnnxNode) -> str:
    before, count, after = _SUMS.get(node.op, ("", 0, ""))
    floating(b, node) if not node.has(1) else None
    axes = _axes(b, node)
    x = node.input(0)
    if before:
        x = b.emit(before, [x] * count)
    if axes:
        keep = ReducerAttrs(keep_dims=bool(node.attr("keepdims", 1)))
        x = b.emit(_REDUCERS.get(node.op, "SUM"), [x, b.integers(axes)], keep)
    return b.emit(after, [x]) if after else x


def _axes(b: Builder, node: OnnxNode) -> list[int]:
    """The reduced axes; all of them where none are given, unless the node says that this means none."""
    rank = b.rank(node.input(0))
    listed = node.attr("axes", [])
    if node.has(1):
        node.need(node.input(1) in b.known, "the axes must be constant: export the model with fixed sizes")
        listed = b.known[node.input(1)].ravel().tolist()
    if not listed:
        return [] if node.attr("noop_with_empty_axes", 0) else list(range(rank))
    if not all(-rank <= axis < rank for axis in listed):
        raise ValueError(f"axes {listed} do not exist among {rank} dimensions")
    return sorted({int(np.int64(axis)) % rank for axis in listed})
