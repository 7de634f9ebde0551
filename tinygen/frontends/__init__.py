"""Frontends: model file → Graph."""

from __future__ import annotations

from pathlib import Path

from tinygen.errors import ModelError, UsageError
from tinygen.frontends import tflite
from tinygen.ir.graph import Graph

#: Larger than any model for a microcontroller.
MAX_FILE_BYTES = 1 << 28


#: What a file of another kind begins with, and what to do with it.
_OTHERS = (
    (b"", "is empty: copy or export it again"),
    (b"\x89HDF", "is a Keras model in HDF5: convert it with tf.lite.TFLiteConverter to an int8 .tflite file"),
    (b"PK\x03\x04", "is a zip archive: unpack it, or convert a .keras model to an int8 .tflite file"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the model itself: fetch the model with 'git lfs pull'"),
    (b"<", "is an HTML or XML text: download the model itself"),
)
_ONNX = "is an ONNX model, which is not supported yet: convert it to an int8 .tflite file"
_UNKNOWN = "is not a TFLite model (bytes 4 to 7 are not 'TFL3'): export the model as an int8 .tflite file"


def read_bytes(path: Path) -> bytes:
    """The content of a model file; raises `UsageError` if it cannot be read, `ModelError` if it is absurdly large."""
    try:
        if path.is_dir():
            raise UsageError(f"'{path}' is a folder; expected a .tflite file (convert a SavedModel with TensorFlow)")
        size, regular = path.stat().st_size, path.is_file()
        if size > MAX_FILE_BYTES:
            raise ModelError(f"{path.name}: {size} bytes is too large for a microcontroller's model")
        if not regular:  # a pipe or a device may never end
            raise UsageError(f"'{path}' is not a regular file; expected a .tflite file")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise UsageError(f"cannot read model '{path}': {getattr(error, 'strerror', None) or error}") from None


def load(path: Path) -> Graph:
    """The graph in the model file `path`, whatever its format."""
    return tflite.read(path, _tflite_bytes(path))


def operators(path: Path) -> list[str]:
    """The operators of a model file in order, supported or not."""
    return tflite.operators(path, _tflite_bytes(path))


def _tflite_bytes(path: Path) -> bytes:
    data = read_bytes(path)
    if tflite.is_tflite(data):
        return data
    raise ModelError(f"{path.name}: the file {_what_instead(path, data)}")


def _what_instead(path: Path, data: bytes) -> str:
    """What a file that is not TFLite seems to be, and what to do."""
    if path.suffix == ".onnx":
        return _ONNX
    return next((what for start, what in _OTHERS if data.startswith(start) and (start or not data)), _UNKNOWN)
