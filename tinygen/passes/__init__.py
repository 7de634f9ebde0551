"""Passes: Graph → Graph. `LOSSLESS` is the list that every build runs."""

from __future__ import annotations

from tinygen.passes.base import Keeps, Outcome, Pass, run_passes
from tinygen.passes.fold_constants import FoldConstants
from tinygen.passes.fold_tables import FoldTables
from tinygen.passes.fuse_activations import FuseActivations
from tinygen.passes.fuse_padding import FusePadding
from tinygen.passes.remove_dead import RemoveDead
from tinygen.passes.remove_identities import RemoveIdentities

__all__ = ["LOSSLESS", "Keeps", "Outcome", "Pass", "run_passes"]

#: What every build does: nothing here changes a bit of any output.
LOSSLESS: tuple[Pass, ...] = (
    FoldConstants(),
    RemoveDead(),
    RemoveIdentities(),
    FusePadding(),
    FuseActivations(),
    FoldTables(),
    RemoveDead(),
)
