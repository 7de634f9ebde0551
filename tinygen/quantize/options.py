"""What can be asked of quantization, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tinygen.ir.graph import Graph
from tinygen.quantize.report import Report

#: Which activations have 16 bits: none, those chosen by measurement, all that can, or what the named nodes compute.
Wide = Literal["none", "auto", "all"] | tuple[str, ...]
Method = Literal["auto", "minmax", "percentile", "mse", "entropy"]


@dataclass(frozen=True)
class Options:
    """`ranges`: how the intervals of activations are chosen (`tinygen.quantize.ranges`; ``auto``: the best for each).

    `equalize`: whether channels between layers are brought to ranges of like size, where that brings the outputs nearer
    to float on the samples (see `tinygen.quantize.equalize`).

    `rounding`: of weights to the nearest integer, the same with corrected biases, or fitted to the samples
    (see `tinygen.quantize.refine`).

    `wide`: activations that are int16 instead of int8 (see `tinygen.quantize.mixed`), which costs RAM; with ``auto``,
    those that raise the outputs' signal-to-noise ratio most, until it has gained `wide_gain` dB.
    """

    ranges: Method = "auto"
    equalize: bool = True
    rounding: Literal["nearest", "bias", "adaptive"] = "adaptive"
    wide: Wide = "none"
    wide_gain: float = 6.0


@dataclass(frozen=True)
class Quantized:
    """An int8 graph, and how it compares with the float one."""

    graph: Graph
    report: Report
