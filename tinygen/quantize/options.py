"""What can be asked of quantization, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tinygen.ir.graph import Graph
from tinygen.quantize.report import Report


@dataclass(frozen=True)
class Options:
    """`ranges`: how the intervals of activations are chosen (see `tinygen.quantize.ranges`).

    `float_io`: inputs and outputs stay float32, converted by QUANTIZE and DEQUANTIZE nodes.
    """

    ranges: Literal["minmax", "percentile", "mse", "entropy"] = "minmax"
    float_io: bool = False


@dataclass(frozen=True)
class Quantized:
    """An int8 graph, and how it compares with the float one."""

    graph: Graph
    report: Report
