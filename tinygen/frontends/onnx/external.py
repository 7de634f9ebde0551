# SPDX-License-Identifier: Apache-2.0
"""Weights that an ONNX model keeps in files beside it, as PyTorch's exporter does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx

from tinygen.errors import ModelError
from tinygen.frontends.tflite import printable

#: Larger than all weights of any model for a microcontroller.
MAX_BYTES = 1 << 28
_ONE_FILE = "or save the model as one file, with onnx.save(onnx.load('model.onnx'), 'whole.onnx')"


def read_in(model: onnx.ModelProto, folder: Path) -> bytes:
    """Give `model` the weights that lie in files in `folder`; returns their bytes in order, empty if it has none.

    Raises `ModelError` if a file is absent, too short, or outside `folder`.
    """
    read = [(tensor, _data(tensor, folder)) for tensor in _outside(model)]
    for tensor, data in read:
        tensor.raw_data = data
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
    return b"".join(data for _, data in read)


def _outside(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    return (t for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL)


def _data(tensor: onnx.TensorProto, folder: Path) -> bytes:
    """The bytes of one tensor. The entries say a path below `folder`, and perhaps where in the file the bytes lie."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    name, location = printable(tensor.name.encode()), printable(entries.get("location", "").encode())
    file = folder / entries.get("location", "")
    try:
        if not file.resolve().is_relative_to(folder.resolve()):
            raise ModelError(f"initializer '{name}' keeps its data in '{location}', outside the model's folder")
        size = file.stat().st_size if file.is_file() else None
        start, count = int(entries.get("offset", 0)), int(entries.get("length", size or 0))
        if size is None:
            raise ModelError(
                f"initializer '{name}' keeps its data in '{location}', which is not beside the model: copy it there, "
                + _ONE_FILE
            )
        if not (0 <= start <= start + count <= size and count <= MAX_BYTES):
            raise ModelError(f"initializer '{name}' keeps its data beyond the end of '{location}': export it again")
        with file.open("rb") as opened:
            opened.seek(start)
            return bytes(opened.read(count))
    except (OSError, ValueError) as error:
        what = f"initializer '{name}' keeps its data in '{location}'"
        raise ModelError(f"{what}, which cannot be read: {error}") from None
