# SPDX-License-Identifier: Apache-2.0
"""All constants of a program as one block of bytes, which can be replaced without linking again."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.ir.program import Constant

#: The first word of a blob: "TGW1" in the order of its bytes.
MAGIC = 0x31574754
#: Bytes of the header: magic, layout, bytes of data, CRC-32 of the data, each a little-endian uint32.
HEADER = 16


@dataclass(frozen=True)
class Blob:
    """What the header of a blob says. `layout` is a fingerprint of the program that reads it."""

    magic: int
    layout: int
    bytes: int
    crc: int


def in_blob(constants: Sequence[Constant]) -> list[Constant]:
    """`constants` in the order in which they need no padding: those with the largest elements first."""
    return sorted(constants, key=lambda constant: -constant.values.itemsize)


def fingerprint(source: str) -> int:
    """32 bits of the SHA-256 of a C source without its constants: programs that may share blobs have the same."""
    return int.from_bytes(hashlib.sha256(source.encode()).digest()[:4], "little")


def blob(constants: Sequence[Constant], layout: int) -> tuple[Blob, bytes]:
    """The header and all bytes of the blob of `constants` (in its order): what lies at ``<name>_weights``."""
    data = b"".join(_bytes(constant) for constant in constants)
    head = Blob(MAGIC, layout, len(data), zlib.crc32(data))
    return head, struct.pack("<4I", head.magic, head.layout, head.bytes, head.crc) + data


def _bytes(constant: Constant) -> bytes:
    """The elements in little-endian order; C has no empty arrays, so that an empty one is a zero."""
    values = constant.values.ravel() if constant.values.size else np.zeros(1, constant.values.dtype)
    return values.astype(values.dtype.newbyteorder("<")).tobytes()
