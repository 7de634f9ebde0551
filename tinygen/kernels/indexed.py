"""FULLY_CONNECTED with weights as numbers of 2 to 4 bits, which are looked up in a table while they are multiplied.

For few rows of the input, where unpacking a weight would cost as much as using it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.stored import PLAIN_KERNELS, Form, nested
from tinygen.ops.base import Call
from tinygen.ops.convolution import weights_of


def indexed(form: Form) -> tuple[Kernel, ...]:
    """The kernels of `form`, whose decoder has `indices` and `<form>_table(stored, reader)`, for matrix products."""
    return tuple(_kernel(plain, form) for plain in PLAIN_KERNELS if plain.function == "fully_connected")


def _kernel(plain: Kernel, form: Form) -> Kernel:
    def accepts(call: Call[Any]) -> bool:
        return plain.accepts(call) and not any(weights_of(call).q.zero_points) and whole_bytes(form, call)

    def launch(call: Call[Any]) -> Sequence[Launch]:
        (one,) = plain.launch(call)
        return (replace(one, params=nested(form, call, one)),)

    return replace(
        plain,
        template=f"fully_connected/{form.name}_dot",
        function=f"fully_connected_{form.name}_dot",
        launch=launch,
        accepts=accepts,
        uses=(*plain.uses, *form.uses, f"common/{form.name}", "common/indices_dot", plain.template),
        speed=5.0,
        form=form.name,
        code=form.code["fully_connected_dot"],
        per_call=form.per_call,
    )


def whole_bytes(form: Form, call: Call[Any]) -> bool:
    """Whether the weights of `call` in `form` are numbers of 2 to 4 bits, and those of a channel fill whole bytes."""
    stored = form.of(call)
    if stored is None:
        return False
    bits, depth = int(stored["indices.bits"]), weights_of(call).elements // call.output.shape[-1]
    return bits in (2, 3, 4) and depth * bits % 8 == 0
