# SPDX-License-Identifier: Apache-2.0
"""Input sets to run the model on: random ones with corner cases, or the user's own from an .npz file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tinygen.data.calibration import load_archive
from tinygen.errors import UsageError
from tinygen.ir.types import Array, DType, TensorType
from tinygen.verify.build_dir import Place

#: Random int32 and int64 inputs lie in 0 … SMALL - 1: they are mostly indices, and large ones would leave any table.
SMALL = 8
#: Random floats have this standard deviation unless the caller knows the range that follows.
SPREAD = 1.0

Vector = list[Array]


def make_vectors(
    inputs: Sequence[Place], count: int, seed: int, spreads: Mapping[str, float] | None = None
) -> list[Vector]:
    """`count` input sets: a random one first, then the corners, then more random ones. The same seed, the same sets.

    `spreads` gives the standard deviation of float inputs by name, such as half the range that their quantization
    covers.
    """
    generator = np.random.default_rng(seed)
    spread = {place.name: (spreads or {}).get(place.name, SPREAD) for place in inputs}
    corners = [[_corner(p.type, which, spread[p.name]) for p in inputs] for which in ("minimum", "maximum", "zero")]
    randoms = [[_random(p.type, generator, spread[p.name]) for p in inputs] for _ in range(count)]
    return [*randoms[:1], *corners, *randoms[1:]][:count]


def _limits(tensor: TensorType) -> tuple[int, int]:
    """The smallest and largest value that an integer input gets."""
    if tensor.dtype is DType.BOOL:
        return 0, 1
    if tensor.dtype in (DType.INT32, DType.INT64) and tensor.quant is None:
        return 0, SMALL - 1
    return tensor.dtype.limits


def _corner(tensor: TensorType, which: str, spread: float) -> Array:
    if tensor.dtype is DType.FLOAT32:
        value = {"minimum": -1e3 * spread, "maximum": 1e3 * spread, "zero": 0.0}[which]
    else:
        low, high = _limits(tensor)
        value = {"minimum": low, "maximum": high, "zero": tensor.quant.zero_point if tensor.quant else low}[which]
    return np.full(tensor.shape, value, dtype=tensor.dtype.numpy)


def _random(tensor: TensorType, generator: np.random.Generator, spread: float) -> Array:
    if tensor.dtype is DType.FLOAT32:
        return (generator.standard_normal(tensor.shape) * spread).astype(np.float32)
    low, high = _limits(tensor)
    return generator.integers(low, high, size=tensor.shape, endpoint=True, dtype=np.int64).astype(tensor.dtype.numpy)


def load_vectors(file: str | Path, inputs: Sequence[Place]) -> list[Vector]:
    """The input sets in an .npz `file`: one array for each of `inputs`, called by its tensor's name or in0, in1, …

    An array has the input's dtype and its shape, alone or stacked along a new first dimension of N sets (which may also
    stand in place of the model's batch of one). `UsageError` naming file, key, what was expected and what was found
    for anything else.
    """
    arrays = load_archive(Path(file))
    keys = [_key(file, arrays, index, place) for index, place in enumerate(inputs)]
    for key in arrays:
        if key not in keys:
            raise UsageError(f"{file}: key '{key}' is no input of the model; expected {_names(inputs)}")
    stacks = [_stacked(file, key, arrays[key], place.type) for key, place in zip(keys, inputs, strict=True)]
    for key, stack in zip(keys, stacks, strict=True):
        if len(stack) != len(stacks[0]):
            raise UsageError(f"{file}: key '{key}': expected {len(stacks[0])} sets as in '{keys[0]}', got {len(stack)}")
    return [list(vector) for vector in zip(*stacks, strict=True)]


def _names(inputs: Sequence[Place]) -> str:
    return ", ".join(f"'{place.name}' (or 'in{index}')" for index, place in enumerate(inputs))


def _key(file: str | Path, arrays: Mapping[str, Array], index: int, place: Place) -> str:
    found = [key for key in dict.fromkeys((place.name, f"in{index}")) if key in arrays]
    if len(found) != 1:
        got = " and ".join(f"'{key}'" for key in found or arrays) or "no key"
        raise UsageError(f"{file}: expected one key '{place.name}' or 'in{index}' for input {index}, got {got}")
    return found[0]


def _stacked(file: str | Path, key: str, array: Array, tensor: TensorType) -> list[Array]:
    """The input sets in `array`, each with the shape of `tensor`."""
    one, rest = tensor.shape, tensor.shape[1:]
    batch = one[:1] == (1,) and array.ndim == len(one) and array.shape[1:] == rest
    if array.dtype != tensor.dtype.numpy or not (array.shape == one or array.shape[1:] == one or batch):
        got = f"{array.dtype.name}[{','.join(map(str, array.shape))}]"
        more = "N," + ",".join(map(str, rest if one[:1] == (1,) else one))
        raise UsageError(f"{file}: key '{key}': expected {tensor} or {tensor.dtype.value}[{more}], got {got}")
    sets = list(array.reshape(-1, *one))
    if not sets:
        raise UsageError(f"{file}: key '{key}': expected at least one input set, got none")
    return sets
