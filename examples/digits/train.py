# SPDX-License-Identifier: Apache-2.0
"""Trains the digit recogniser that the demo compiles: 8 x 8 grey images from scikit-learn, ten classes.

    pip install -e '.[train,examples]'
    python examples/digits/train.py

Writes digits.tflite (int8) beside this file. Seeds are fixed; the committed file was made with TensorFlow 2.21.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from data import load_digits

HERE = Path(__file__).parent


def network() -> tf.keras.Model:
    """A separable convolution between two ordinary ones: 2 700 weights."""
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(12, 3, padding="same", activation="relu"),
            layers.DepthwiseConv2D(3, padding="same", activation="relu"),
            layers.Conv2D(24, 1, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(24, 3, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )


def main() -> None:
    tf.keras.utils.set_random_seed(7)
    train, test = load_digits()
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(train.images, train.labels, batch_size=32, epochs=60, verbose=0)
    print("float accuracy:", model.evaluate(test.images, test.labels, verbose=0)[1])

    def samples() -> Iterator[list[np.ndarray]]:
        for image in train.images[:300]:
            yield [image[None]]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (HERE / "digits.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    main()
