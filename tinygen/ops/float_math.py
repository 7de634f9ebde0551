# SPDX-License-Identifier: Apache-2.0
"""exp and log in double, with one rounding per operation in a fixed order, so that C can repeat them bit for bit.

Their error is about one unit of the last place of a double, so that a result rounded to float32 is the nearest one but
for one argument in some 10^8. ``templates/kernels/common/float_math.c.j2`` is the same in C.
"""

from __future__ import annotations

import math

import numpy as np

from tinygen.ir.types import Real

#: 1/13!, 1/12! … 1/0!: the Taylor series of exp, for arguments up to log(2)/2.
EXP_TERMS = np.array([1 / math.factorial(n) for n in range(13, -1, -1)])

#: 2/21, 2/19 … 2/1: the series of log((1 + s) / (1 - s)) / s in s^2, for s up to 0.172.
LOG_TERMS = np.array([2 / n for n in range(21, 0, -2)])

#: log 2 as the sum of two doubles, of which the first has so many zeros at its end that 8-bit multiples are exact.
LOG_2_HIGH, LOG_2_LOW = float.fromhex("0x1.62e42feep-1"), 1.9082149292705877e-10

#: exp of less is 0 in float32.
LEAST = -104.0


def exp(x: Real) -> Real:
    """exp of `x` <= 0, as far as float32 can hold it: x = n log 2 + r."""
    inside = np.where(x > LEAST, x, 0.0)
    n = np.trunc(inside * (1 / math.log(2)) - 0.5)
    r = inside - n * LOG_2_HIGH
    r = r - n * LOG_2_LOW
    power = np.ldexp(_polynomial(EXP_TERMS, r), n.astype(np.int64))
    return np.where(x > LEAST, power, np.where(np.isnan(x), x, 0.0))


def log(x: Real) -> Real:
    """log of finite `x` >= 1; anything else as it is: x = 2^n m, m = (1 + s) / (1 - s) in (sqrt(1/2), sqrt(2)]."""
    with np.errstate(invalid="ignore"):
        regular = (x >= 1) & (x < np.inf)
    fraction, n = np.frexp(np.where(regular, x, 1.0))
    low = fraction * 2 <= math.sqrt(2)
    m, n = np.where(low, fraction * 2, fraction), n - low
    s = (m - 1) / (m + 1)
    result = n * math.log(2) + s * _polynomial(LOG_TERMS, s * s)
    return np.where(regular, result, x)


def _polynomial(terms: Real, x: Real) -> Real:
    """Horner's scheme, highest term first."""
    result = np.full_like(x, terms[0])
    for term in terms[1:]:
        result = result * x
        result = result + term
    return result
