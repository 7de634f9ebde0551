# SPDX-License-Identifier: Apache-2.0
"""Frontends: model file → Graph."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tinygen.errors import ModelError, TinygenError, UsageError
from tinygen.frontends import keras, tflite
from tinygen.ir import store
from tinygen.ir.graph import Graph
from tinygen.ops import all_ops

#: Larger than any model for a microcontroller.
MAX_FILE_BYTES = 1 << 28


#: Endings of graphs that tinygen wrote, and what zip archives, which they are, begin with.
STORED, _ZIP = (".tg", ".tgm"), b"PK\x03\x04"
#: What a file of another kind begins with, and what to do with it.
_OTHERS = (
    (b"", "is empty: copy or export it again"),
    (b"\x89HDF", "is HDF5: if it is a Keras model, give it a name that ends in .h5"),
    (_ZIP, "is a zip archive: unpack it, or if it is a Keras model, give it a name that ends in .keras"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the model itself: fetch the model with 'git lfs pull'"),
    (b"<", "is an HTML or XML text: download the model itself"),
)
_UNKNOWN = "is not a TFLite model (bytes 4 to 7 are not 'TFL3') and no ONNX model: export it as one of them"
#: An ONNX file begins with its version (field 1, one byte), and goes on with another field of `ModelProto`.
_ONNX_VERSIONS, _ONNX_FIELDS = range(1, 32), b"\x12\x1a\x22\x28\x32\x3a\x42\x72\xa2\xca"


@dataclass(frozen=True)
class Loaded:
    """A model file's graph, and a line for each thing that was decided for the user."""

    graph: Graph
    notes: tuple[str, ...] = ()


def read_bytes(path: Path) -> bytes:
    """The content of a model file; raises `UsageError` if it cannot be read, `ModelError` if it is absurdly large."""
    try:
        if path.is_dir():
            raise UsageError(f"'{path}' is a folder; expected a .tflite, .onnx or .keras file, or a SavedModel folder")
        size, regular = path.stat().st_size, path.is_file()
        if size > MAX_FILE_BYTES:
            raise ModelError(f"{path.name}: {size} bytes is too large for a microcontroller's model")
        if not regular:  # a pipe or a device may never end
            raise UsageError(f"'{path}' is not a regular file; expected a .tflite or .onnx file")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise UsageError(f"cannot read model '{path}': {getattr(error, 'strerror', None) or error}") from None


def load(path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Graph:
    """The graph in the model file `path`, whatever its format; see `load_with_notes`."""
    return load_with_notes(path, shapes).graph


def load_with_notes(path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Loaded:
    """The graph in the model file `path`, whatever its format: TFLite, ONNX, Keras (a SavedModel folder, too), our own.

    `shapes` fixes the dynamic dimensions of inputs, by name; a dynamic first dimension is 1 without it.
    """
    if keras.is_keras(path):
        converted = keras.convert(path, shapes)
        return Loaded(tflite.read(path, converted.data), converted.notes)
    data = _model_bytes(path)
    if not _is_onnx(path, data):
        if shapes:
            raise UsageError(
                f"{path.name}: --shape is for ONNX and Keras models; the inputs of others have their sizes"
            )
        return Loaded(_stored(path, data) if _is_stored(path, data) else tflite.read(path, data))
    # imported here: onnx takes half a second to import, which TFLite models need not wait for
    from tinygen.frontends import onnx

    reading = onnx.read(path, data, shapes)
    return Loaded(reading.graph, reading.notes)


def identified(path: Path) -> tuple[str, str]:
    """The name of the format of the model `path`, and the SHA-256 of its content (with weights in files beside it)."""
    if keras.is_keras(path):
        return keras.format_of(path), keras.fingerprint(path)
    data = path.read_bytes()
    kind = format_of(data)
    if kind == "onnx":
        from tinygen.frontends import onnx

        data += onnx.weights_beside(path, data)
    return kind, hashlib.sha256(data).hexdigest()


def format_of(data: bytes) -> str:
    """The name of the format of a model file with content `data`."""
    if data.startswith(_ZIP):
        return "tinygen"
    return "tflite" if tflite.is_tflite(data) else "onnx"


def operators(path: Path) -> list[str]:
    """The operators of a model file in order, supported or not, by the names of its format."""
    if keras.is_keras(path):
        return tflite.operators(path, keras.convert(path).data)
    data = _model_bytes(path)
    if _is_stored(path, data):
        return [node.op for node in _stored(path, data).nodes]
    if tflite.is_tflite(data):
        return tflite.operators(path, data)
    from tinygen.frontends import onnx

    return onnx.operators(path, data)


def _model_bytes(path: Path) -> bytes:
    """The content of a TFLite or ONNX file, or of one of tinygen's own."""
    data = read_bytes(path)
    if tflite.is_tflite(data) or _is_onnx(path, data) or _is_stored(path, data):
        return data
    what = next((what for start, what in _OTHERS if data.startswith(start) and (start or not data)), _UNKNOWN)
    raise ModelError(f"{path.name}: the file {what}")


def _is_stored(path: Path, data: bytes) -> bool:
    """Whether the file is a graph that tinygen wrote."""
    return path.suffix in STORED and data.startswith(_ZIP)


def _stored(path: Path, data: bytes) -> Graph:
    try:
        return store.loads(data, {name: op.attrs for name, op in all_ops().items()})
    except TinygenError as error:
        raise type(error)(f"{path.name}: {error}") from error


def _is_onnx(path: Path, data: bytes) -> bool:
    """Whether the file looks like an ONNX model, or bears the ending and not the look of something else."""
    looks = len(data) > 2 and data[0] == 8 and data[1] in _ONNX_VERSIONS and data[2] in _ONNX_FIELDS
    other = not data or any(data.startswith(start) for start, _ in _OTHERS if start)
    return looks or (path.suffix == ".onnx" and not other)
