# SPDX-License-Identifier: Apache-2.0
"""The program: what will run, in order. Kernel calls with packed constants, and the memory they name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tinygen.ir.types import Array, TensorType


@dataclass(frozen=True)
class Buffer:
    """A piece of the arena: what one or more tensors (views of each other) or a kernel's scratch live in."""

    name: str
    bytes: int


@dataclass(frozen=True)
class Overlay:
    """The (only) output buffer of a step may lie over its input `buffer`, if nothing needs that afterwards.

    It may begin `below` bytes after `buffer` does (0 or fewer: before it), or earlier, at a multiple of `step` bytes
    from its beginning. `below` None: anywhere.
    """

    buffer: str
    below: int | None
    step: int = 1


@dataclass(frozen=True)
class Join:
    """The buffers `part` and `whole` hold the same bytes after a step, if they are one: `part` from `offset` on."""

    part: str
    whole: str
    offset: int


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
    """A pointer argument: the buffer or the constant of that name, read as `type`.

    It points `offset` bytes into a buffer, or, in a `Loop`, to where the `cursor` of that number is.
    """

    name: str
    type: TensorType
    constant: bool = False
    offset: int = 0
    cursor: int | None = None


@dataclass(frozen=True)
class Invocation:
    """One C call: ``function(&params, operands…, scratch)``.

    A parameter is an integer, a float, or the name of a `Constant`. `own_copy` asks for a copy of the kernel that is
    specialised for these parameters; otherwise all such calls of a function share one. `copied`: parameters that are
    constants of which there is a copy, by that buffer's name.
    """

    function: str
    params: Mapping[str, int | float | str]
    reads: tuple[Operand, ...]
    writes: tuple[Operand, ...]
    scratch: str | None = None
    own_copy: bool = False
    scratch_offset: int = 0
    copied: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Shift:
    """A move of `bytes` bytes inside `buffer`, from offset `source` to offset `target`, which is less."""

    buffer: str
    target: int
    source: int
    bytes: int


@dataclass(frozen=True)
class Action:
    """What a `Loop` does at once: a shift, or calls after which cursors advance by so many bytes.

    `awaits`: before it goes on, a row of the loop's input has to come from outside, to that place.
    """

    shift: Shift | None = None
    calls: tuple[Invocation, ...] = ()
    advances: tuple[tuple[int, int], ...] = ()
    awaits: Operand | None = None


@dataclass(frozen=True)
class Copy:
    """The `bytes` of `constant` are copied to `buffer` before a step runs."""

    constant: str
    buffer: str
    bytes: int


@dataclass(frozen=True)
class Loop:
    """How a step runs layers a few rows at a time: `order` says which of `actions` run, one after the other.

    `cursors` are pointers that begin at the start of these operands. `layers` are those that run, as steps of their
    own without memory; together they have the loop's calls, in the order of `actions`.

    Where an action awaits a row, the loop is left, and goes on when the row is there: `state` (bytes of the arena) then
    keeps where it was, and how far each cursor has come; `rows` is how many it awaits.
    """

    actions: tuple[Action, ...]
    order: tuple[int, ...]
    cursors: tuple[Operand, ...]
    layers: tuple[Step, ...]
    state: Operand | None = None
    rows: int = 0


@dataclass(frozen=True)
class Step:
    """One node as it runs: its kernel, the form in which that stores weights, its calls, and the buffers it touches.

    `overlays` lists input buffers over which the (only) output buffer may lie; `joins` what makes copies unnecessary.
    With a `loop` the step is several layers that run together, and `invocations` are the loop's calls. `copies` are
    made first, into what counts as scratch memory.
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
    overlays: tuple[Overlay, ...]
    joins: tuple[Join, ...]
    macs: int
    constant_bytes: int
    loop: Loop | None = None
    copies: tuple[Copy, ...] = ()

    @property
    def layers(self) -> tuple[Step, ...]:
        """The layers that run in this step: itself, or those of its loop."""
        return self.loop.layers if self.loop else (self,)


@dataclass(frozen=True)
class Program:
    """Everything the emitter needs but addresses, which the planner gives.

    `tensors` maps each tensor that exists at run time to its buffer. `templates` are the kernel files in the order in
    which their C must stand. `narrow` says which structs of kernels have biases of fewer bits, and of which type (see
    `tinygen.narrow`).
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
    narrow: Mapping[str, str] = field(default_factory=dict)

    @property
    def macs(self) -> int:
        return sum(step.macs for step in self.steps)

    @property
    def pushed(self) -> Loop | None:
        """The loop that takes the model's input row by row, if it is not in the arena as a whole."""
        loop = self.steps[0].loop if self.steps else None
        return loop if loop is not None and loop.rows else None

    def place(self, tensor: str) -> Operand:
        """Where a tensor lies; for an input that comes row by row: where its rows are put."""
        if tensor not in self.tensors and self.pushed is not None:
            return next(action.awaits for action in self.pushed.actions if action.awaits is not None)
        return Operand(self.tensors[tensor], self.types[tensor])

    @property
    def layers(self) -> tuple[Step, ...]:
        """All layers, also those that run together in one step."""
        return tuple(layer for step in self.steps for layer in step.layers)

    @property
    def constant_bytes(self) -> int:
        return sum(constant.bytes for constant in self.constants)
