# SPDX-License-Identifier: Apache-2.0
"""How often each layer reads its constants, as its kernel goes over them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from math import prod

from tinygen.ir.program import Invocation, Program, Step
from tinygen.kernels.base import PLAIN

#: By template: for how many positions (output pixels, or rows of a product) a weight is read once. A word is the name
#: of the parameter that says it.
AT_ONCE: Mapping[str, int | str] = {
    "conv_2d/dsp": "band",
    "conv_2d/dsp_doubled": 3,
    "conv_2d/dsp_quads": 4,
    "conv_2d/dsp_fives": 5,
    "conv_2d/dsp_twos": 2,
    "conv_2d/mve": 2,
    "conv_2d/v6m": 2,
    "depthwise_conv_2d/mve": "fold",
    "depthwise_conv_2d/dsp_padded": "out_w",
    "fully_connected/mve": 2,
}
#: By template, of those whose weights are prepared once for an image: for what of it once more each time.
PREPARED: Mapping[str, str] = {
    "depthwise_conv_2d/dsp": "",
    "depthwise_conv_2d/dsp_direct": "row_spans",
    "depthwise_conv_2d/v6m": "kernel_h",
}
#: The field of parameters that points to weights; the others that point to constants have an element for each channel.
WEIGHTS = "weights"


def reads(program: Program) -> list[dict[str, int]]:
    """For each step, how many words of 32 bits it reads from each array of constants in one inference.

    Roughly: weights count as read four at a time; what has no products has one read of a table for each output.
    """
    sizes = {constant.name: max(1, constant.bytes) for constant in program.constants}
    lengths = {constant.name: max(1, constant.values.size) for constant in program.constants}
    found = []
    for step in program.steps:
        total = Counter[str]()
        for layer, call, times in _calls(step):
            outputs = sum(prod(program.types[name].shape) for name in layer.outputs if name in program.types)
            for field, name in _arrays(call):
                if field.rpartition(".")[2] == WEIGHTS and layer.form == PLAIN:
                    total[name] += times * passes(layer.kernel, call.params) * -(-sizes[name] // 4)
                elif layer.macs:
                    total[name] += times * passes(layer.kernel, call.params) * lengths[name]
                else:
                    total[name] += times * max(outputs, 1)
        found.append(dict(total))
    return found


def passes(kernel: str, params: Mapping[str, int | float | str]) -> int:
    """How often one call of a kernel goes over all its weights."""
    plain = {key.rpartition(".")[2]: value for key, value in params.items()} | dict(params)
    known = {key: int(value) for key, value in plain.items() if not isinstance(value, str)}
    batch, at_once = known.get("batch", 1), AT_ONCE.get(kernel, 1)
    if kernel in PREPARED:
        return batch * known.get(PREPARED[kernel], 1)
    width = known.get("pixels") or known.get("out_w", 1)
    rows = 1 if "pixels" in known else known.get("out_h", known.get("rows", 1))
    step = known.get(at_once, 1) if isinstance(at_once, str) else at_once
    if kernel == "fully_connected/mve":
        return batch * -(-rows // step)
    return batch * rows * -(-width // max(1, step))


def _calls(step: Step) -> Iterator[tuple[Step, Invocation, int]]:
    """The calls of a step, with the layer that makes each, and how often it is made."""
    if step.loop is None:
        yield from ((step, call, 1) for call in step.invocations)
        return
    often = Counter(step.loop.order)
    makes = {id(call): layer for layer in step.loop.layers for call in layer.invocations}
    for number, action in enumerate(step.loop.actions):
        yield from ((makes[id(call)], call, often[number]) for call in action.calls)


def _arrays(call: Invocation) -> Iterator[tuple[str, str]]:
    """The fields of a call's parameters that are arrays, and the operands that are."""
    yield from ((field, value) for field, value in call.params.items() if isinstance(value, str))
    yield from (("", operand.name) for operand in call.reads if operand.constant)
