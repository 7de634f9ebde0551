# SPDX-License-Identifier: Apache-2.0
"""Random small int8 networks of layers that can run on a few rows at a time: windows, strides, paddings, residuals."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tinygen.ir.graph import Attrs, Graph, Node
from tinygen.ir.types import DType, Quant, TensorType
from tinygen.ops.base import Activation
from tinygen.ops.binary import ActivationAttrs
from tinygen.ops.convolution import ConvAttrs
from tinygen.ops.pooling import PoolAttrs
from tinygen.ops.reduction import ReducerAttrs

Shape = tuple[int, int, int, int]


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

    def conv(self, depthwise: bool, same: bool = False) -> None:
        _, height, width, depth = self.shape
        y, x = (3, 1, 1, 1, 1, height) if same else self.window(height), self.window(width)
        if same:
            x = (3, 1, 1, 1, 1, width)
        filters = depth if depthwise or same else int(self.rng.integers(2, 12))
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
        self.node(op, [self.x, weights, bias], (1, y[5], x[5], filters), attrs, self.quant())

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


def network(seed: int, layers: int = 5) -> Graph:
    """A network of about so many layers."""
    net = Network(np.random.default_rng(seed))
    for kind in net.rng.choice(["conv", "depthwise", "pool", "residual", "elu"], layers):
        if kind == "residual":
            net.residual()
        elif kind == "pool":
            net.pool()
        elif kind == "elu":
            net.node("ELU", [net.x], net.shape, Attrs(), net.quant())
        else:
            net.conv(kind == "depthwise")
    if net.rng.random() < 0.4:
        net.end()
    return net.graph()
