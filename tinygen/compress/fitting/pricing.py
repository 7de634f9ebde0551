# SPDX-License-Identifier: Apache-2.0
"""What a form of a layer costs: bytes of weights, and instructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.compress.fitting.factors import Form
from tinygen.compress.fitting.sizes import BIAS, REQUANTIZATION
from tinygen.ir.types import DType, Quant, TensorType
from tinygen.kernels import kernels_for
from tinygen.kernels.base import PLAIN
from tinygen.ops import Call, all_ops
from tinygen.ops.convolution import ConvAttrs
from tinygen.selection import Choice
from tinygen.target import Target

#: How often the worth of a byte is halved in looking for the one that meets a budget; and the share of a layer's
#: variance that rounding values between two factors costs.
ROUNDS, ROUNDING = 60, 1e-4


@dataclass(frozen=True)
class Price:
    """Bytes of weights, biases and multipliers, multiply-accumulates, and instructions, roughly."""

    bytes: int
    macs: int
    instructions: float

    def __add__(self, other: Price) -> Price:
        return Price(self.bytes + other.bytes, self.macs + other.macs, self.instructions + other.instructions)

    def below(self, other: Price) -> bool:
        """Whether bytes and instructions are both fewer."""
        return self.bytes < other.bytes and self.instructions < other.instructions


def price_of(call: Call[Any], target: Target) -> Price:
    """The price of a layer as it is, with its weights stored plainly."""
    filters = call.output.shape[-1]
    each = BIAS + (REQUANTIZATION if call.input(1).q.axis is not None else 0)
    macs = all_ops()[call.op].macs(call)
    kernels = [k for k in kernels_for(call.op) if k.form == PLAIN and k.requires <= target.features and k.accepts(call)]
    return Price(call.input(1).elements + filters * each, macs, macs * min(Choice(k, call).speed for k in kernels))


@dataclass(frozen=True)
class Offer:
    """A form of a layer, and its price on `target`."""

    form: Form
    price: Price
    target: Target


def frontier(offers: Sequence[Offer]) -> tuple[Offer, ...]:
    """The offers that lose less than every smaller one, by rising size."""
    best: list[Offer] = []
    for offer in sorted(offers, key=lambda o: (o.price.bytes, o.form.error)):
        if not best or offer.form.error < best[-1].form.error:
            best.append(offer)
    return tuple(best)


def cheapest(
    offers: Mapping[str, Sequence[Offer]], plain: Mapping[str, Price], worth: Mapping[str, float], budget: float
) -> dict[str, Offer]:
    """For each layer an offer or none, so that together they fit `budget` bytes and lose least.

    `plain` are the layers' prices as they are, `worth` what losing all of a layer's variance costs. Each layer takes
    what is best for it at one and the same price for a byte (Lagrange), and what is left of the budget goes where it
    serves best. Where the budget is too small, all layers take the smallest.
    """
    low, high, chosen = 0.0, 1.0, dict[str, Offer]()
    for _ in range(ROUNDS):
        middle = (low + high) / 2 if chosen else high
        found = _at(middle, offers, plain, worth)
        spent = sum(found[n].price.bytes if n in found else plain[n].bytes for n in offers)
        if spent <= budget:
            high, chosen = middle, found
        else:
            low, high = middle, high if chosen else 4 * high
    chosen = chosen or {name: some[0] for name, some in offers.items()}
    return _improved(chosen, offers, plain, worth, budget)


def _improved(
    chosen: Mapping[str, Offer],
    offers: Mapping[str, Sequence[Offer]],
    plain: Mapping[str, Price],
    worth: Mapping[str, float],
    budget: float,
) -> dict[str, Offer]:
    """`chosen` with larger offers, or layers as they are, where what is left of `budget` pays for them."""
    made = dict(chosen)
    while True:
        left = budget - sum(made[n].price.bytes if n in made else plain[n].bytes for n in offers)
        gains: list[tuple[float, str, Offer | None]] = []
        for name, old in made.items():
            more = [o for o in offers[name] if 0 < o.price.bytes - old.price.bytes <= left]
            gains += [(worth[name] * (old.form.error - o.form.error), name, o) for o in more]
            if plain[name].bytes - old.price.bytes <= left:
                gains.append((worth[name] * (old.form.error + ROUNDING), name, None))
        if not gains:
            return made
        _, name, offer = max(gains, key=lambda gain: gain[0])
        if offer is None:
            del made[name]
        else:
            made[name] = offer


def _at(
    byte: float, offers: Mapping[str, Sequence[Offer]], plain: Mapping[str, Price], worth: Mapping[str, float]
) -> dict[str, Offer]:
    """What each layer takes if a byte costs `byte`; layers that stay as they are do not appear."""
    found = {}
    for name, some in offers.items():
        costs = [worth[name] * (o.form.error + ROUNDING) + byte * o.price.bytes for o in some]
        best = min(range(len(some)), key=costs.__getitem__)
        if costs[best] < byte * plain[name].bytes:
            found[name] = some[best]
    return found


def price(call: Call[Any], form: Form, target: Target) -> Price:
    """The price of layer `call` in `form`."""
    first, *rest = [price_of(part, target) for part in _parts(call, form)]
    return sum(rest, start=first)


def _parts(call: Call[Any], form: Form) -> list[Call[Any]]:
    """The layers that `form` consists of, with weights that are all the same."""
    if call.op == "FULLY_CONNECTED":
        (filters, depth), (rank,) = call.input(1).shape, form.ranks
        count = call.input(0).elements // depth
        return [
            _part(call, (count, depth), (rank, depth), (count, rank)),
            _part(call, (count, rank), (filters, rank), (count, filters)),
        ]
    (batch, in_h, in_w, channels), (_, out_h, out_w, _) = call.input(0).shape, call.output.shape
    (filters, height, width, _), attrs, rank = call.input(1).shape, call.attrs, form.ranks[-1]
    if form.kind == "columns":
        middle = (batch, out_h, in_w)
        near, far = (height, 1), (1, width)
        steps = (attrs.stride[0], 1), (1, attrs.stride[1])
    elif form.kind == "rows":
        middle = (batch, in_h, out_w)
        near, far = (1, width), (height, 1)
        steps = (1, attrs.stride[1]), (attrs.stride[0], 1)
    else:
        middle, parts, depth = (batch, out_h, out_w), [], channels
        if form.kind == "tucker":
            depth = form.ranks[0]
            parts.append(_part(call, call.input(0).shape, (depth, 1, 1, channels), (batch, in_h, in_w, depth)))
        source = (batch, in_h, in_w, depth)
        if rank == filters:
            return [*parts, _part(call, source, (filters, height, width, depth), call.output.shape, attrs)]
        parts.append(_part(call, source, (rank, height, width, depth), (*middle, rank), attrs))
        return [*parts, _part(call, (*middle, rank), (filters, 1, 1, rank), call.output.shape)]
    return [
        _part(call, call.input(0).shape, (rank, *near, channels), (*middle, rank), ConvAttrs(steps[0])),
        _part(call, (*middle, rank), (filters, *far, rank), call.output.shape, ConvAttrs(steps[1])),
    ]


def _part(
    call: Call[Any], source: tuple[int, ...], weights: tuple[int, ...], target: tuple[int, ...], attrs: Any = None
) -> Call[Any]:
    given = attrs if attrs is not None else (ConvAttrs() if call.op == "CONV_2D" else call.attrs)
    axis = call.input(1).q.axis
    count = 1 if axis is None else weights[0]
    tensor = TensorType(weights, DType.INT8, Quant((1e-3,) * count, (0,) * count, axis))
    values = np.resize(np.arange(-127, 128, dtype=np.int8), weights)
    inputs = (replace(call.input(0), shape=source), tensor)
    return replace(
        call, attrs=given, inputs=inputs, outputs=(replace(call.output, shape=target),), constants=(None, values)
    )
