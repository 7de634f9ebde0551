"""Frontends: model file → Graph."""

from __future__ import annotations

from pathlib import Path

from tinygen.errors import ModelError, UsageError
from tinygen.frontends import tflite
from tinygen.ir.graph import Graph

#: Larger than any model for a microcontroller.
MAX_FILE_BYTES = 1 << 30


def read_bytes(path: Path) -> bytes:
    """The content of a model file; raises `UsageError` if it cannot be read, `ModelError` if it is absurdly large."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ModelError(f"{path}: {path.stat().st_size} bytes is too large for a microcontroller's model")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read model '{path}': {error.strerror or error}") from None


def load(path: Path) -> Graph:
    """The graph in the model file `path`, whatever its format."""
    return tflite.read(path, _tflite_bytes(path))


def operators(path: Path) -> list[str]:
    """The operators of a model file in order, supported or not."""
    return tflite.operators(_tflite_bytes(path))


def _tflite_bytes(path: Path) -> bytes:
    data = read_bytes(path)
    if tflite.is_tflite(data):
        return data
    raise ModelError(
        f"{path.name}: not a TFLite model (bytes 4 to 8 are not 'TFL3'); export the model as .tflite (int8)"
    )
