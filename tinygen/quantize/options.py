"""What can be asked of quantization, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tinygen.ir.graph import Graph
from tinygen.quantize.report import Report


@dataclass(frozen=True)
class Options:
    """`ranges`: how the intervals of activations are chosen (see `tinygen.quantize.ranges`)."""

    ranges: Literal["minmax", "percentile", "mse", "entropy"] = "minmax"
    rounding: Literal["nearest", "bias", "adaptive"] = "adaptive"


@dataclass(frozen=True)
class Quantized:
    """An int8 graph, and how it compares with the float one."""

    graph: Graph
    report: Report
