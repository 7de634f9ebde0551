"""What can be asked of quantization, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tinygen.ir.graph import Graph
from tinygen.quantize.report import Report

Method = Literal["auto", "minmax", "percentile", "mse", "entropy"]


@dataclass(frozen=True)
class Options:
    """`ranges`: how the intervals of activations are chosen (`tinygen.quantize.ranges`; ``auto``: the best for each).

    `equalize`: whether channels between layers are brought to ranges of like size, where that brings the outputs nearer
    to float on the samples (see `tinygen.quantize.equalize`).

    `rounding`: of weights to the nearest integer, the same with corrected biases, or fitted to the samples
    (see `tinygen.quantize.refine`).
    """

    ranges: Method = "auto"
    equalize: bool = True
    rounding: Literal["nearest", "bias", "adaptive"] = "adaptive"


@dataclass(frozen=True)
class Quantized:
    """An int8 graph, and how it compares with the float one."""

    graph: Graph
    report: Report
