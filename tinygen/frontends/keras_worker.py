# SPDX-License-Identifier: Apache-2.0
"""The process that runs TensorFlow: python -m tinygen.frontends.keras_worker MODEL OUT SHAPES.

MODEL is a .keras or .h5 file or a SavedModel folder, OUT the .tflite file to write, SHAPES a JSON object of the sizes
of inputs. The last line of the output is a JSON list of what was decided or, where the exit code is one of
`tinygen.errors`, of the sentence that says why.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tinygen.errors import ModelError, TinygenError, UnsupportedError, UsageError

SIGNATURE = "serving_default"


def read(path: Path) -> tuple[Any, dict[str, Any]]:
    """The model, and the `tf.TensorSpec` of each input by name; raises `ModelError`."""
    try:
        model = tf.saved_model.load(str(path)) if path.is_dir() else tf.keras.models.load_model(path, compile=False)
    except Exception as error:  # TensorFlow raises whatever its reader happens to raise
        raise ModelError(f"TensorFlow cannot read it: {one_line(error)}") from None
    if not path.is_dir():
        return model, {tensor.name: tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in model.inputs}
    if SIGNATURE not in model.signatures:
        raise ModelError(f"the SavedModel has no signature '{SIGNATURE}': export it with model.export(folder)")
    return model, dict(model.signatures[SIGNATURE].structured_input_signature[1])


def write_static(model: Any, static: Mapping[str, Any], folder: str) -> None:
    """Save the model for inputs of these sizes only."""
    if hasattr(model, "export"):
        model.export(folder, input_signature=list(static.values()), verbose=False)
        return
    holder = tf.Module()
    holder.model = model  # whose variables have to be saved, too
    concrete = tf.function(lambda **given: model.signatures[SIGNATURE](**given)).get_concrete_function(**static)
    tf.saved_model.save(holder, folder, signatures={SIGNATURE: concrete})


def fixed(specs: Mapping[str, Any], shapes: Mapping[str, Sequence[int]], notes: list[str]) -> Iterator[tuple[str, Any]]:
    """Each input's name and `tf.TensorSpec` with all sizes known: the batch is 1 unless `shapes` says otherwise."""
    unknown = [name for name in shapes if name not in specs]
    if unknown:
        names = ", ".join(specs)
        raise UsageError(f"--shape names input '{unknown[0]}', which the model does not have; its inputs: {names}")
    for name, spec in specs.items():
        sizes = list(spec.shape)
        given = list(shapes.get(name, sizes))
        if len(given) != len(sizes) or any(b is not None and a != b for a, b in zip(given, sizes, strict=True)):
            raise UsageError(f"--shape gives input '{name}' the sizes {given}; expected {sizes}")
        if given and given[0] is None:
            notes.append(f"input '{name}': the batch dimension is taken as 1")
            given[0] = 1
        if None in given:
            example = ",".join(str(n or 32) for n in given)
            raise UnsupportedError(
                f"input '{name}' has a dynamic dimension (axis {given.index(None)}): give its size, as in "
                f"--shape {name}={example}"
            )
        yield name, tf.TensorSpec(given, spec.dtype, name)


def convert(path: Path, shapes: Mapping[str, Sequence[int]], notes: list[str]) -> bytes:
    """The model as a float TFLite file, by way of a SavedModel with static shapes."""
    model, specs = read(path)
    static = dict(fixed(specs, shapes, notes))
    try:
        with tempfile.TemporaryDirectory(prefix="tinygen-") as folder:
            write_static(model, static, folder)
            return bytes(tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE]).convert())
    except Exception as error:  # as above
        raise UnsupportedError(
            f"TensorFlow cannot convert it to TFLite: {one_line(error)}; export the model as .tflite or .onnx"
        ) from None


def one_line(error: Exception) -> str:
    """What `error` says, on one line that is not too long."""
    text = " ".join(str(error).split())
    return text[:300] or type(error).__name__


def main(words: Sequence[str]) -> int:
    notes: list[str] = []
    try:
        Path(words[1]).write_bytes(convert(Path(words[0]), json.loads(words[2]), notes))
    except TinygenError as error:
        print(f"\n{json.dumps([str(error)])}")
        return error.exit_code
    print(f"\n{json.dumps(notes)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
