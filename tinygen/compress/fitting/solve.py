# SPDX-License-Identifier: Apache-2.0
"""Weights out of a small set of values that do, for given inputs, nearly what the real ones do.

All arrays are [groups, filters, depth]; weights are in steps of their filter's scale, in which the values allowed are
integers. `allowed(columns, values)` gives, for values [groups, filters] of the input with that index, the nearest ones
allowed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinygen.compress.fitting.moments import Hessian
from tinygen.ir.types import Array, Real

#: Index of an input, real values for it → allowed ones.
Allowed = Callable[[int, Real], Real]
#: Inputs whose effect on later ones is added up before it is applied.
BATCH = 64


def sweep(weights: Real, hessian: Hessian, allowed: Allowed) -> Real:
    """Allowed values taken one input after the other; what each costs is made good in the inputs that follow.

    GPTQ (E. Frantar et al., 2022): inputs in the order of falling power, the inverse Hessian by its Cholesky factor.
    """
    result = np.empty_like(weights)
    for part, matrix in hessian.parts:
        order = np.argsort(-np.einsum("gii->i", matrix), kind="stable")
        inverse = np.linalg.inv(matrix[:, order][:, :, order])
        upper = np.linalg.cholesky((inverse + inverse.swapaxes(1, 2)) / 2).swapaxes(1, 2)
        left, names = weights[:, :, part][:, :, order], order + part.start
        for start in range(0, len(order), BATCH):
            stop = min(start + BATCH, len(order))
            costs = np.empty((*left.shape[:2], stop - start))
            for i in range(start, stop):
                value = allowed(int(names[i]), left[:, :, i])
                result[:, :, names[i]] = value
                cost = (left[:, :, i] - value) / upper[:, None, i, i]
                left[:, :, i + 1 : stop] -= cost[:, :, None] * upper[:, None, i, i + 1 : stop]
                costs[:, :, i - start] = cost
            left[:, :, stop:] -= costs @ upper[:, start:stop, stop:]
    return result


def descend(weights: Real, values: Real, hessian: Hessian, allowed: Allowed, rounds: int) -> Real:
    """`values` made better one input at a time, each to the allowed value that is best while all others stay.

    Cyclic coordinate descent (K. Behdin et al., QuantEase, 2023): the error never grows. Ends early where no value
    changes any more.
    """
    values = values.copy()
    for _ in range(rounds):
        changed = [_descended(weights, values, part, matrix, allowed) for part, matrix in hessian.parts]
        if not any(changed):
            break
    return values


def _descended(weights: Real, values: Real, part: slice, matrix: Real, allowed: Allowed) -> bool:
    """One round over one piece of the Hessian, in place; whether a value changed."""
    slope = (weights[:, :, part] - values[:, :, part]) @ matrix
    power, changed = np.einsum("gii->gi", matrix), False
    for start in range(0, slope.shape[2], BATCH):
        stop = min(start + BATCH, slope.shape[2])
        moves = np.zeros((*slope.shape[:2], stop - start))
        for i in range(start, stop):
            old = values[:, :, part.start + i]
            new = allowed(part.start + i, old + slope[:, :, i] / power[:, None, i])
            move = new - old
            if move.any():
                values[:, :, part.start + i] = new
                slope[:, :, i:stop] -= move[:, :, None] * matrix[:, None, i, i:stop]
                moves[:, :, i - start], changed = move, True
        slope[:, :, stop:] -= moves @ matrix[:, start:stop, stop:]
    return changed


def fit_scales(weights: Real, values: Real, hessian: Hessian, smallest: Real) -> Real:
    """The scale of each filter [groups, filters] with which `values` come nearest to the real `weights`.

    Least squares; at least `smallest`, which is also what a filter of zeros gets.
    """
    moved = hessian.times(values)
    squares = np.einsum("gfd,gfd->gf", moved, values)
    products = np.einsum("gfd,gfd->gf", moved, weights)
    return np.asarray(np.maximum(products / np.where(squares > 0, squares, np.inf), smallest))


def on_support(values: Array) -> Array | None:
    """Where `values` may be other than 0, if enough of them are 0 that this must be on purpose; else None."""
    kept = values != 0
    return kept if kept.mean() <= DENSE else None


#: Tensors with a larger share of weights that are not 0 count as dense.
DENSE = 0.8
