# SPDX-License-Identifier: Apache-2.0
"""Random small networks, quantized to int8 by TensorFlow's own converter: the corpus of the differential tests.

    python -m tests.differential.generate corpus.zip --count 300 --seed 1

Needs the `train` extra. The same seed and TensorFlow version give the same networks.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from tflite_micro.python.tflite_micro import runtime

from tinygen.frontends import tflite
from tinygen.ops import problems_of

Rng = np.random.Generator
Layer = Callable[[Rng, tf.Tensor], tf.Tensor]


def weights(rng: Rng, *shape: int) -> tf.Tensor:
    return tf.constant(rng.normal(0, 1 / np.sqrt(np.prod(shape[:-1])), shape), tf.float32)


def activation(rng: Rng, x: tf.Tensor) -> tf.Tensor:
    """None most of the time, so that other fusions happen too."""
    choices = [lambda v: v, lambda v: v, tf.nn.relu, tf.nn.relu6, lambda v: tf.clip_by_value(v, -1.0, 1.0)]
    return choices[rng.integers(len(choices))](x)


def padding(rng: Rng) -> str:
    return str(rng.choice(["SAME", "VALID"]))


def conv(rng: Rng, x: tf.Tensor) -> tf.Tensor:
    k, filters = [int(v) for v in rng.integers(1, 4, 2)], int(rng.integers(1, 9))
    stride = [int(v) for v in rng.integers(1, 3, 2)]
    dilation = [1, 1] if max(stride) > 1 else [int(v) for v in rng.integers(1, 3, 2)]
    y = tf.nn.conv2d(x, weights(rng, *k, x.shape[-1], filters), stride, "SAME", dilations=dilation)
    return activation(rng, y + weights(rng, filters) if rng.random() < 0.8 else y)


def depthwise(rng: Rng, x: tf.Tensor) -> tf.Tensor:
    multiplier, stride = int(rng.integers(1, 3)), int(rng.integers(1, 3))
    w = weights(rng, 3, int(rng.integers(1, 4)), x.shape[-1], multiplier)
    y = tf.nn.depthwise_conv2d(x, w, [1, stride, stride, 1], "SAME")
    return activation(rng, y + weights(rng, y.shape[-1]))


def transpose_conv(rng: Rng, x: tf.Tensor) -> tf.Tensor:
    _, h, w, c = x.shape
    stride, filters = int(rng.integers(1, 3)), int(rng.integers(1, 5))
    kernel = weights(rng, 3, 3, filters, c)
    return tf.nn.conv2d_transpose(x, kernel, [1, h * stride, w * stride, filters], stride, "SAME")


def pool(rng: Rng, x: tf.Tensor) -> tf.Tensor:
    op = [tf.nn.max_pool2d, tf.nn.avg_pool2d][rng.integers(2)]
    return op(x, [int(v) for v in rng.integers(1, 4, 2)], [int(v) for v in rng.integers(1, 3, 2)], "SAME")


def unary(rng: Rng, x: tf.Tensor) -> tf.Tensor:
    functions = [
        tf.nn.relu, tf.nn.relu6, tf.tanh, tf.sigmoid, tf.nn.elu, tf.abs, tf.nn.leaky_relu,
        lambda v: v * tf.nn.relu6(v + 3.0) / 6.0, tf.nn.softmax, tf.nn.log_softmax,
        lambda v: tf.nn.l2_normalize(v, -1), lambda v: tf.math.rsqrt(tf.abs(v) + 0.5),
        # these stay in float between DEQUANTIZE and QUANTIZE
        lambda v: tf.sqrt(tf.abs(v)), lambda v: -tf.tanh(v),
    ]  # fmt: skip
    return functions[rng.integers(len(functions))](x)


def prelu(rng: Rng, x: tf.Tensor) -> tf.Tensor:
    alpha = tf.constant(rng.uniform(0, 0.5, (1, 1, x.shape[-1])), tf.float32)
    return tf.nn.relu(x) + -alpha * tf.nn.relu(-x)


def residual(rng: Rng, x: tf.Tensor) -> tf.Tensor:
    other = [conv_same, lambda r, v: tf.tanh(v), lambda r, v: weights(r, *v.shape[1:])[None]][rng.integers(3)](rng, x)
    op = [tf.add, tf.subtract, tf.multiply, tf.maximum, tf.minimum, tf.math.squared_difference][rng.integers(6)]
    return activation(rng, op(x, other))


def conv_same(rng: Rng, x: tf.Tensor) -> tf.Tensor:
    return tf.nn.conv2d(x, weights(rng, 1, 1, x.shape[-1], x.shape[-1]), 1, "SAME")


def scaled(rng: Rng, x: tf.Tensor) -> tf.Tensor:
    shape = [(1,), (x.shape[-1],), (1, x.shape[2], 1), (x.shape[1], 1, x.shape[-1])][rng.integers(4)]
    return [tf.add, tf.multiply, tf.subtract][rng.integers(3)](x, weights(rng, *shape))


def concat(rng: Rng, x: tf.Tensor) -> tf.Tensor:
    return tf.concat([x, conv_same(rng, x), tf.nn.relu(x)][: int(rng.integers(2, 4))], int(rng.integers(1, 4)))


def pad(rng: Rng, x: tf.Tensor) -> tf.Tensor:
    amounts = [[0, 0], *([int(v) for v in rng.integers(0, 3, 2)] for _ in range(2)), [0, 0]]
    if rng.random() < 0.3:
        return tf.pad(x, [[0, 0], [1, 1], [1, 0], [0, 0]], "REFLECT" if min(x.shape[1:3]) > 1 else "SYMMETRIC")
    y = tf.pad(x, amounts)
    return tf.nn.conv2d(y, weights(rng, 2, 2, x.shape[-1], 3), 1, "VALID") if min(y.shape[1:3]) > 1 else y


def rearrange(rng: Rng, x: tf.Tensor) -> tf.Tensor:
    _, h, w, c = x.shape
    choices = [
        lambda: tf.transpose(x, [0, *rng.permutation([1, 2, 3])]),
        lambda: tf.reshape(x, [1, w, h, c]),
        lambda: tf.space_to_depth(x, 2) if h % 2 + w % 2 == 0 else tf.nn.depth_to_space(tf.concat([x] * 4, 3), 2),
        lambda: x[:, :: int(rng.integers(1, 3)), :: int(rng.integers(1, 3)), :],
        lambda: tf.slice(x, [0, 0, 0, 0], [1, max(1, h - 1), w, max(1, c - 1)]),
        lambda: tf.add_n(tf.split(x, [1, h - 1], 1)[:1]) if h > 1 else x,
        lambda: tf.stack(tf.unstack(x, axis=3)[::-1], axis=3),
        lambda: tf.gather(x, [int(v) for v in rng.integers(0, h, 3)], axis=1),
        lambda: tf.squeeze(tf.expand_dims(x, 0), 0),
        # no padding: TFLM leaves it uninitialised
        lambda: tf.space_to_batch(x, [1 + (h % 2 == 0), 1 + (w % 2 == 0)], [[0, 0], [0, 0]])[:1],
    ]
    return choices[rng.integers(len(choices))]()


def resize(rng: Rng, x: tf.Tensor) -> tf.Tensor:
    method = ["nearest", "bilinear"][rng.integers(2)]
    return tf.image.resize(x, [int(v) for v in rng.integers(2, 10, 2)], method=method)


def attention(rng: Rng, x: tf.Tensor) -> tf.Tensor:
    _, h, w, c = x.shape
    flat = tf.reshape(x, [1, h * w, c])
    scores = tf.matmul(flat, tf.tanh(flat), transpose_b=True)
    return tf.reshape(tf.matmul(tf.nn.softmax(scores), flat), [1, h, w, c]) if h * w <= 64 else x


LAYERS: tuple[Layer, ...] = (
    conv, conv, depthwise, depthwise, transpose_conv, pool, unary, unary, prelu, residual, residual, scaled,
    concat, pad, rearrange, rearrange, resize, attention,
)  # fmt: skip


def head(rng: Rng, x: tf.Tensor) -> tf.Tensor:
    """What a network ends with."""
    kind = rng.integers(6)
    if kind == 0:
        return x
    if kind == 1:
        return [tf.reduce_mean, tf.reduce_sum, tf.reduce_max, tf.reduce_min][rng.integers(4)](x, [1, 2])
    if kind == 2:
        return tf.argmax(tf.reduce_mean(x, [1, 2]), -1, output_type=tf.int32)
    flat = tf.reshape(x, [1, -1])
    y = tf.matmul(flat, weights(rng, flat.shape[-1], 5)) + weights(rng, 5)
    return tf.nn.softmax(y) if kind == 3 else activation(rng, y)


def network(seed: int) -> tuple[Callable[[tf.Tensor], tf.Tensor], tf.TensorSpec]:
    """A random function of one image, and the image's type."""
    shape = [1, *(int(v) for v in np.random.default_rng(seed).integers([3, 3, 1], [10, 10, 7]))]

    def function(x: tf.Tensor) -> tf.Tensor:
        rng = np.random.default_rng([seed, 1])
        for _ in range(int(rng.integers(1, 6))):
            y = LAYERS[rng.integers(len(LAYERS))](rng, x)
            if np.prod(y.shape) <= 4096:
                x = y
        return head(rng, x)

    return function, tf.TensorSpec(shape, tf.float32)


