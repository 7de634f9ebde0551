# SPDX-License-Identifier: Apache-2.0
"""Pictures and sounds as arrays."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.errors import ToolError, UsageError
from tinygen.ir.types import Array

IMAGES = (".png", ".jpg", ".jpeg", ".bmp")
SOUNDS = (".wav",)
#: Pillow's name of a picture with so many channels.
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
#: Sample types of a wave file by bytes: 8-bit samples are unsigned, wider ones signed.
_SAMPLES: dict[int, np.dtype[Any]] = {1: np.dtype("u1"), 2: np.dtype("<i2"), 4: np.dtype("<i4")}


def read_image(path: Path, channels: int) -> Array:
    """The picture in `path` as uint8 [height, width, channels], converted to grey (1), RGB (3) or RGBA (4).

    Raises `ToolError` without Pillow, `UsageError` if the file cannot be read or there is no such picture.
    """
    if channels not in _MODES:
        raise UsageError(
            f"{path}: pictures have 1, 3 or 4 channels, the model's input has {channels}: pass an .npz file"
        )
    try:
        from PIL import Image, UnidentifiedImageError  # Pillow is an optional extra
    except ImportError:
        raise ToolError(f"{path}: reading pictures needs Pillow: pip install 'tinygen[images]'") from None
    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert(_MODES[channels]), np.uint8)
    except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UsageError(f"{path}: cannot be read as a picture: {_reason(error)}") from None
    return pixels.reshape(*pixels.shape[:2], channels)


def read_sound(path: Path) -> Array:
    """The samples of an uncompressed wave file as float32 in [-1, 1): [time], or [time, channels] if several."""
    try:
        with wave.open(str(path), "rb") as file:
            channels, width = file.getnchannels(), file.getsampwidth()
            data = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise UsageError(f"{path}: cannot be read as a wave file: {_reason(error)}") from None
    if width not in _SAMPLES:
        raise UsageError(f"{path}: expected samples of 8, 16 or 32 bits, got {8 * width}: convert the file")
    values = np.frombuffer(data, _SAMPLES[width]).astype(np.float64)
    half = 2.0 ** (8 * width - 1)
    real = ((values - half if width == 1 else values) / half).astype(np.float32)
    return real.reshape(-1, channels) if channels > 1 else real


def _reason(error: Any) -> str:
    return str(getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__)
