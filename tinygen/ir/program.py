"""The program: what will run, in order. Kernel calls with packed constants, and the memory they name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tinygen.ir.types import Array, TensorType


@dataclass(frozen=True)
class Buffer:
    """A piece of the arena: what one or more tensors (views of each other) or a kernel's scratch live in."""

    name: str
    bytes: int


@dataclass(frozen=True)
class Constant:
    """A ``static const`` array in flash: flat values of a fixed-width type."""

    name: str
    values: Array

    @property
    def bytes(self) -> int:
        return int(self.values.nbytes)


@dataclass(frozen=True)
class Operand:
    """A pointer argument: the buffer or the constant of that name, read as `type`."""

    name: str
    type: TensorType
    constant: bool = False


@dataclass(frozen=True)
class Invocation:
    """One C call: ``function(&params, operands…, scratch)``.

    A parameter is an integer, a float, or the name of a `Constant`. `own_copy` asks for a copy of the kernel that is
    specialised for these parameters; otherwise all such calls of a function share one.
    """

    function: str
    params: Mapping[str, int | float | str]
    reads: tuple[Operand, ...]
    writes: tuple[Operand, ...]
    scratch: str | None = None
    own_copy: bool = False


@dataclass(frozen=True)
class Step:
    """One node as it runs: its kernel, the form in which that stores weights, its calls, and the buffers it touches.

    `overlays` lists input buffers whose place the (only) output buffer may take.
    """

    name: str
    op: str
    kernel: str
    form: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    invocations: tuple[Invocation, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    scratch: tuple[Buffer, ...]
    overlays: tuple[str, ...]
    macs: int
    constant_bytes: int


@dataclass(frozen=True)
class Program:
    """Everything the emitter needs but addresses, which the planner gives.

    `tensors` maps each tensor that exists at run time to its buffer. `templates` are the kernel files in the order in
    which their C must stand.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    types: Mapping[str, TensorType]
    tensors: Mapping[str, str]
    buffers: tuple[Buffer, ...]
    steps: tuple[Step, ...]
    constants: tuple[Constant, ...]
    templates: tuple[str, ...]

    @property
    def macs(self) -> int:
        return sum(step.macs for step in self.steps)

    @property
    def constant_bytes(self) -> int:
        return sum(constant.bytes for constant in self.constants)