def convert(seed: int, wide: bool) -> bytes:
    """The TFLite file of network number `seed`, in int8, or `wide`: with int16 activations."""
    function, spec = network(seed)
    concrete = tf.function(function, input_signature=[spec]).get_concrete_function()

    def samples() -> Iterator[list[np.ndarray]]:
        rng = np.random.default_rng([seed, 2])
        for _ in range(6):
            yield [rng.normal(size=spec.shape).astype(np.float32)]

    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    sets = tf.lite.OpsSet
    int16 = sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    converter.target_spec.supported_ops = [int16 if wide else sets.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int16 if wide else tf.int8
    return bytes(converter.convert())


#: Words of the reasons for which tinygen refuses what the converter makes: layers that it leaves in float between int8
#: ones, and products that overflow 32 bits in TFLM, too.
KNOWN = ("A float layer inside a quantized model", "The product of the input scales")


def refusal(data: bytes) -> str:
    """Why a network proves nothing: no operator, or TFLM gets it wrong or does not run it, or tinygen has to refuse it
    for a reason in `KNOWN`. Empty if it is good."""
    graph = tflite.read(Path("network.tflite"), data)
    if not graph.nodes:
        return "has no operator"
    if any(n.op == "RELU6" and graph.types[n.inputs[0]].quant != graph.types[n.outputs[0]].quant for n in graph.nodes):
        return "TFLM's RELU6 ignores the output's scale"
    known = (text for _, text in problems_of(graph) if any(words in text for words in KNOWN))
    if problem := next(known, ""):
        return f"refused: {problem}"
    try:
        runtime.Interpreter.from_bytes(data, arena_size=1 << 22).invoke()
    except (RuntimeError, ValueError) as error:
        return f"not run by TFLM: {error}"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--wide", action="store_true", help="int16 activations; only what tinygen compiles")
    options = parser.parse_args()
    buffer, refused = io.BytesIO(), 0
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for seed in range(options.seed * 100_000, options.seed * 100_000 + options.count):
            try:
                data = convert(seed, options.wide)
                reason = refusal(data)
                if options.wide and not reason:
                    reason = "; ".join(text for _, text in problems_of(tflite.read(Path("network.tflite"), data)))
            except Exception as error:  # the converter refuses some networks, each with errors of its own kind
                reason = f"not converted: {str(error).splitlines()[0][:150]}"
            if reason:
                refused += 1
                print(f"{seed}: {reason}")
                continue
            archive.writestr(zipfile.ZipInfo(f"{seed}.tflite"), data, zipfile.ZIP_DEFLATED)
    options.out.write_bytes(buffer.getvalue())
    print(f"{options.count - refused} networks, {refused} left out")


if __name__ == "__main__":
    main()
