# SPDX-License-Identifier: Apache-2.0
"""The corpus of converted networks, for the tests that read it."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

FILE = Path(os.environ.get("TINYGEN_CORPUS", Path(__file__).parent / "corpus.zip"))
#: Networks with int16 activations.
WIDE = Path(__file__).parent / "corpus16.zip"

#: Networks of the committed corpus that tinygen refuses, with words of the reason: one whose products overflow 32 bits
#: in TFLM too, and one in which the converter left an UNPACK in float.
REFUSED = {"100080.tflite": "The product of the input scales", "100137.tflite": "no kernel computes float32"}


@cache
def files(file: Path = FILE) -> dict[str, bytes]:
    """Every network of the corpus by name."""
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def supported() -> Iterator[tuple[str, bytes]]:
    """The networks that tinygen compiles."""
    yield from ((name, data) for name, data in files().items() if name not in REFUSED)
