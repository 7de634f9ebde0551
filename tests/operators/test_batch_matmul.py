# SPDX-License-Identifier: Apache-2.0
"""BATCH_MATMUL."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.convolutions import integers, output_quant, refuses, scales_for_halves
from tests.laws import check_laws, load
from tests.strategies import FEW, quants, scales
from tests.tflite_builder import ModelBuilder
from tinygen.lower import lower
from tinygen.target import load_target

Shape = tuple[int, ...]


def build(
    a: Shape, b: Shape, adj: tuple[bool, bool], constant: str, quant: list[tuple[float, int]], seed: int = 0
) -> bytes:
    """A file with left and right shapes as stored; `constant` says which side is ("a", "b" or neither)."""
    m = ModelBuilder()
    x = m.tensor(a, "int8", *quant[0], integers(seed, a, -128) if constant == "a" else None)
    y = m.tensor(b, "int8", *quant[1], integers(seed, b, -128) if constant == "b" else None)
    rows, columns = a[-1] if adj[0] else a[-2], b[-2] if adj[1] else b[-1]
    out = m.tensor((*np.broadcast_shapes(a[:-2], b[:-2]), rows, columns), "int8", *quant[2])
    m.op("BATCH_MATMUL", [x, y], [out], "BatchMatMulOptions", adjX=adj[0], adjY=adj[1])
    return m.finish([t for t, side in ((x, "a"), (y, "b")) if side != constant], [out])


@st.composite
def models(draw: st.DrawFn) -> bytes:
    batch = draw(st.lists(st.integers(1, 3), max_size=3))

    def some() -> Shape:
        """The batch dimensions or the last of them, each kept or 1."""
        kept = [n if draw(st.booleans()) else 1 for n in batch]
        return tuple(kept[draw(st.integers(0, len(batch))) :])

    rows, depth, columns = (draw(st.integers(1, 9)) for _ in range(3))
    adj = draw(st.tuples(st.booleans(), st.booleans()))
    a = (*some(), *((depth, rows) if adj[0] else (rows, depth)))
    b = (*some(), *((columns, depth) if adj[1] else (depth, columns)))
    left, right = draw(quants()), (draw(scales(1e-3, 0.05)), draw(st.integers(-128, 127)))
    target = draw(output_quant(left[0], [right[0]], depth))
    constant = draw(st.sampled_from(("a", "b", "b", "")))
    return build(a, b, adj, constant, [left, right, target], draw(st.integers(0, 2**32)))


@FEW
@given(st.lists(models(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


def test_scales_are_multiplied_in_double() -> None:
    quant = [(scale, 0) for scale in scales_for_halves()]
    check_laws([build((64, 3), (3, 5), (False, False), "b", quant)])


PLAIN = [(0.5, 0), (0.1, 0), (1.0, 0)]


def kernel_of(a: Shape, b: Shape, adj_x: bool, constant: str) -> str:
    return lower(load(build(a, b, (adj_x, False), constant, PLAIN)), load_target("host")).steps[0].kernel


def test_constant_matrix_is_packed() -> None:
    assert kernel_of((2, 3, 4), (4, 5), False, "b") == kernel_of((3, 4), (1, 1, 4, 5), False, "b")
    assert kernel_of((2, 3, 4), (4, 5), False, "b") == "fully_connected/portable"
    assert kernel_of((2, 4, 3), (4, 5), True, "b") == "batch_matmul/portable"
    assert kernel_of((2, 3, 4), (2, 4, 5), False, "b") == "batch_matmul/portable"
    assert kernel_of((3, 4), (4, 5), False, "") == "batch_matmul/portable"


def odd(a: Shape, b: Shape, quant: list[tuple[float, int]] = PLAIN) -> bytes:
    m = ModelBuilder()
    x, y, out = m.tensor(a, "int8", *quant[0]), m.tensor(b, "int8", *quant[1]), m.tensor((2, 3, 5), "int8", *quant[2])
    m.op("BATCH_MATMUL", [x, y], [out], "BatchMatMulOptions")
    return m.finish([x, y], [out])


def test_refusals() -> None:
    check_laws([odd((2, 3, 4), (4, 5))])
    refuses(odd((3,), (3, 4)), "2 to 5 dimensions")
    refuses(odd((1, 1, 1, 1, 3, 4), (4, 5)), "2 to 5 dimensions")
    refuses(odd((2, 3, 4), (5, 4)), "as many columns")
    refuses(odd((2, 3, 4), (3, 4, 5)), "must broadcast")
    refuses(odd((2, 3, 40000), (40000, 5)), "must fit 32 bits")
    refuses(odd((2, 3, 4), (4, 5), [(1e6, 0), (1.0, 0), (1.0, 0)]), "must fit 32 bits")
    refuses(odd((1, 3, 4), (4, 5)), "declares outputs")
