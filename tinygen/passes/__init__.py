# SPDX-License-Identifier: Apache-2.0
"""Passes: Graph → Graph. `LOSSLESS` is the list that every build runs."""

from __future__ import annotations

from collections.abc import Collection

from tinygen.errors import UsageError
from tinygen.passes.base import Keeps, Outcome, Pass, run_passes
from tinygen.passes.dead_channels import DeadChannels
from tinygen.passes.fold_constants import FoldConstants
from tinygen.passes.fold_tables import FoldTables
from tinygen.passes.fuse_activations import FuseActivations
from tinygen.passes.fuse_padding import FusePadding
from tinygen.passes.remove_dead import RemoveDead
from tinygen.passes.remove_identities import RemoveIdentities

__all__ = ["LOSSLESS", "Keeps", "Outcome", "Pass", "lossless", "run_passes"]

#: What every build does: nothing here changes a bit of any output.
LOSSLESS: tuple[Pass, ...] = (
    FoldConstants(),
    RemoveDead(),
    RemoveIdentities(),
    FusePadding(),
    FuseActivations(),
    DeadChannels(),
    FoldConstants(),
    RemoveIdentities(),
    FoldTables(),
    RemoveDead(),
)


def lossless(without: Collection[str] = ()) -> tuple[Pass, ...]:
    """`LOSSLESS` without the passes of these names. Raises `UsageError` for a name that no pass has."""
    names = {step.name for step in LOSSLESS}
    for name in without:
        if name not in names:
            raise UsageError(f"--without {name}: expected one of {', '.join(sorted(names))}")
    return tuple(step for step in LOSSLESS if step.name not in without)
