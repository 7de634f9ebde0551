# SPDX-License-Identifier: Apache-2.0
"""Structured pruning: whole channels go, wherever they reach, and the layers that read them make up for it.

Channels go in groups (`tinygen.passes.channels`): a residual sum and all that is added to it, a depthwise convolution
with what it reads, a flattened image with the columns of the dense layer behind. Which go is told by `saliency`, how
many from where by what that costs for each byte (or MAC, or channel) it saves. Every layer behind is then fitted by
least squares to what it gave in the original (Y. He et al., Channel Pruning for Accelerating Very Deep Neural Networks,
2017) and rounded again; so no training is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from tinygen.compress.base import Evidence, Setting, Stage
from tinygen.compress.fitting.clusters import Cluster, clusters_of, declined, orders
from tinygen.compress.fitting.refit import refit
from tinygen.compress.fitting.saliency import Order
from tinygen.compress.fitting.sizes import Measure, Sizes, sizes, weight_bytes
from tinygen.compress.fitting.walk import Walk, enough, walk
from tinygen.errors import UsageError
from tinygen.ir.graph import Graph
from tinygen.ops import call_of, op_of
from tinygen.passes.base import Result, label
from tinygen.passes.channels import channel_groups, channels_of
from tinygen.passes.surgery import remove_channels


@dataclass(frozen=True)
class Group:
    """Layers whose channels go together: what a width belongs to.

    `layers` are the names of those that make the channels, of which there are `channels`; `readers` of those that mix
    them. `bytes` are the weights, biases and multipliers that each channel takes in all of them.

    A pattern of `Prune.ratio` that matches one of `layers` sets the width of the group:
    ``Prune(Setting(None, {glob.escape(group.layers[0]): 1 - width / group.channels}))`` leaves `width` channels,
    rounded to a multiple of `Prune.multiple`. Groups without a pattern keep theirs if the setting's value is None, and
    else share what is left of it.
    """

    layers: tuple[str, ...]
    readers: tuple[str, ...]
    channels: int
    bytes: float


def groups(graph: Graph) -> tuple[Group, ...]:
    """The groups of `graph` (int8) that have widths of their own, in its order: what a search may tune."""
    size = sizes(graph, "bytes")

    def group(cluster: Cluster) -> Group:
        saved = size.total({}) - size.total(_left({cluster: 1}))
        makers, readers = (tuple(node.name for node in some) for some in (cluster.makers, cluster.readers))
        return Group(makers, readers, len(cluster.groups), saved)

    return tuple(map(group, clusters_of(graph, channel_groups(graph))))


#: Shares that a uniform ratio is chosen among.
SHARES = np.linspace(0.0, 1.0, 65)


@dataclass(frozen=True)
class Prune:
    """Remove channels until the share `ratio` of the model's weights is gone.

    - `ratio`: the share of bytes of weights (or of what else `of` says) that is to go, over the whole model; a layer
      that matches a pattern loses that share of its channels instead, or none ("none").
    - `saliency`: what a channel is worth: ``activation`` what going without it costs the outputs of those who read it,
      ``magnitude`` how large its weights are, ``mix`` the product.
    - `spread`: where channels go: ``global``, where it costs least for what it saves, or ``uniform``, the same share
      everywhere.
    - `multiple`: channels are left in multiples of this, since kernels work in fours. `floor`: the share of a layer's
      channels that is left in any case.
    """

    ratio: Setting = field(default=Setting(0.5), metadata={"main": True})
    of: Measure = "bytes"
    saliency: Literal["activation", "magnitude", "mix"] = "activation"
    spread: Literal["global", "uniform"] = "global"
    multiple: int = 4
    floor: float = 0.125
    name: ClassVar[str] = "prune"
    stage: ClassVar[Stage] = Stage.STRUCTURE

    def __post_init__(self) -> None:
        for value in (self.ratio.value, *self.ratio.layers.values()):
            if value is not None and not (isinstance(value, (int, float)) and 0 <= value < 1):
                raise UsageError(f"expected ratio to be a share to remove, at least 0 and below 1, got {value!r}")
        for key, known in (
            ("of", ("bytes", "macs", "channels")),
            ("saliency", ("activation", "magnitude", "mix")),
            ("spread", ("global", "uniform")),
        ):
            if getattr(self, key) not in known:
                raise UsageError(f"expected {key} to be one of {', '.join(known)}, got {getattr(self, key)!r}")
        if self.multiple < 1 or not 0 <= self.floor <= 1:
            raise UsageError("expected multiple to be at least 1, and floor to be a share from 0 to 1")

    def run(self, graph: Graph, evidence: Evidence) -> Result:
        """See `Technique.run`."""
        groups = channel_groups(graph)
        clusters = clusters_of(graph, groups)
        why = tuple(declined(graph, groups))
        if not clusters:
            return Result(graph, declined=(*why, "there is no layer whose channels could go"))
        samples = enough(graph, evidence.samples)
        watch = walk(graph, samples)
        watch.now = dict(watch.truth)
        floors = {c: self._floor(len(c.groups)) for c in clusters}
        sequences = orders(watch, groups, clusters, self.saliency, floors)
        counts, short = self._counts(graph, clusters, sequences)
        removed = np.zeros(groups.count, np.bool_)
        for cluster, count in counts.items():
            removed[[cluster.groups[i] for i in sequences[cluster].channels[:count]]] = True
        if not removed.any():
            return Result(graph, declined=(*why, *short))
        kept = groups.masks(removed)
        smaller = remove_channels(graph, kept)
        made = walk(graph, samples, kept, smaller)
        for node in smaller.nodes:
            made.add(refit(made, node))
        return Result(made.graph(), tuple(_lines(made)), (*why, *short))

    def _floor(self, channels: int) -> int:
        """How many of a cluster's channels are left in any case."""
        least = max(int(np.ceil(channels * self.floor)), 1)
        return min(-(-least // self.multiple) * self.multiple, channels)

    def _counts(
        self, graph: Graph, clusters: Sequence[Cluster], sequences: Mapping[Cluster, Order]
    ) -> tuple[dict[Cluster, int], tuple[str, ...]]:
        """How many channels of each cluster go, and a line if that is not enough."""
        counts, free = dict.fromkeys(clusters, 0), []
        for cluster in clusters:
            named = [self.ratio.of(node) for node in cluster.makers if self.ratio.names(node)]
            if not named:
                free.append(cluster)
            elif named[0] is not None:
                counts[cluster] = self._share(cluster, sequences[cluster], named[0])
        if self.ratio.value is None:
            return counts, ()
        size = sizes(graph, self.of)
        target = size.total({}) * (1 - self.ratio.value) + 1e-6  # shares are not exact
        if self.spread == "uniform":
            self._uniform(free, sequences, size, target, counts)
        else:
            self._global(free, sequences, size, target, counts)
        reached = size.total(_left(counts))
        if reached <= target:
            return counts, ()
        return counts, (f"only {1 - reached / size.total({}):.0%} of the {self.of} can go: the rest is at its floor",)

    def _share(self, cluster: Cluster, sequence: Order, share: float) -> int:
        """How many channels the share of a cluster is: what is left is a multiple, if there is any."""
        total = len(cluster.groups)
        left = max(round(total * (1 - share) / self.multiple) * self.multiple, total - len(sequence.channels))
        return max(total - left, 0)

    def _uniform(
        self,
        free: Sequence[Cluster],
        sequences: Mapping[Cluster, Order],
        size: Sizes,
        target: float,
        counts: dict[Cluster, int],
    ) -> None:
        for share in SHARES.tolist():
            counts.update({c: self._share(c, sequences[c], share) for c in free})
            if size.total(_left(counts)) <= target:
                return

    def _global(
        self,
        free: Sequence[Cluster],
        sequences: Mapping[Cluster, Order],
        size: Sizes,
        target: float,
        counts: dict[Cluster, int],
    ) -> None:
        """Steps of a few channels, each where it costs least for what it saves, until `target` is reached.

        The last step may save more than was needed: steps that are not needed then are undone, the costliest first.
        """
        taken: list[tuple[float, Cluster, int]] = []
        while (now := size.total(_left(counts))) > target:
            options = []
            for place, cluster in enumerate(free):
                after = counts[cluster] + ((len(cluster.groups) - counts[cluster]) % self.multiple or self.multiple)
                if after <= len(sequences[cluster].channels):
                    saved = now - size.total(_left({**counts, cluster: after}))
                    cost = sum(sequences[cluster].costs[counts[cluster] : after])
                    options.append((cost / max(saved, 1e-9), place, cost, after))
            if not options:
                return
            _, place, cost, after = min(options)
            taken.append((cost, free[place], counts[free[place]]))
            counts[free[place]] = after
        for _, cluster, before in sorted(taken, key=lambda step: -step[0]):
            last = before == max(b for _, c, b in taken if c is cluster and b < counts[cluster])
            if last and size.total(_left({**counts, cluster: before})) <= target:
                counts[cluster] = before


def _left(counts: Mapping[Cluster, int]) -> dict[str, float]:
    """The share of its channels that is left of each tensor."""
    left: dict[str, float] = {}
    for cluster, count in counts.items():
        for name, share in cluster.tensors:
            left[name] = left.get(name, 1.0) - count * share
    return left


def _lines(made: Walk) -> Iterator[str]:
    """What became of each layer that changed."""
    for node in made.nodes:
        before = made.before(node)
        if before is None:
            continue
        old, new = call_of(made.original, before), made.call(node)
        if old.input(1).shape == new.input(1).shape:
            continue
        sources, targets = zip(*((channels_of(c.input(0)), channels_of(c.output)) for c in (old, new)), strict=True)
        yield (
            f"{label(node)}: channels {sources[0]} → {targets[0]} now {sources[1]} → {targets[1]}, "
            f"{weight_bytes(made.original, before)} → {weight_bytes(made.graph(), node)} B, "
            f"{op_of(node).macs(old)} → {op_of(node).macs(new)} MACs, {made.closeness(node.outputs[0]):.1f} dB"
        )


TECHNIQUE = Prune
