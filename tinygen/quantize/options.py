# SPDX-License-Identifier: Apache-2.0
"""What can be asked of quantization, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tinygen.ir.graph import Graph
from tinygen.quantize.report import Report

#: Which activations have 16 bits: none, those chosen by measurement, all that can, or what the named nodes compute.
Wide = Literal["none", "auto", "all"] | tuple[str, ...]
Method = Literal["auto", "minmax", "margin", "percentile", "mse", "entropy"]
Rounding = Literal["nearest", "bias", "columns", "adaptive"]


@dataclass(frozen=True)
class Options:
    """What the quantization of a model may do; the defaults are what measures best over the zoo (docs/accuracy.md).

    `ranges`: how the intervals of activations are chosen. ``minmax``: all that the samples show; ``margin``: that and a
    share more; ``percentile``, ``mse``, ``entropy``: less, where that pays (`tinygen.quantize.ranges`). ``auto``:
    whichever brings outputs nearest to float, of one method for all tensors and one for each, by ranges from half of
    the samples on the other half.

    `equalize`: whether channels between layers are brought to ranges of like size, where that brings outputs nearer to
    float, found in the same way (`tinygen.quantize.equalize`).

    `rounding`: ``nearest``: each weight to its nearest integer; ``bias``: the same, with biases that make good the mean
    error; ``columns``: weights, too, fitted to what they multiply, one input after the other (GPTQ); ``adaptive``: and
    from there to where no other integer lowers the layer's error (AdaRound's objective; see
    `tinygen.quantize.rounding`). Layers come closest with the last, outputs no closer than with the one before it.

    `scales`: of weights, by output channel. ``largest``: no weight is clipped; ``fitted``: the scale with the least
    error of the layer, where weights are fitted to what they multiply.

    `wide`: activations that are int16 instead of int8 (see `tinygen.quantize.mixed`), which costs RAM; with ``auto``,
    those that raise the outputs' signal-to-noise ratio most, until it has gained `wide_gain` dB.
    """

    ranges: Method = "auto"
    equalize: bool = True
    rounding: Rounding = "columns"
    scales: Literal["largest", "fitted"] = "largest"
    wide: Wide = "none"
    wide_gain: float = 6.0


@dataclass(frozen=True)
class Quantized:
    """An int8 graph, and how it compares with the float one."""

    graph: Graph
    report: Report
