# SPDX-License-Identifier: Apache-2.0
"""Compression: int8 Graph + samples of its inputs → a smaller int8 Graph that means nearly the same."""

from __future__ import annotations

from tinygen.compress.base import Evidence, Setting, Stage, Technique
from tinygen.compress.runner import Bought, compress

__all__ = ["Bought", "Evidence", "Setting", "Stage", "Technique", "compress"]
