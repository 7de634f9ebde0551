"""SOFTMAX with a table of exponentials."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.kernels.base import Kernel, Launch, int32
from tinygen.ops.base import Call
from tinygen.ops.softmax import SoftmaxAttrs, exp_table


def launch(call: Call[SoftmaxAttrs]) -> Sequence[Launch]:
    depth = call.input(0).shape[-1]
    exps = int32(exp_table(call.attrs.beta * call.input(0).q.scale))
    return (Launch((0,), (0,), {"rows": call.output.elements // depth, "depth": depth, "exps": exps}),)


def in_place(call: Call[SoftmaxAttrs]) -> tuple[int, ...]:
    """A row is read twice before its first element is written, then element by element."""
    return (0,)


KERNELS = (
    Kernel(
        op=("SOFTMAX",),
        template="softmax/table",
        function="softmax",
        launch=launch,
        uses=("common/fixedpoint",),
        in_place=in_place,
        speed=40.0,
    ),
)
