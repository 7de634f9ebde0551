# SPDX-License-Identifier: Apache-2.0
"""An AVERAGE_POOL_2D of the whole image becomes a MEAN, whose result may have a scale of its own.

A mean covers a narrower range than what it is the mean of; AVERAGE_POOL_2D would have to keep the input's scale.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import DType, TensorType
from tinygen.ops import Activation
from tinygen.ops.quantize import Given
from tinygen.ops.reduction import ReducerAttrs
from tinygen.passes.base import Keeps, Result, label
from tinygen.passes.rewrite import fresh


@dataclass(frozen=True)
class GlobalPools:
    """Replace average pools with one window, without padding or activation."""

    name: str = "global-pools"
    keeps: Keeps = Keeps.ACCURACY

    def run(self, graph: Graph) -> Result:
        done = []
        for node in graph.nodes:
            if not _is_global(graph, node):
                continue
            axes = fresh(graph, f"{node.outputs[0]}:axes")
            mean = replace(node, op="MEAN", inputs=(node.inputs[0], axes), attrs=ReducerAttrs(keep_dims=True))
            graph = graph.with_nodes(
                [mean if n is node else n for n in graph.nodes],
                types={**graph.types, axes: TensorType((2,), DType.INT32)},
                constants={**graph.constants, axes: np.array([1, 2], np.int32)},
            )
            done.append(f"{label(node)} is a mean")
        return Result(graph, tuple(done))


def _is_global(graph: Graph, node: Node) -> bool:
    attrs: Any = node.attrs
    if node.op != "AVERAGE_POOL_2D" or attrs.activation is not Activation.NONE or any(attrs.padding):
        return False
    if _keeps_scale(graph, node):
        return False
    source, target = graph.types[node.inputs[0]], graph.types[node.outputs[0]]
    return bool(source.shape[1:3] == attrs.window and target.shape[1:3] == (1, 1))


def _keeps_scale(graph: Graph, node: Node) -> bool:
    """Whether the model says that what is pooled, and the pool, have one scale: then the pool loses nothing."""
    producer, readers = graph.producer(node.inputs[0]), graph.consumers(node.outputs[0])
    if producer is None or not isinstance(producer.attrs, Given) or len(readers) != 1:
        return False
    return readers[0].attrs == producer.attrs
