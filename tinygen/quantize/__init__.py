# SPDX-License-Identifier: Apache-2.0
"""Post-training quantization: float Graph + samples of its input → int8 Graph with the same meaning, nearly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tinygen.batch import few
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array, Quant
from tinygen.ops.limits import check_float, check_graph
from tinygen.quantize.assign import assign, with_float_ports
from tinygen.quantize.calibrate import check_constants, check_samples
from tinygen.quantize.choose import large_enough
from tinygen.quantize.groups import Groups
from tinygen.quantize.mixed import Measured, widened
from tinygen.quantize.options import Options, Quantized, Wide
from tinygen.quantize.prepare import prepare
from tinygen.quantize.refine import refine
from tinygen.quantize.report import Widened, compare
from tinygen.quantize.trials import best_ranges

__all__ = ["Options", "Quantized", "Wide", "quantize", "with_float_ports"]

#: Samples that the report compares float and int8 on, at most.
COMPARED = 16


def quantize(graph: Graph, samples: Sequence[Sequence[Array]], options: Options | None = None) -> Quantized:
    """The int8 graph of float `graph`, and a report of what it lost.

    `samples` are input sets as the model gets them (float32 arrays, or integers for integer inputs), in the order and
    shapes of its inputs. Raises `UnsupportedError` for a model that cannot be compiled in int8, `UsageError` for
    samples that do not fit it.
    """
    check_float(graph)
    check_constants(graph)
    check_samples(graph, samples)
    with np.errstate(all="ignore"):  # what is not finite is found and named
        return _quantized(prepare(graph, samples[0]), samples, options if options is not None else Options())


def _quantized(graph: Graph, samples: Sequence[Sequence[Array]], settings: Options) -> Quantized:
    """`graph` by these settings: ranges, then weights and biases; and both again if some layers get 16 bits."""
    best = best_ranges(graph, samples, settings)
    groups, quants, bought = best.groups, best.quants, tuple[Widened, ...]()
    made = _made(groups, quants, samples, settings)
    if settings.wide != "none":
        fitted = settings.rounding != "nearest"
        measured = Measured(groups, large_enough(groups, quants), best.statistics, samples, made, fitted)
        groups, quants, bought = widened(measured, settings.wide, settings.wide_gain)
        made = _made(groups, quants, samples, settings)
    check_graph(made)
    return Quantized(made, replace(compare(groups.graph, made, few(graph, samples, COMPARED)), wide=bought))


def _made(groups: Groups, quants: Mapping[str, Quant], samples: Sequence[Sequence[Array]], settings: Options) -> Graph:
    """The integer graph with these scales, and weights and biases as `settings` want them."""
    made = assign(groups, large_enough(groups, quants))
    return made if settings.rounding == "nearest" else refine(groups.graph, made, samples, settings)
