# SPDX-License-Identifier: Apache-2.0
"""Low rank: a layer becomes two or three smaller ones, where they are smaller and faster together.

See `tinygen.compress.fitting.factors` for the forms. Factors are those of the layer that fits the original's outputs
best on the inputs it gets now, weighted with those inputs (activation-aware: Z. Yuan et al., ASVD, 2023); what rounding
the first one loses, the next one is fitted to make good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from tinygen.compress.base import Evidence, Setting, Stage
from tinygen.compress.fitting.chains import build, shape_of
from tinygen.compress.fitting.factors import Layer, forms
from tinygen.compress.fitting.pricing import Offer, cheapest, frontier, price, price_of
from tinygen.compress.fitting.refit import RefusedError, refit
from tinygen.compress.fitting.regression import damped
from tinygen.compress.fitting.sensitivity import sensitivities
from tinygen.compress.fitting.walk import Walk, enough, walk
from tinygen.errors import UsageError
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import DType
from tinygen.ops import call_of
from tinygen.passes.base import Result, label
from tinygen.passes.channels import mixes
from tinygen.quantize.layers import MAX_DEPTH, columns, is_layer
from tinygen.target import load_target

#: The offers for each layer, by the tensor that the layer computes.
Offers = Mapping[str, Sequence[Offer]]


@dataclass(frozen=True)
class LowRank:
    """Replace layers by products of smaller ones.

    - `ratio`: the share of the bytes of all layers' weights that is to go, over the whole model; a layer that matches a
      pattern loses that share of its own bytes instead, or stays ("none").
    - `energy`: in place of `ratio`, the share of each layer's output variance to keep, at as few bytes as possible.
    - `multiple`: ranks are multiples of this, since kernels work in fours.
    - `target`: the core whose kernels tell how many instructions a form takes.
    """

    ratio: Setting = field(default=Setting(0.5), metadata={"main": True})
    energy: float | None = None
    multiple: int = 4
    target: str = "cortex-m4"
    name: ClassVar[str] = "low-rank"
    stage: ClassVar[Stage] = Stage.STRUCTURE

    def __post_init__(self) -> None:
        for value in (self.ratio.value, *self.ratio.layers.values()):
            if value is not None and not (isinstance(value, (int, float)) and 0 <= value < 1):
                raise UsageError(f"expected ratio to be a share to remove, at least 0 and below 1, got {value!r}")
        if self.energy is not None and not 0 < self.energy < 1:
            raise UsageError(f"expected energy to be a share of variance to keep, between 0 and 1, got {self.energy!r}")
        if self.multiple < 1:
            raise UsageError(f"expected multiple to be at least 1, got {self.multiple!r}")

    def run(self, graph: Graph, evidence: Evidence) -> Result:
        """See `Technique.run`."""
        samples = enough(graph, evidence.samples)
        made = walk(graph, samples)
        offers, why = self._offers(made)
        chosen = self._chosen(made, offers, why)
        done = list[str]()
        for node in graph.nodes:
            offer = chosen.get(node.outputs[0])
            line = _replaced(made, node, offer, why) if offer else None
            if line is None:
                made.add(refit(made, node))
            else:
                done.append(line)
        return Result(made.graph() if done else graph, tuple(done), tuple(why))

    def _offers(self, made: Walk) -> tuple[Offers, list[str]]:
        """For each layer the forms that would pay, and why there are none for others."""
        graph, watch, target = made.original, replace(made, now=dict(made.truth)), load_target(self.target)
        offers, why = dict[str, Sequence[Offer]](), list[str]()
        for node in graph.nodes:
            if not is_layer(graph, node) or node.op == "DEPTHWISE_CONV_2D" or self.ratio.of(node) is None:
                continue
            call, reason = call_of(graph, node), _unfit(graph, node)
            if reason is None:
                layer, plain = _layer(watch, node), price_of(call, target)
                priced = (Offer(form, price(call, form, target), target) for form in forms(layer, self.multiple))
                found = frontier([offer for offer in priced if offer.price.below(plain)])
                if found:
                    offers[node.outputs[0]] = found
                    continue
                reason = "no rank gives both fewer bytes and fewer instructions"
            why.append(f"{label(node)}: {reason}")
        return offers, why

    def _chosen(self, made: Walk, offers: Offers, why: list[str]) -> dict[str, Offer]:
        """The form that each layer gets; for others, a line in `why`."""
        graph, target = made.original, load_target(self.target)
        nodes = {n.outputs[0]: n for n in graph.nodes if is_layer(graph, n)}
        plain = {name: price_of(call_of(graph, node), target) for name, node in nodes.items()}
        chosen, free = dict[str, Offer](), dict[str, Sequence[Offer]]()
        for name, some in offers.items():
            if self.ratio.names(nodes[name]):
                limit = plain[name].bytes * (1 - self.ratio.of(nodes[name]))
                fits = [o for o in some if o.price.bytes <= limit]
            elif self.energy is not None:
                fits = [o for o in reversed(some) if o.form.error <= 1 - self.energy]
            else:
                free[name], fits = some, []
            if fits:
                chosen[name] = fits[-1]
        if free and self.ratio.value is not None:
            total = sum(p.bytes for p in plain.values())
            fixed = sum(chosen[n].price.bytes if n in chosen else p.bytes for n, p in plain.items() if n not in free)
            worth = sensitivities(graph, made.truth, tuple(free))
            chosen |= cheapest(free, plain, worth, total * (1 - self.ratio.value) - fixed)
        for name in offers:
            if name not in chosen:
                why.append(f"{label(nodes[name])}: {self._reason(offers[name])}")
        return chosen

    def _reason(self, offers: Sequence[Offer]) -> str:
        """Why none of a layer's offers was taken."""
        best = min(o.form.error for o in offers)
        if self.energy is not None:
            return f"what is smaller and faster keeps at most {1 - best:.2%} of the variance"
        return f"other layers lose less for the bytes (here {best:.2%} of the variance at least)"


