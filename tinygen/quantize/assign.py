# SPDX-License-Identifier: Apache-2.0
"""Float graph and a quantization for each group of its tensors → int8 graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from tinygen.ir.graph import Attrs, Graph, Node
from tinygen.ir.types import Array, DType, Quant, Real, TensorType
from tinygen.ops import op_of
from tinygen.ops.base import QuantRule
from tinygen.ops.convolution import OPERANDS
from tinygen.passes.rewrite import fresh
from tinygen.quantize.groups import Groups
from tinygen.quantize.ranges import MIN_SCALE, quant_of, symmetric_scales

#: Largest bias, in steps: half of int32's range is left for the sum of products.
MAX_BIAS = 2**29
#: The same with int16 activations, whose sums must stay within 47 bits.
MAX_WIDE_BIAS = 2**45
#: How far from a whole number of steps a constant may lie that was one before it was stored in float32.
EXACT = 1e-3


#: The scales of weights: (weights, axis of output channels, smallest scales) → one for each channel.
ScalesOf = Callable[[Array, int, Array], Real]


@dataclass
class _Assigned:
    """The int8 graph as it grows."""

    types: dict[str, TensorType]
    constants: dict[str, Array]
    taken: set[str] = field(default_factory=set)
    scales: ScalesOf = symmetric_scales
    stored: bool = False

    def add(self, name: str, value: Array, quant: Quant | None) -> str:
        """A constant under `name`, or one like it where the name is taken; returns the name."""
        while name in self.taken:
            name += "'"
        self.taken.add(name)
        self.types[name], self.constants[name] = TensorType(value.shape, DType.of(value), quant), value
        return name


def assign(
    groups: Groups, quants: Mapping[str, Quant], scales: ScalesOf = symmetric_scales, stored: bool = False
) -> Graph:
    """The int8 graph of a grouped float graph; `quants` has the scale and zero point of each group.

    Weights have one symmetric scale for each output channel, which `scales` gives, biases are int32; integer tensors
    stay as they are. `stored`: constants that say what integers they were become these.
    """
    graph = groups.graph
    types = dict(graph.types)
    for name in set(groups.of) - set(graph.constants):
        types[name] = replace(types[name], dtype=groups.dtype(name), quant=quants[groups.of[name]])
    constants = {n: v for n, v in graph.constants.items() if n not in groups.of}
    made = _Assigned(types, constants, set(types) - (set(groups.of) & set(graph.constants)), scales, stored)
    for name in graph.outputs:
        if name in graph.constants and name in groups.of:
            _constant(groups, name, quants, made)
    nodes = [_node(groups, node, quants, made) for node in graph.nodes]
    return replace(graph, nodes=tuple(nodes), types=made.types, constants=made.constants).pruned()


def _node(groups: Groups, node: Node, quants: Mapping[str, Quant], made: _Assigned) -> Node:
    """`node` with its float constants in integers."""
    rule, inputs, parameters = op_of(node).quantize, list(node.inputs), set[int | None]()
    if rule.weights is not None and inputs[rule.weights] in groups.graph.constants:
        inputs, parameters = _layer(groups, node, rule, quants, made), {rule.weights, rule.bias}
    for index, name in enumerate(inputs):
        if index not in parameters and name in groups.of and name in groups.graph.constants:
            wide = any(made.types[n].dtype is DType.INT16 for n in node.outputs)
            inputs[index] = (_wide_constant if wide else _constant)(groups, name, quants, made)
    return replace(node, inputs=tuple(inputs))


def _constant(groups: Groups, name: str, quants: Mapping[str, Quant], made: _Assigned) -> str:
    """A float constant in int8, in its group's scale or one of its own; the name it gets."""
    value = groups.graph.constants[name].astype(np.float64)
    quant = quants.get(groups.of[name]) or (_stored(groups, name, value) if made.stored else None)
    quant = quant if quant is not None and quant.axis is None else quant_of(float(value.min()), float(value.max()))
    return made.add(name, steps(value, quant.scale, DType.INT8, quant.zero_point), quant)


def _wide_constant(groups: Groups, name: str, quants: Mapping[str, Quant], made: _Assigned) -> str:
    """A float constant in int16 with zero point 0, in its group's scale if that is int16, too."""
    value = groups.graph.constants[name].astype(np.float64)
    own = Quant.per_tensor(max(float(np.abs(value).max()) / (2**15 - 1), MIN_SCALE), 0)
    quant = quants[groups.of[name]] if groups.of[name] in groups.wide else own
    return made.add(name, steps(value, quant.scale, DType.INT16), quant)


