# SPDX-License-Identifier: Apache-2.0
"""What `benchmarks.floats` proves of each model, how far it goes, and the sum of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

CORE = "cortex-m4"
#: How far the float graph may be from its own runtime, relative to the largest output.
TOLERANCE = 1e-4
#: Samples that ranges are found on, and that float answers are compared on; this proves bits, not accuracy.
CALIBRATION, COMPARED = 8, 4
#: Random input sets besides the corners (all smallest, all largest, all zero point); large models get one.
RANDOM, LARGE, MANY_MACS = 5, 1, 20_000_000


@dataclass(frozen=True)
class Proof:
    """What became of a model.

    `state` is ``proved``, ``host only`` (too large for the emulated board), ``refused`` or ``failed``, `detail` the
    reason where it is not the first. `kind` is ``float`` or ``int8``, `data` what calibrated it, `apart` how far the
    float graph is from `runtime`; `sets` counts the input sets of each machine.
    """

    model: str
    state: str
    detail: str = ""
    kind: str = ""
    data: str = ""
    runtime: str = ""
    apart: float | None = None
    sets: int = 0


def summary(proofs: Sequence[Proof]) -> str:
    counts = Counter(proof.state for proof in proofs)
    return (
        f"{counts['proved']} of {len(proofs)} models are built for {CORE} and bit-exact: reference = C on this "
        f"computer = C under QEMU; {counts['host only']} on this computer only, {counts['refused']} refused, "
        f"{counts['failed']} failed"
    )
