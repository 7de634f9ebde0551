# SPDX-License-Identifier: Apache-2.0
"""Float model → the float model that is quantized: affine maps and clamps folded into the layers they belong to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.ir.graph import Graph
from tinygen.ir.types import Array
from tinygen.passes.base import BrokenPassError, Pass, random_inputs
from tinygen.passes.cancel_transposes import CancelTransposes
from tinygen.passes.fold_constants import FoldConstants
from tinygen.passes.fuse_padding import FusePadding
from tinygen.passes.recognize_functions import RecognizeFunctions
from tinygen.passes.remove_dead import RemoveDead
from tinygen.passes.remove_identities import RemoveIdentities
from tinygen.quantize.fold_affine import FoldAffine
from tinygen.quantize.fuse_clamps import FuseClamps
from tinygen.quantize.global_pools import GlobalPools
from tinygen.reference import run_real

#: What every float model goes through. Each keeps what the model means, up to the rounding of float32 weights.
FLOAT: tuple[Pass, ...] = (
    FoldConstants(in_float=True),
    RemoveDead(),
    RecognizeFunctions(),
    CancelTransposes(),
    RemoveIdentities(),
    FusePadding(),
    FoldAffine(),
    FuseClamps(),
    GlobalPools(),
    RemoveDead(),
)

#: How far, relative to the largest output, the prepared model may lie from the model.
TOLERANCE = 1e-4


def prepare(graph: Graph, sample: Sequence[Array] | None = None, passes: Sequence[Pass] = FLOAT) -> Graph:
    """`graph` (float) after `passes`; raises `BrokenPassError` if they changed what it makes of `sample` (or noise)."""
    inputs = sample if sample is not None else random_inputs(graph, seed=0)
    prepared = graph
    for step in passes:
        prepared = step.run(prepared).graph
    before, after = run_real(graph, inputs), run_real(prepared, inputs)
    for name in graph.outputs:
        size = float(np.max(np.abs(np.nan_to_num(before[name], posinf=0, neginf=0)), initial=0.0))
        if not np.allclose(before[name], after[name], rtol=0, atol=TOLERANCE * size + 1e-30, equal_nan=True):
            raise BrokenPassError(f"the preparation of the float model changed its output '{name}'")
    return prepared
