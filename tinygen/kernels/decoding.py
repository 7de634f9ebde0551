# SPDX-License-Identifier: Apache-2.0
"""FULLY_CONNECTED with stored weights that are decoded while they are multiplied.

For few rows of the input, where unpacking a weight would cost as much as using it. The C function comes from
``templates/kernels/fully_connected/<form>_dot.c.j2``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.stored import PLAIN_KERNELS, Fields, Form, nested, rows_of
from tinygen.ops.base import Call
from tinygen.ops.convolution import weights_of

#: Whether packed weights, of so many for each unit, can be decoded while they are multiplied.
Fits = Callable[[Fields, int], bool]


def decoding(
    form: Form, fits: Fits, speed: float | Callable[[Call[Any]], float], dot: str, template: str
) -> tuple[Kernel, ...]:
    """The kernels of `form` for matrix products whose weights fit; `template` has the function that sums products.

    `dot` is what the names of their C functions and templates end in.
    """

    def kernel(plain: Kernel) -> Kernel:
        def accepts(call: Call[Any]) -> bool:
            if not plain.accepts(call) or any(weights_of(call).q.zero_points):
                return False
            stored = form.of(call)
            return stored is not None and fits(stored, rows_of(call).shape[1])

        def launch(call: Call[Any]) -> Sequence[Launch]:
            (one,) = plain.launch(call)
            return (replace(one, params=nested(form, call, one)),)

        return replace(
            plain,
            template=f"fully_connected/{form.name}_{dot}",
            launch=launch,
            accepts=accepts,
            uses=(*plain.uses, *form.uses, f"common/{form.name}", template, plain.template),
            speed=speed,
            form=form.name,
            code=form.code["fully_connected_dot"],
            per_call=0,
            asked=form.asked,
        )

    return tuple(kernel(plain) for plain in PLAIN_KERNELS if plain.function == "fully_connected")


def indexed(form: Form) -> tuple[Kernel, ...]:
    """Those of a `form` with ``indices_t`` and `<form>_table(stored, reader)`."""
    return (
        *decoding(form, partial(fills_bytes, (2, 3, 4)), 5.0, "dot", "common/indices_dot"),
        *decoding(form, partial(fills_bytes, (1, 5, 6)), 6.0, "rare_dot", "common/indices_rare_dot"),
    )


def fills_bytes(widths: Sequence[int], stored: Fields, depth: int) -> bool:
    """Whether weights are numbers of one of these `widths` in bits, and those of a unit fill whole bytes."""
    bits = int(stored["indices.bits"])
    return bits in widths and depth * bits % 8 == 0
