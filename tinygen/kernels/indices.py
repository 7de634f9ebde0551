# SPDX-License-Identifier: Apache-2.0
"""Small numbers as a stream of bytes (``templates/kernels/common/indices.c.j2``), and tables for groups of channels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinygen.ir.types import Array


def digits_of(levels: int) -> int:
    """How many numbers below `levels` are stored in each byte, to that base; 0 where bits take no more room."""
    digits = max(d for d in range(1, 9) if levels**d <= 256)
    return digits if digits * bits_of(levels) > 8 else 0


def bits_of(levels: int) -> int:
    """Bits of a number below `levels`, at least 1."""
    return max(1, (levels - 1).bit_length())


def stream_bytes(levels: int, count: int) -> int:
    """The bytes of `count` numbers below `levels`."""
    digits = digits_of(levels)
    return -(-count // digits) if digits else -(-count * bits_of(levels) // 8)


def pack(indices: Array, levels: int) -> dict[str, int | Array]:
    """`indices` (below `levels`, flat) as the fields of ``indices_t``."""
    digits = digits_of(levels)
    if digits:
        padded = np.zeros(-(-indices.size // digits) * digits, np.int64)
        padded[: indices.size] = indices
        stream = padded.reshape(-1, digits) @ levels ** np.arange(digits)
        return _fields(stream.astype(np.uint8), base=levels, digits=digits, reciprocal=-(-(1 << 16) // levels))
    bits = np.arange(bits_of(levels))
    return _fields(np.packbits(indices[:, None] >> bits & 1, bitorder="little"), bits=len(bits))


def _fields(
    stream: Array, bits: int = 0, base: int = 0, digits: int = 0, reciprocal: int = 0
) -> dict[str, int | Array]:
    return {"bytes": stream, "bits": bits, "base": base, "digits": digits, "reciprocal": reciprocal}


def group_sizes(channels: int) -> Iterator[int]:
    """How many consecutive channels may share a table: what divides them, and powers of two; all of them first."""
    sizes = {size for size in range(1, channels + 1) if channels % size == 0 or size & (size - 1) == 0}
    yield from sorted(sizes, reverse=True)
