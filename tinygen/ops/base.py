# SPDX-License-Identifier: Apache-2.0
"""What an operator is: its meaning in real numbers, its exact integers, and what it asks of a node.

One file per operator in this package; each defines ``OP`` and is found by being there. See `docs/operators.md` (made
from these files) for the list, and `tinygen/ops/maximum.py` for the shortest complete example.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tinygen.ir.graph import Attrs, Node
from tinygen.ir.types import Array, DType, Real, TensorType

if TYPE_CHECKING:
    from tinygen.ops.rows import Access

A = TypeVar("A", bound=Attrs)

#: What `Op.infer` returns for each output: its shape and element type.
Signature = tuple[tuple[int, ...], DType]


class Activation(Enum):
    """Activation functions that TFLite fuses into other operators; the values are TFLite's."""

    NONE = 0
    RELU = 1
    RELU_N1_TO_1 = 2
    RELU6 = 3

    @property
    def limits(self) -> tuple[float, float]:
        """The real interval that the activation clamps to."""
        inf = float("inf")
        return {0: (-inf, inf), 1: (0.0, inf), 2: (-1.0, 1.0), 3: (0.0, 6.0)}[self.value]


@dataclass(frozen=True)
class Call(Generic[A]):
    """One node seen by its operator: attributes, the types of all tensors, and the inputs known at build time.

    An optional input that is not given is None in `inputs`; an input computed at run time is None in `constants`.
    """

    name: str
    op: str
    attrs: A
    inputs: tuple[TensorType | None, ...]
    outputs: tuple[TensorType, ...]
    constants: tuple[Array | None, ...]

    def input(self, index: int) -> TensorType:
        """The type of input `index`, which must be given."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise ValueError(f"{self.op} '{self.name}' lacks input {index}")
        return value

    def has(self, index: int) -> bool:
        """Whether optional input `index` is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def constant(self, index: int) -> Array:
        """The value of input `index`, which a constraint has shown to be known at build time."""
        value = self.constants[index]
        if value is None:
            raise ValueError(f"{self.op} '{self.name}' needs input {index} as a constant")
        return value

    @property
    def output(self) -> TensorType:
        """The type of the first (usually the only) output."""
        return self.outputs[0]


def call_of(graph: Any, node: Node) -> Call[Any]:
    """The `Call` for `node` of `graph` (an `ir.Graph`)."""
    return Call(
        name=node.name,
        op=node.op,
        attrs=node.attrs,
        inputs=tuple(graph.types[n] if n else None for n in node.inputs),
        outputs=tuple(graph.types[n] for n in node.outputs),
        constants=tuple(graph.constants.get(n) for n in node.inputs),
    )


@dataclass(frozen=True)
class Calibrated:
    """Scale and zero point follow from the values that the output takes on calibration data."""


@dataclass(frozen=True)
class SameAs:
    """The output has the scale and zero point of the float inputs, which all have to share one."""


@dataclass(frozen=True)
class Fixed:
    """Scale and zero point are part of the operator's definition (TFLite's 8-bit quantization specification)."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class QuantRule:
    """How a float node becomes an int8 one.

    `output` says where the scale of float outputs comes from. Constant `weights` (a node input) become symmetric int8
    with one scale for each index along axis `channel`; a constant `bias` becomes int32 with the scale of input times
    weights. All other float inputs are int8 with one scale; inputs of other types (axes, indices, shapes) stay.
    """

    output: Calibrated | SameAs | Fixed = Calibrated()
    weights: int | None = None
    channel: int = 0
    bias: int | None = None


#: Moves, selections and means of values: whatever goes in comes out in the same scale.
SAME = QuantRule(SameAs())

#: A condition on a node. Its docstring is the sentence shown to the user and printed in docs/operators.md.
Constraint = Callable[[Call[Any]], bool]


def no_macs(call: Call[Any]) -> int:
    """Operators that multiply nothing."""
    return 0


def never(call: Call[Any]) -> bool:
    """The default of `Op.pointwise`."""
    return False


def as_a_whole(call: Call[Any]) -> Access | None:
    """The default of `Op.rows`."""
    return None


def half_step(call: Call[Any]) -> float:
    """The default of `Op.bound`: a correctly rounded result, with room for float64 noise on exact halves."""
    return 0.5 + 1e-6


@dataclass(frozen=True)
class Op(Generic[A]):
    """An operator: what a node of this kind means.

    All functions take the `Call`, and pure values:

    - `infer(call)` gives shape and element type of each output (quantization is the model's choice).
    - `real(call, inputs)` computes float64 outputs from float64 inputs: the definition of correctness. Inputs that
      are not quantized (indices, axes) come as float64 too; absent ones as None. Fused activations included; the
      caller clips to the representable range.
    - `reference(call, inputs)` computes the outputs bit for bit as TFLM's reference kernels do, in numpy.
    - `constraints` say which int8 nodes are supported; checked before anything else is called.
    - `quantize` says how a float node of this kind becomes such a node.
    - `macs(call)` counts multiply-accumulates.
    - `bound(call)` is how far `reference` may lie from `real`, in steps of the output.
    - `pointwise(call)` tells that each output element depends on one element of the only run-time input, the same way
      everywhere, so that from int8 to int8 the node (or a chain of such nodes) may become a 256-byte table.
    - `rows(call)`: which rows of its inputs the node's rows come from, if it can be computed a few rows at a time
      (`tinygen.ops.rows`); asked of nodes that are not pointwise, and whose tensors are single images.
    - `view`: the output is the first input's bytes under another shape; nothing runs.
    """

    name: str
    attrs: type[A]
    infer: Callable[[Call[A]], Sequence[Signature]]
    real: Callable[[Call[A], Sequence[Real | None]], Sequence[Real]]
    reference: Callable[[Call[A], Sequence[Array | None]], Sequence[Array]]
    constraints: tuple[Constraint, ...] = ()
    quantize: QuantRule = QuantRule()
    macs: Callable[[Call[A]], int] = no_macs
    bound: Callable[[Call[A]], float] = half_step
    pointwise: Callable[[Call[A]], bool] = never
    rows: Callable[[Call[A]], Access | None] = as_a_whole
    view: bool = False

    def problems(self, call: Call[A]) -> tuple[str, ...]:
        """The sentences of the constraints that `call` breaks; empty when it is supported."""
        for constraint in self.constraints:
            if not constraint(call):
                return (sentence(constraint),)
        return ()


def sentence(constraint: Constraint) -> str:
    """A constraint's docstring on one line."""
    text = inspect.getdoc(constraint) or constraint.__name__
    return " ".join(text.split())


def given(value: Array | None) -> Array:
    """`value`, which must not be an absent optional input."""
    if value is None:
        raise ValueError("a required input is absent")
    return value
