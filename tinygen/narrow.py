# SPDX-License-Identifier: Apache-2.0
"""Biases as few bits times a unit, where all that a kernel reads fit: no sum changes, and flash gets smaller.

Kernels for different layers share a struct of parameters, so that biases are of one type wherever a program has that
struct (`tinygen.kernels.biases`); the unit is a number of each call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np

from tinygen.ir.program import Constant, Invocation, Program, Step
from tinygen.ir.types import Array
from tinygen.kernels.biases import TYPES, UNIT, fits, struct_of, unit_of

#: Bytes that reading takes more, roughly: of code for each struct, of parameters for each call.
CODE, PARAMETER = 48, 4

Params = Mapping[str, int | float | str]


def narrowed(program: Program) -> Program:
    """`program` with biases in 8 or 16 bits, struct by struct, where that takes less flash."""
    arrays, found = {c.name: c.values for c in program.constants}, dict[str, list[str]]()
    for call in chain.from_iterable(step.invocations for step in program.steps):
        for _, struct, name in _biases(call.params, call.function, arrays):
            found.setdefault(struct, []).append(name)
    kinds = {struct: _kind(names, arrays) for struct, names in found.items()}
    narrow = {struct: kind for struct, kind in kinds.items() if kind is not None}
    return _Rewriting(program, narrow).program() if narrow else program


def widened(program: Program) -> Program:
    """`program` with all biases in 32 bits, as they were."""
    return _Rewriting(program, {}).program() if program.narrow else program


def _biases(params: Params, function: str, arrays: Mapping[str, Array]) -> Iterator[tuple[str, str, str]]:
    """Fields of `params` that hold biases of a layer, the struct that has them, and the array's name."""
    for name, value in params.items():
        struct = struct_of(function, name)
        if struct is not None and isinstance(value, str) and arrays[value].dtype != np.int64:
            yield name, struct, value


def _kind(names: Sequence[str], arrays: Mapping[str, Array]) -> str | None:
    """The smallest element type that all arrays fit, if it saves more than reading takes; one name for each call."""
    some = {name: arrays[name] for name in names}
    kind = next((kind for kind in TYPES if all(fits(values, kind) for values in some.values())), None)
    if kind is None:
        return None
    saved = sum(values.size for values in some.values()) * (4 - np.dtype(kind).itemsize)
    return kind if saved > CODE + PARAMETER * len(names) else None


@dataclass
class _Rewriting:
    """`before` with biases of the types `narrow`, by struct, or of int32; constants are numbered anew."""

    before: Program
    narrow: Mapping[str, str]
    arrays: dict[tuple[str, bytes], Constant] = field(default_factory=dict)

    def program(self) -> Program:
        self.old = {c.name: c.values for c in self.before.constants}
        steps = tuple(map(self.step, self.before.steps))
        return replace(self.before, steps=steps, constants=tuple(self.arrays.values()), narrow=dict(self.narrow))

    def step(self, step: Step) -> Step:
        bytes_before = self.bytes
        loop = step.loop
        if loop is not None:
            layers = tuple(map(self.step, loop.layers))
            actions = tuple(replace(action, calls=tuple(map(self.call, action.calls))) for action in loop.actions)
            loop = replace(loop, actions=actions, layers=layers)
        calls = tuple(map(self.call, step.invocations))
        return replace(step, invocations=calls, loop=loop, constant_bytes=self.bytes - bytes_before)

    @property
    def bytes(self) -> int:
        return sum(constant.bytes for constant in self.arrays.values())

    def call(self, call: Invocation) -> Invocation:
        structs = {name: struct for name, struct, _ in _biases(call.params, call.function, self.old)}
        params = dict[str, int | float | str]()
        for name, value in call.params.items():
            if name in structs:
                params |= self.bias(name, self.values(call.params, name), self.narrow.get(structs[name]))
            elif name.rpartition(".")[2] != UNIT:
                params[name] = self.constant(self.old[value]) if isinstance(value, str) else value
        reads = tuple(replace(o, name=self.constant(self.old[o.name])) if o.constant else o for o in call.reads)
        return replace(call, params=params, reads=reads)

    def values(self, params: Params, name: str) -> Array:
        """The biases in field `name`, int32, whatever they are stored as."""
        wide = self.old[str(params[name])].astype(np.int64) * int(params.get(f"{name}_unit", 1))
        return np.asarray(wide.astype(np.int32))

    def bias(self, name: str, values: Array, kind: str | None) -> dict[str, int | float | str]:
        """The fields for biases `values`, as integers of the type `kind` times a unit, or as they are."""
        if kind is None:
            return {name: self.constant(values)}
        unit = unit_of(values)
        return {name: self.constant((values // unit).astype(kind)), f"{name}_unit": unit}

    def constant(self, values: Array) -> str:
        """The name of the array with these values."""
        key = (values.dtype.name, values.tobytes())
        if key not in self.arrays:
            self.arrays[key] = Constant(f"c{len(self.arrays)}", values)
        return self.arrays[key].name