def _unfit(graph: Graph, node: Node) -> str | None:
    """Why `node` cannot be written as a product of layers."""
    call = call_of(graph, node)
    weights = call.input(1)
    if not mixes(call):
        return "it convolves groups of channels apart from each other"
    if any(t.dtype is not DType.INT8 for t in (call.input(0), call.output)):
        return "its activations are not int8"
    if any(weights.q.zero_points):
        return "its weights have a zero point"
    if weights.elements // weights.shape[0] > MAX_DEPTH:
        return f"it has more than {MAX_DEPTH} inputs for each output"
    return None


def _layer(watch: Walk, node: Node) -> Layer:
    """A layer of the original, on the original's inputs."""
    tensor, stored = watch.types[node.inputs[1]], watch.constants[node.inputs[1]]
    covariance = damped(watch.moments(node, node).all.covariance)[0]
    return Layer(columns(node.op, tensor.dequantize(stored), 1)[0], covariance, shape_of(watch, node))


def _replaced(made: Walk, node: Node, offer: Offer, why: list[str]) -> str | None:
    """Adds the layers that `offer` makes of `node`, and says what that was; None, and why, if they cannot be."""
    old = dict(made.types), dict(made.constants), list(made.nodes)
    try:
        build(made, node, offer.form)
    except RefusedError as error:
        made.types, made.constants, made.nodes = old
        why.append(f"{label(node)}: {error}")
        return None
    ranks = " and ".join(map(str, offer.form.ranks))
    before, now = price_of(call_of(made.original, node), offer.target), offer.price
    return (
        f"{label(node)}: {offer.form.kind} of rank {ranks}, {before.bytes} → {now.bytes} B, {before.macs} → {now.macs} "
        f"MACs, {made.closeness(node.outputs[0]):.1f} dB"
    )


TECHNIQUE = LowRank
