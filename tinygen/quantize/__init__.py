"""Post-training quantization: float Graph + samples of its input → int8 Graph with the same meaning, nearly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinygen.ir.graph import Graph
from tinygen.ir.types import Array
from tinygen.ops.limits import check_float, check_graph
from tinygen.quantize.assign import assign, with_float_ports
from tinygen.quantize.calibrate import calibrate, check_constants, check_samples
from tinygen.quantize.choose import choose, large_enough
from tinygen.quantize.equalize import equalize
from tinygen.quantize.groups import group
from tinygen.quantize.mixed import Measured, widened, with_weights
from tinygen.quantize.options import Method, Options, Quantized, Wide
from tinygen.quantize.prepare import prepare
from tinygen.quantize.refine import refine
from tinygen.quantize.report import Widened, compare

__all__ = ["Options", "Quantized", "Wide", "quantize", "with_float_ports"]

#: Samples that the report compares float and int8 on.
COMPARED = 16
#: How ranges are chosen where the user leaves it open: by tensor, or by one method for all.
TRIED: tuple[Method, ...] = ("auto", "minmax", "mse")


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
        return _best(prepare(graph, samples[0]), samples, options if options is not None else Options())


def _best(graph: Graph, samples: Sequence[Sequence[Array]], settings: Options) -> Quantized:
    """`graph` in int8: of what the settings leave open, what brings the outputs closest to float.

    These are ranges chosen by tensor or by one method for all, and, if asked, equalized channels.
    """
    methods: tuple[Method, ...] = TRIED if settings.ranges == "auto" else (settings.ranges,)
    equal = equalize(graph, samples) if settings.equalize else graph
    tried = [(graph, replace(settings, ranges=m, wide="none")) for m in methods]
    tried += [(equal, replace(settings, wide="none"))] if equal is not graph else []
    made = [_quantized(g, samples, s) for g, s in tried]
    best = max(range(len(made)), key=lambda i: sum(made[i].report.outputs.values()))
    if settings.wide == "none":
        return made[best]
    return _quantized(tried[best][0], samples, replace(tried[best][1], wide=settings.wide), made[best].graph)


def _quantized(
    graph: Graph, samples: Sequence[Sequence[Array]], settings: Options, int8: Graph | None = None
) -> Quantized:
    """`graph` by these settings; `int8` is what came of it without 16 bits anywhere, if they ask for some."""
    groups = group(graph)
    statistics = calibrate(groups, samples)
    quants, bought = choose(groups, statistics, samples, settings.ranges), tuple[Widened, ...]()
    if int8 is not None:
        stored = with_weights(groups.graph, int8)
        measured = Measured(groups, large_enough(groups, quants), statistics, samples, stored)
        groups, quants, bought = widened(measured, settings.wide, settings.wide_gain)
    made = assign(groups, large_enough(groups, quants))
    if settings.rounding != "nearest":
        made = refine(groups.graph, made, samples, settings.rounding == "adaptive")
    check_graph(made)
    report = compare(groups.graph, made, samples[:COMPARED])
    return Quantized(made, replace(report, wide=bought))