def _layer(groups: Groups, node: Node, rule: QuantRule, quants: Mapping[str, Quant], made: _Assigned) -> list[str]:
    """The inputs of a layer, with weights and bias in integers."""
    constants, inputs = groups.graph.constants, list(node.inputs)
    assert rule.weights is not None and rule.bias is not None
    weights = constants[inputs[rule.weights]].astype(np.float64)
    bias = inputs[rule.bias] if len(inputs) > rule.bias else ""
    data = inputs[OPERANDS[node.op].input]
    source, wide = quants[groups.of[data]].scale, groups.dtype(data) is DType.INT16
    values = constants[bias].astype(np.float64).ravel() if bias else np.zeros(weights.shape[rule.channel])
    quant = _stored(groups, inputs[rule.weights], weights, symmetric=True) if made.stored else None
    if quant is None:
        scales = made.scales(weights, rule.channel, np.abs(values) / (source * (MAX_WIDE_BIAS if wide else MAX_BIAS)))
        quant = Quant(tuple(scales.tolist()), (0,) * len(scales), rule.channel)
    along = quant.along(weights.ndim, quant.scales)
    inputs[rule.weights] = made.add(inputs[rule.weights], steps(weights, along, DType.INT8), quant)
    if bias:
        scales = np.asarray(quant.scales)
        whole = steps(values, source * scales, DType.INT64 if wide else DType.INT32)
        inputs[rule.bias] = made.add(bias, whole, bias_quant(source, scales))
    return inputs


def _stored(groups: Groups, name: str, values: Real, symmetric: bool = False) -> Quant | None:
    """The quantization that constant `name` says it had, if its values are int8 in it; `symmetric`: around 0."""
    quant = groups.graph.types[name].quant
    if quant is None:
        return None
    quant = replace(quant, zero_points=(0,) * len(quant.scales)) if symmetric else quant
    scale, zero = quant.along(values.ndim, quant.scales), quant.along(values.ndim, quant.zero_points)
    whole = np.rint(values / scale)
    exact = np.all(np.abs(values / scale - whole) < EXACT) and np.all((whole + zero >= -128) & (whole + zero <= 127))
    return quant if exact else None


def bias_quant(source: float, scales: Real) -> Quant:
    """Scales of the bias that belongs to weights with `scales` after an input with scale `source`."""
    products = tuple(float(np.float32(source * s)) for s in scales)
    return Quant(products, (0,) * len(products), 0 if len(products) > 1 else None)


def steps(values: Array, scale: Array | float, dtype: DType, zero: int = 0) -> Array:
    """`values` in steps of `scale` around `zero`, rounded and clipped."""
    return np.asarray(np.clip(np.rint(values / np.asarray(scale)) + zero, *dtype.limits), dtype.numpy)


def with_float_ports(graph: Graph) -> Graph:
    """`graph` (int8) with float32 inputs and outputs, through QUANTIZE and DEQUANTIZE; the ports keep their names.

    An output that is an input, too, gives the number that went in.
    """
    types, names = dict(graph.types), dict[str, str]()
    for name in dict.fromkeys((*graph.inputs, *graph.outputs)):
        if types[name].dtype in (DType.INT8, DType.INT16) and types[name].quant is not None:
            names[name] = fresh(graph, f"{name}:int8")
            types[names[name]] = types[name]
            types[name] = TensorType(types[name].shape, DType.FLOAT32)
    first = [Node(n, "QUANTIZE", (n,), (names[n],), Attrs()) for n in graph.inputs if n in names]
    ends = [n for n in dict.fromkeys(graph.outputs) if n in names and n not in graph.inputs]
    last = [Node(n, "DEQUANTIZE", (names[n],), (n,), Attrs()) for n in ends]
    inner = [
        replace(
            node,
            inputs=tuple(names.get(n, n) for n in node.inputs),
            outputs=tuple(names.get(n, n) for n in node.outputs),
        )
        for node in graph.nodes
    ]
    constants = {names.get(name, name): value for name, value in graph.constants.items()}
    storage = {names.get(name, name): form for name, form in graph.storage.items()}
    return replace(graph, nodes=(*first, *inner, *last), types=types, constants=constants, storage=storage)
