# SPDX-License-Identifier: Apache-2.0
"""Random small int8 networks, in which some channels saturate for every input and some weights are zero."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tests.tflite_builder import ModelBuilder

#: Scale and zero point of tensors: few, so that many tensors can be joined.
QUANTS = ((0.1, -5), (0.1, -128))
STEPS = ("conv", "conv", "depthwise", "add", "mul", "concat", "pool", "table", "pad", "branch")
#: A bias that no sum of products here outweighs.
LARGE = 4_000_000


@dataclass(frozen=True)
class Image:
    """A tensor of the model: its number, NHWC shape, and which of `QUANTS` it has."""

    number: int
    shape: tuple[int, int, int, int]
    quant: int


@dataclass
class Network:
    """A network in the making; `images` are the tensors it has computed."""

    rng: np.random.Generator
    b: ModelBuilder = field(default_factory=ModelBuilder)
    images: list[Image] = field(default_factory=list)

    def image(self, shape: tuple[int, ...], quant: int | None = None) -> Image:
        quant = int(self.rng.integers(len(QUANTS))) if quant is None else quant
        made = Image(self.b.tensor(shape, "int8", *QUANTS[quant]), shape, quant)  # type: ignore[arg-type]
        self.images.append(made)
        return made

    def pick(self) -> Image:
        """One of the last few images."""
        return self.images[-int(self.rng.integers(1, min(len(self.images), 3) + 1))]

    def weights(self, shape: tuple[int, ...], axis: int, reads: int | None) -> list[int]:
        """Weights of random values, a few output channels (`axis`) and input channels (`reads`) zero, and a bias that
        saturates a third of the output channels one way or the other."""
        rng, channels = self.rng, shape[axis]
        values = rng.integers(-127, 128, shape)
        for dim in [axis] if reads is None else [axis, reads]:
            np.moveaxis(values, dim, 0)[rng.random(shape[dim]) < 0.15] = 0
        scales = [float(s) for s in rng.uniform(0.001, 0.003, channels)]
        bias = rng.integers(-20_000, 20_000, channels)
        bias += rng.choice([-LARGE, 0, 0, 0, LARGE], channels)
        tensors = [self.b.tensor(shape, "int8", scales, 0, values, axis=axis)]
        return (
            [*tensors, self.b.tensor((channels,), "int32", scales, 0, bias)] if rng.random() < 0.8 else [*tensors, -1]
        )

    def conv(self, x: Image, depthwise: bool = False) -> None:
        rng, (n, height, width, channels) = self.rng, x.shape
        size = int(rng.integers(1, min(height, width, 3) + 1))
        same, stride = bool(rng.integers(2)), int(rng.integers(1, 3))
        filters = channels * int(rng.integers(1, 3)) if depthwise else int(rng.integers(1, 6))
        grouped = not depthwise and channels % 2 == 0 and rng.random() < 0.2
        depth, filters = (channels // 2, 2 * filters) if grouped else (channels, filters)
        shape = (1, size, size, filters) if depthwise else (filters, size, size, depth)
        weights = self.weights(shape, 3 if depthwise else 0, None if depthwise else 3)
        sides = [-(-s // stride) if same else (s - size) // stride + 1 for s in (height, width)]
        y = self.image((n, *sides, filters))
        options = {"padding": int(not same), "strideH": stride, "strideW": stride}
        options |= {"dilationHFactor": 1, "dilationWFactor": 1, "fusedActivationFunction": int(rng.choice([0, 1, 3]))}
        if depthwise:
            options["depthMultiplier"] = filters // channels
        op, table = ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions") if depthwise else ("CONV_2D", "Conv2DOptions")
        self.b.op(op, [x.number, *weights], [y.number], table, **options)

    def binary(self, x: Image, op: str) -> None:
        others = [i for i in self.images if i.shape == x.shape]
        other = others[int(self.rng.integers(len(others)))].number
        if self.rng.random() < 0.3:
            values = self.rng.integers(-128, 128, x.shape[-1])
            other = self.b.tensor((x.shape[-1],), "int8", *QUANTS[0], values)
        y = self.image(x.shape)
        options = {"fusedActivationFunction": int(self.rng.integers(2))}
        self.b.op(op, [x.number, other], [y.number], f"{op.capitalize()}Options", **options)

    def concat(self, x: Image) -> None:
        axis = int(self.rng.choice([3, 3, 3, 1]))
        fits = [i for i in self.images if i.quant == x.quant and _rest(i, axis) == _rest(x, axis)]
        parts = [fits[int(self.rng.integers(len(fits)))] for _ in range(2)]
        shape = list(x.shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        y = self.image(tuple(shape), x.quant)
        self.b.op("CONCATENATION", [p.number for p in parts], [y.number], "ConcatenationOptions", axis=axis)

    def pool(self, x: Image) -> None:
        n, height, width, channels = x.shape
        same, op = bool(self.rng.integers(2)), str(self.rng.choice(["AVERAGE_POOL_2D", "MAX_POOL_2D"]))
        window = min(2, height, width)
        sides = [s if same else s - window + 1 for s in (height, width)]
        y = self.image((n, *sides, channels), x.quant)
        options = {"filterHeight": window, "filterWidth": window, "strideH": 1, "strideW": 1, "padding": int(not same)}
        self.b.op(op, [x.number], [y.number], "Pool2DOptions", **options)

    def table(self, x: Image) -> None:
        op = str(self.rng.choice(["ELU", "HARD_SWISH", "RELU", "QUANTIZE"]))
        y = self.image(x.shape)
        self.b.op(op, [x.number], [y.number])

    def pad(self, x: Image) -> None:
        n, height, width, channels = x.shape
        y = self.image((n, height + 1, width + 1, channels), x.quant)
        self.b.op("PAD", [x.number, self.b.constant([[0, 0], [1, 0], [0, 1], [0, 0]])], [y.number], "PadOptions")

    def step(self) -> None:
        x, kind = self.pick(), str(self.rng.choice(STEPS))
        if kind in ("add", "mul"):
            self.binary(x, kind.upper())
        elif kind == "branch":
            self.conv(x)
            self.conv(self.images[-1], depthwise=True)
        elif kind in ("conv", "depthwise"):
            self.conv(x, kind == "depthwise")
        else:
            getattr(self, kind)(x)

    def dense(self, x: Image) -> int:
        """The number of a dense layer's output, which reads `x` laid flat."""
        depth, units = int(np.prod(x.shape)), int(self.rng.integers(1, 5))
        flat = self.b.tensor((1, depth), "int8", *QUANTS[x.quant])
        self.b.op("RESHAPE", [x.number, self.b.constant([1, depth])], [flat], "ReshapeOptions", newShape=[1, depth])
        y = self.b.tensor((1, units), "int8", 0.2, 3)
        self.b.op("FULLY_CONNECTED", [flat, *self.weights((units, depth), 0, 1)], [y], "FullyConnectedOptions")
        return y


def _rest(image: Image, axis: int) -> tuple[int, ...]:
    return image.shape[:axis] + image.shape[axis + 1 :]


def network(seed: int) -> bytes:
    """A network of up to ten operators on images, a dense layer, and sometimes an image as second output."""
    net = Network(np.random.default_rng(seed))
    rng = net.rng
    x = net.image((1, int(rng.integers(3, 6)), int(rng.integers(3, 6)), int(rng.integers(1, 4))))
    net.conv(x)
    for _ in range(int(rng.integers(1, 7))):
        net.step()
    outputs = [net.dense(net.images[-1])]
    if rng.random() < 0.2:
        outputs.append(net.images[-2].number)
    return net.b.finish([x.number], [o for o in outputs if o != x.number])
