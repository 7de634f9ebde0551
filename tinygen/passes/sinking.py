# SPDX-License-Identifier: Apache-2.0
"""How nodes read a tensor whose dimensions are in another order than they were written for.

If `t = TRANSPOSE(s, order)`, then dimension i of t is dimension order[i] of s. A rule turns a node that reads t into
one that reads s, and says in which order its outputs then are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.ops.base import Call

Order = tuple[int, ...]

#: Operators that compute each element of the output from the same element of input 0.
UNARY = frozenset(
    {"ABS", "CAST", "DEQUANTIZE", "ELU", "ERF", "EXP", "GELU", "HARD_SIGMOID", "HARD_SWISH", "LEAKY_RELU", "LOG"}
    | {"LOGISTIC", "LOOKUP", "NEG", "POW", "QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "RSQRT", "SILU", "SQRT", "TANH"}
)
#: Operators that compute each element from the same element of both inputs, with broadcasting.
BINARY = frozenset({"ADD", "MAXIMUM", "MINIMUM", "MUL", "PRELU", "SQUARED_DIFFERENCE", "SUB"})


@dataclass(frozen=True)
class Sunk:
    """A node in terms of `s`: its attributes, new values for some of its constant inputs, the order of its outputs."""

    attrs: Any
    constants: dict[int, Array]
    order: Order


def inverse(order: Order) -> Order:
    return tuple(int(i) for i in np.argsort(order))


def compose(first: Order, second: Order) -> Order:
    """The order of a transposition by `first` and then by `second`."""
    return tuple(first[i] for i in second)


def moves_only_ones(shape: Sequence[int], order: Order) -> bool:
    """Whether transposing `shape` leaves every element where it is in memory."""
    real = [axis for axis in order if shape[axis] != 1]
    return real == sorted(real)


def without(order: Order, dropped: set[int]) -> Order:
    """`order` of what is left without the dimensions `dropped` (of t)."""
    kept = [order[i] for i in range(len(order)) if i not in dropped]
    return tuple(sorted(kept).index(axis) for axis in kept)


def placed(values: Array, order: Order) -> Array:
    """One row for each dimension of t, as one for each dimension of s."""
    moved = np.empty_like(values)
    moved[list(order)] = values
    return moved


def _moved_rows(*indices: int) -> Callable[[Call[Any], Order], Sunk | None]:
    """A rule for operators whose constant inputs `indices` have one row for each dimension."""

    def rule(call: Call[Any], order: Order) -> Sunk | None:
        return Sunk(call.attrs, {i: placed(call.constant(i), order) for i in indices}, order)

    return rule


def _strided_slice(call: Call[Any], order: Order) -> Sunk | None:
    attrs, rank = call.attrs, len(order)
    if attrs.ellipsis_mask or attrs.new_axis_mask or attrs.shrink_axis_mask or len(call.constant(1)) != rank:
        return None
    masks = {
        name: sum(1 << axis for i, axis in enumerate(order) if getattr(attrs, name) >> i & 1)
        for name in ("begin_mask", "end_mask")
    }
    return Sunk(replace(attrs, **masks), {i: placed(call.constant(i), order) for i in (1, 2, 3)}, order)


def _concatenation(call: Call[Any], order: Order) -> Sunk | None:
    return Sunk(replace(call.attrs, axis=order[call.attrs.axis % len(order)]), {}, order)


def _axis_input(index: int) -> Callable[[Call[Any], Order], Sunk | None]:
    """A rule for operators whose constant input `index` is an axis."""

    def rule(call: Call[Any], order: Order) -> Sunk | None:
        value = call.constant(index)
        axis = order[int(value.reshape(())) % len(order)]
        return Sunk(call.attrs, {index: np.full_like(value, axis)}, order)

    return rule


def _gather(call: Call[Any], order: Order) -> Sunk | None:
    rank = len(call.input(1).shape)
    if rank > 1 or call.attrs.batch_dims:
        return None
    axis = call.attrs.axis % len(order)
    moved = replace(call.attrs, axis=order[axis])
    return Sunk(moved, {}, order if rank else without(order, {axis}))


def _reduction(call: Call[Any], order: Order) -> Sunk | None:
    value = call.constant(1)
    axes = {int(axis) % len(order) for axis in value.ravel()}
    moved = np.array(sorted(order[axis] for axis in axes), value.dtype)
    return Sunk(call.attrs, {1: moved}, order if call.attrs.keep_dims else without(order, axes))


def _rows(call: Call[Any], order: Order) -> Sunk | None:
    """Operators over the last dimension do not care about the others."""
    same_rank = len(call.output.shape) == len(order)
    return Sunk(call.attrs, {}, order) if order[-1] == len(order) - 1 and same_rank else None


def _dense(call: Call[Any], order: Order) -> Sunk | None:
    return _rows(call, order) if call.attrs.keep_num_dims else None


#: By operator: which input is `t` (the others are constants), and the rule.
RULES: dict[str, tuple[int, Callable[[Call[Any], Order], Sunk | None]]] = {
    "PAD": (0, _moved_rows(1)),
    "PADV2": (0, _moved_rows(1)),
    "MIRROR_PAD": (0, _moved_rows(1)),
    "SLICE": (0, _moved_rows(1, 2)),
    "STRIDED_SLICE": (0, _strided_slice),
    "SPLIT": (1, _axis_input(0)),
    "SPLIT_V": (0, _axis_input(2)),
    "GATHER": (0, _gather),
    "MEAN": (0, _reduction),
    "SUM": (0, _reduction),
    "REDUCE_MAX": (0, _reduction),
    "REDUCE_MIN": (0, _reduction),
    "SOFTMAX": (0, _rows),
    "LOG_SOFTMAX": (0, _rows),
    "FULLY_CONNECTED": (0, _dense),
}


def concatenated(call: Call[Any], order: Order) -> Sunk | None:
    """The rule for operators of several inputs, all of which are in the same order."""
    return _concatenation(call, order) if call.op == "CONCATENATION" else Sunk(call.attrs, {}, order)


def _groups(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """The axes of two shapes of as many elements, in the smallest groups that hold as many; without those of size 1."""
    left, right = ([i for i, n in enumerate(shape) if n != 1] for shape in (before, after))
    groups = []
    while left:
        taken, made = [left.pop(0)], [right.pop(0)]
        sizes = before[taken[0]], after[made[0]]
        while sizes[0] != sizes[1]:
            (taken if sizes[0] < sizes[1] else made).append((left if sizes[0] < sizes[1] else right).pop(0))
            sizes = math.prod(before[i] for i in taken), math.prod(after[i] for i in made)
        groups.append((taken, made))
    return groups


def reshaped(before: Sequence[int], after: Sequence[int], order: Order) -> tuple[tuple[int, ...], Order] | None:
    """A reshape of t = TRANSPOSE(s, order) as a reshape of s.

    `before` and `after` are its shapes. Returns the shape that s gets, and the order in which t is made of that; None
    where dimensions are merged that do not lie side by side in s. Dimensions of size 1 come first in the new s.
    """
    real = sorted(order[i] for i, n in enumerate(before) if n != 1)
    placed_groups = []
    for taken, made in _groups(before, after):
        places = [real.index(order[i]) for i in taken]
        if places != list(range(places[0], places[0] + len(places))):
            return None
        placed_groups.append((places[0], made))
    ones = [i for i, n in enumerate(after) if n == 1]
    axes = [*ones, *(i for _, made in sorted(placed_groups) for i in made)]
    return tuple(after[i] for i in axes), inverse(tuple(axes))


def regrouping(before: Sequence[int], after: Sequence[int], order: Order) -> Order:
    """The transposition of s after which the dimensions that the reshape merges lie side by side, the rest as in s."""
    groups = sorted((min(order[i] for i in taken), taken) for taken, _ in _groups(before, after))
    ones = [order[i] for i, n in enumerate(before) if n == 1]
    return (*sorted(ones), *(order[i] for _, taken in groups for i in taken))


def columns(shape: tuple[int, ...], order: Order, depth: int) -> Array | None:
    """Where the columns of t = TRANSPOSE(s, order), flattened to rows of `depth`, stand in the rows of s.

    `shape` is that of s. None if a row of t is not made of one row of s, or differs from row to row.
    """
    indices = np.arange(int(np.prod(shape))).reshape(shape).transpose(order).reshape(-1, depth)
    places = indices - depth * np.arange(len(indices))[:, None]
    same = bool(np.all(places == places[0])) and places.min() >= 0 and places.max() < depth
    return np.asarray(places[0]) if same else None
