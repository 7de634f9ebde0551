# SPDX-License-Identifier: Apache-2.0
"""Random small int8 networks of layers that can run on a few rows at a time.

Windows, strides, paddings, residuals; resized and padded images, transposed convolutions, and images put together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tinygen.ir.graph import Attrs, Graph, Node
from tinygen.ir.types import DType, Quant, TensorType
from tinygen.ops import all_ops
from tinygen.ops.base import Activation
from tinygen.ops.binary import ActivationAttrs
from tinygen.ops.concatenation import ConcatenationAttrs
from tinygen.ops.convolution import ConvAttrs
from tinygen.ops.pooling import PoolAttrs
from tinygen.ops.reduction import ReducerAttrs
from tinygen.ops.softmax import SoftmaxAttrs
from tinygen.ops.transpose_conv import TransposeConvAttrs
from tinygen.stripes.flow import chain_of
from tinygen.stripes.parts import layer_of
from tinygen.stripes.segment import Flow, Segment, options
from tinygen.target import Target

Shape = tuple[int, int, int, int]
#: Kinds of layers.
PLAIN = ("conv", "depthwise", "pool", "residual", "elu")
ALL = (*PLAIN, "resize", "resize", "pad", "transposed", "joined", "decoder", "alpha")
#: Ways to lay the pixels of two images over each other.
WAYS = ({}, {"align_corners": True}, {"half_pixel_centers": True})
HALF = PoolAttrs((2, 2), (2, 2), (0, 1, 0, 1))


@dataclass
class Network:
    """A network in the making; `x` is the tensor that the next layer reads."""

    rng: np.random.Generator
    x: str = "x"
    nodes: list[Node] = field(default_factory=list)
    types: dict[str, TensorType] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        height, width, depth = (int(self.rng.integers(low, high)) for low, high in ((5, 15), (3, 10), (1, 9)))
        self.types["x"] = TensorType((1, height, width, depth), DType.INT8, self.quant())

    def quant(self) -> Quant:
        return Quant.per_tensor(0.05, int(self.rng.integers(-20, 20)))

    @property
    def shape(self) -> Shape:
        return self.types[self.x].shape  # type: ignore[return-value]

    def constant(self, values: np.ndarray, dtype: DType, quant: Quant | None = None) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = values.astype(dtype.numpy)
        self.types[name] = TensorType(values.shape, dtype, quant)
        return name

    def node(self, op: str, inputs: list[str], shape: tuple[int, ...], attrs: object, quant: Quant) -> None:
        name = f"t{len(self.nodes)}"
        self.types[name] = TensorType(shape, DType.INT8, quant)
        self.nodes.append(Node(name, op, tuple(inputs), (name,), attrs))  # type: ignore[arg-type]
        self.x = name

    def window(self, size: int) -> tuple[int, int, int, int, int, int]:
        """Taps, stride, dilation, padding before and after, and what comes out, along a dimension of `size`."""
        while True:
            taps, stride, dilation = (int(v) for v in self.rng.choice([1, 2, 3, 3, 3, 5], 3))
            stride, dilation = min(stride, 3), 2 if dilation == 2 else 1
            span = (taps - 1) * dilation + 1
            before, after = (int(self.rng.integers(0, min(span, size + 1))) for _ in range(2))
            made = (size + before + after - span) // stride + 1
            if size + before + after >= span and (made - 1) * stride - before < size and made >= 1:
                return taps, stride, dilation, before, after, made

    def conv(self, depthwise: bool, same: bool = False, quant: Quant | None = None, filters: int = 0) -> None:
        _, height, width, depth = self.shape
        y, x = (3, 1, 1, 1, 1, height) if same else self.window(height), self.window(width)
        if same:
            x = (3, 1, 1, 1, 1, width)
        filters = filters or (depth if depthwise or same else int(self.rng.integers(2, 12)))
        shape = (1, y[0], x[0], depth) if depthwise else (filters, y[0], x[0], depth)
        axis = 3 if depthwise else 0
        scales = tuple(float(s) for s in self.rng.uniform(0.001, 0.004, filters))
        weights = self.constant(self.rng.integers(-127, 128, shape), DType.INT8, Quant(scales, (0,) * filters, axis))
        bias = self.constant(self.rng.integers(-5000, 5000, filters), DType.INT32)
        attrs = ConvAttrs(
            stride=(y[1], x[1]),
            dilation=(y[2], x[2]),
            padding=(y[3], y[4], x[3], x[4]),
            activation=Activation(int(self.rng.integers(2))),
        )
        op = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        self.node(op, [self.x, weights, bias], (1, y[5], x[5], filters), attrs, quant or self.quant())

    def pool(self) -> None:
        _, height, width, depth = self.shape
        y, x = self.window(height), self.window(width)
        if y[2] == x[2] == 1:
            attrs = PoolAttrs((y[0], x[0]), (y[1], x[1]), (y[3], y[4], x[3], x[4]))
            op = str(self.rng.choice(["MAX_POOL_2D", "AVERAGE_POOL_2D"]))
            self.node(op, [self.x], (1, y[5], x[5], depth), attrs, self.types[self.x].q)

    def residual(self) -> None:
        """One or two layers around which the values go, too, sometimes through a layer."""
        begin, shape = self.x, self.shape
        for _ in range(int(self.rng.integers(1, 3))):
            self.conv(bool(self.rng.integers(2)), same=True)
        left = self.x
        if self.rng.random() < 0.5:
            self.x = begin
            self.conv(False, same=True)
            begin = self.x
        pair = [begin, left] if self.rng.random() < 0.5 else [left, begin]
        self.node("ADD", pair, shape, ActivationAttrs(Activation.RELU), self.quant())

    def resize(self) -> None:
        """Another size, by one of both rules and one of three ways to lay pixels over each other."""
        _, height, width, depth = self.shape
        times = int(self.rng.integers(1, 3))
        free = [int(n) for n in self.rng.integers(2, 16, 2)]
        size = [times * height, times * width] if self.rng.random() < 0.6 else free
        op = str(self.rng.choice(["RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"]))
        attrs = all_ops()[op].attrs(**WAYS[int(self.rng.integers(3))])
        shape = (1, size[0], size[1], depth)
        self.node(op, [self.x, self.constant(np.array(size), DType.INT32)], shape, attrs, self.types[self.x].q)

    def pad(self) -> None:
        """A border, wider than a window in some places, of zero or of another value."""
        sides = self.rng.integers(0, 4, (4, 2)) * [[0], [1], [1], [int(self.rng.random() < 0.3)]]
        inputs = [self.x, self.constant(sides, DType.INT32)]
        if self.rng.random() < 0.5:
            inputs.append(self.constant(self.rng.integers(-128, 128, 1), DType.INT8, self.types[self.x].q))
        shape = tuple(int(n) for n in sides.sum(axis=1) + self.shape)
        self.node("PADV2" if len(inputs) > 2 else "PAD", inputs, shape, Attrs(), self.types[self.x].q)

    def transposed(self) -> None:
        """A transposed convolution of up to three times the size."""
        _, height, width, depth = self.shape
        taps = [int(n) for n in self.rng.integers(2, 5, 2)]
        down, across = (min(int(stride), n) for stride, n in zip(self.rng.integers(1, 4, 2), taps, strict=True))
        filters, (top, left) = int(self.rng.integers(1, 7)), (int(self.rng.integers(0, n)) for n in taps)
        shape = (1, max(1, (height - 1) * down + taps[0] - 2 * top), across * width, filters)
        scales = tuple(float(s) for s in self.rng.uniform(0.001, 0.004, filters))
        weights = self.rng.integers(-127, 128, (filters, *taps, depth))
        inputs = [
            self.constant(np.array(shape), DType.INT32),
            self.constant(weights, DType.INT8, Quant(scales, (0,) * filters, 0)),
            self.x,
            self.constant(self.rng.integers(-5000, 5000, filters), DType.INT32),
        ]
        attrs = TransposeConvAttrs((down, across), (top, top, left, 0), Activation.NONE)
        self.node("TRANSPOSE_CONV", inputs, shape, attrs, self.quant())

    def joined(self) -> None:
        """Two or three ways from here whose values lie beside or below each other afterwards."""
        begin, parts, q = self.x, list[str](), self.types[self.x].q
        for _ in range(int(self.rng.integers(2, 4))):
            self.x = begin
            if self.rng.random() < 0.7:
                self.conv(bool(self.rng.integers(2)), same=True, quant=q)
            parts.append(self.x)
        axis, shape = int(self.rng.integers(1, 4)), list(self.shape)
        shape[axis] = sum(self.types[part].shape[axis] for part in parts)
        self.node("CONCATENATION", parts, tuple(shape), ConcatenationAttrs(axis), q)

    def decoder(self, levels: int = 1) -> None:
        """What a U-Net does at each of its levels: down, up again, and beside what was there before."""
        begin, (_, height, width, depth), q = self.x, self.shape, self.types[self.x].q
        self.node("MAX_POOL_2D", [begin], (1, -(-height // 2), -(-width // 2), depth), HALF, q)
        self.conv(False, same=True, quant=q)
        if levels > 1:
            self.decoder(levels - 1)
        size, shape = self.constant(np.array([height, width]), DType.INT32), (1, height, width, self.shape[3])
        op = str(self.rng.choice(["RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"]))
        self.node(op, [self.x, size], shape, all_ops()[op].attrs(half_pixel_centers=True), q)
        joined = (*shape[:3], depth + shape[3])
        self.node("CONCATENATION", [begin, self.x], joined, ConcatenationAttrs(3), q)

    def alpha(self) -> None:
        """PRELU with a slope for each channel."""
        slopes = self.constant(self.rng.integers(-127, 128, (1, 1, self.shape[3])), DType.INT8, self.quant())
        self.node("PRELU", [self.x, slopes], self.shape, Attrs(), self.quant())

    def end(self) -> None:
        """The mean of each channel."""
        _, height, width, depth = self.shape
        if self.rng.random() < 0.5:
            attrs = PoolAttrs((height, width), (1, 1), (0, 0, 0, 0))
            self.node("AVERAGE_POOL_2D", [self.x], (1, 1, 1, depth), attrs, self.types[self.x].q)
        else:
            axes = self.constant(np.array([1, 2]), DType.INT32)
            self.node("MEAN", [self.x, axes], (1, depth), ReducerAttrs(), self.quant())

    def graph(self) -> Graph:
        return Graph("net", ("x",), (self.x,), tuple(self.nodes), self.types, self.constants)


def network(seed: int, layers: int = 5, kinds: Sequence[str] = PLAIN) -> Graph:
    """A network of about so many layers of some `kinds`."""
    net = Network(np.random.default_rng(seed))
    for kind in net.rng.choice(list(kinds), layers):
        if kind == "elu":
            net.node("ELU", [net.x], net.shape, Attrs(), net.quant())
        elif kind in ("conv", "depthwise"):
            net.conv(kind == "depthwise")
        else:
            getattr(net, kind)()
    if net.rng.random() < 0.4:
        net.end()
    return net.graph()


def unet(size: int = 32) -> Graph:
    """An image of `size` by `size`, taken down and up again twice, and which of two things is behind each pixel."""
    net = Network(np.random.default_rng(5))
    net.types["x"] = TensorType((1, size, size, 1), DType.INT8, net.quant())
    net.conv(False, same=True, filters=8)
    net.decoder(levels=2)
    net.conv(False, same=True, filters=2)
    net.node("SOFTMAX", [net.x], net.shape, SoftmaxAttrs(), Quant.per_tensor(1 / 256, -128))
    return net.graph()


def segment(graph: Graph, target: Target, band: int, first: int, end: int) -> Segment:
    """Layers `first` up to `end` of `graph`, with the kernels that come last of those which can be chosen."""
    layers = [layer_of(graph, node, band) for node in graph.nodes[first:end]]
    assert all(layers)
    chain = chain_of(layers, graph.types)  # type: ignore[arg-type]
    return Segment(Flow(chain), tuple(options(layer, target)[-1] for layer in chain.layers))
