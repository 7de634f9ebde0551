# SPDX-License-Identifier: Apache-2.0
"""What a kernel is: one way to compute an operator on a core.

A kernel is a C function in ``templates/kernels/<template>.c.j2`` whose first argument is a struct of parameters that
the same template defines. At each call the struct is a ``static const`` initialiser, so the C compiler specialises an
inlined copy as if every field were a literal, and one shared copy works from the same data. One module per operator in
this package; each defines ``KERNELS`` (a tuple, preferred first among equals) and is found by being there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.ops.base import Call
from tinygen.ops.wide import is_wide

#: The form of weights that are stored as they are, int8.
PLAIN = "plain"
#: What `Graph.storage` asks for where flash counts more than speed: whichever form is smallest.
SMALLEST = "smallest"
#: The same, of all forms: also of those that are slow to read (`Kernel.asked`).
AT_ANY_SPEED = "smallest at any speed"
#: What `Graph.storage` asks for of biases: 8 or 16 bits times a unit, where that makes no difference.
NARROW = "narrow"
#: How constant weights may lie in flash: name → what it is.
FORMS = {
    PLAIN: "one byte for each weight",
    "codebook": "indices into tables of at most 64 values",
    "entropy": "Huffman codes, with runs of the most common value",
    "packed": "few bits: whole steps from a lowest value",
    "bitmap": "one bit for each weight, and the weights that are not zero",
    "gaps": "the weights that are not zero, each with four bits that tell how far it is from the one before",
    "n_of_m": "one or two weights of each four neighbouring inputs, each with two bits that tell which",
    "blocks": "blocks of four neighbouring inputs that are not all zero, each with the distance from the one before",
}


@dataclass(frozen=True)
class Launch:
    """One C call of a kernel: which tensors it reads and writes, and the fields of its parameter struct.

    `reads` and `writes` are indices into the node's inputs and outputs; the C function takes them as pointers in this
    order after the parameter struct, then a pointer to `scratch` bytes if that is not 0. A field is an integer, a
    float, or a numpy array, which becomes a ``static const`` array of its element type in flash.
    """

    reads: tuple[int, ...]
    writes: tuple[int, ...]
    params: Mapping[str, int | float | Array]
    scratch: int = 0


def always(call: Call[Any]) -> bool:
    """The default of `Kernel.accepts`."""
    return True


@dataclass(frozen=True)
class Room:
    """Where an output may lie over an input, so that no byte is overwritten before its last read.

    The output may begin `below` bytes after the input does (0 or fewer: before it), or any number of bytes earlier that
    is a multiple of `step`, with `below` rounded down to one. `below` None: anywhere, because the input is not read any
    more when the first byte is written.
    """

    below: int | None
    step: int = 1


#: By index of the node's inputs, those over which output 0 may lie.
Rooms = Mapping[int, Room]


def apart(call: Call[Any], launch: Launch) -> Rooms:
    """The default of `Kernel.overlap`: nothing is known of the order in which the kernel reads and writes."""
    return {}


@dataclass(frozen=True)
class Kernel:
    """A record of one implementation.

    - `op`: the operators (TFLite names) it computes.
    - `template`: file under ``templates/kernels`` without ``.c.j2``; `function` names the C function there.
    - `accepts(call)`: whether it can compute this node.
    - `launch(call)`: the C calls that compute the node, with constants packed as the C code reads them.
    - `uses`: further templates it needs, in order (``common/requantize`` …).
    - `requires`: core features (``dsp``, ``mve``, ``fpu``) without which it does not run.
    - `wide`: whether it computes int16 activations, or others; None: whatever the element type is.
    - `overlap(call, launch)`: the inputs over which output 0 may lie, and how far, as the order in which the
      C function reads and writes has it (see `tinygen.kernels.overlap`).
    - `speed`: instructions per MAC or per output element, roughly, on the cores it is for: lower is chosen first. A
      function of the call where it depends on the weights' values.
    - `form`: how it stores the weights in flash (`FORMS`). A form is lossless: `accepts` looks at the weights' values,
      and the kernel gives the bits that the plain one gives.
    - `code`: bytes that the kernel's code adds to flash, roughly: a form has to save more.
    - `per_call`: bytes that each call of the kernel adds besides, roughly, beyond a call of the plain one.
    - `asked`: not chosen of its own accord, but where the graph asks for its form, or flash counts most.
    """

    op: tuple[str, ...]
    template: str
    launch: Callable[[Call[Any]], Sequence[Launch]]
    accepts: Callable[[Call[Any]], bool] = always
    uses: tuple[str, ...] = ()
    requires: frozenset[str] = frozenset()
    wide: bool | None = False
    overlap: Callable[[Call[Any], Launch], Rooms] = apart
    speed: float | Callable[[Call[Any]], float] = 10.0
    form: str = PLAIN
    code: int = 0
    per_call: int = 0
    asked: bool = False

    @property
    def function(self) -> str:
        """The C function, without the model's prefix: ``conv_2d_dsp`` for ``conv_2d/dsp``, ``conv_2d`` if portable."""
        return self.template.removesuffix("/portable").replace("/", "_")

    def takes(self, call: Call[Any]) -> bool:
        """Whether it can compute this node."""
        return self.wide in (None, is_wide(call)) and self.accepts(call)


def int32(values: Any) -> Array:
    """`values` as a flat int32 array for a parameter struct; raises if one does not fit."""
    wide = np.asarray(values, dtype=np.int64).ravel()
    if wide.size and (wide.min() < -(2**31) or wide.max() >= 2**31):
        raise OverflowError("a packed constant does not fit int32")
    return wide.astype(np.int32)


def int64(values: Any) -> Array:
    """`values` as a flat int64 array for a parameter struct."""
    return np.asarray(values, dtype=np.int64).ravel()


def int16(values: Any) -> Array:
    """`values` as a flat int16 array for a parameter struct; raises if one does not fit."""
    wide = np.asarray(values, dtype=np.int64).ravel()
    if wide.size and (wide.min() < -(2**15) or wide.max() >= 2**15):
        raise OverflowError("a packed constant does not fit int16")
    return wide.astype(np.int16)


def int8(values: Any) -> Array:
    """`values` as a flat int8 array for a parameter struct; raises if one does not fit."""
    wide = np.asarray(values, dtype=np.int64).ravel()
    if wide.size and (wide.min() < -128 or wide.max() > 127):
        raise OverflowError("a packed constant does not fit int8")
    return wide.astype(np.int8)
