# SPDX-License-Identifier: Apache-2.0
"""Ways to store a layer's weights: what the search chooses from for each layer, and how a recipe says so."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tinygen.compress.bits import quantized
from tinygen.compress.coded import coded
from tinygen.compress.fitting.layerwise import Declined, Fitted, Layer
from tinygen.compress.recipe import NONE
from tinygen.compress.share import FEWEST, share
from tinygen.compress.sparsity import Pattern, sparse

#: An entry of a recipe, as its TOML file has it.
Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Way:
    """How a layer's weights become smaller: a share of zeros, then few values, or few bits; all None: not at all.

    `values` are of a codebook with one scale for the tensor if `scale` is ``tensor``, else one for each channel; `step`
    is of a grid whose integers take few bits in codes.
    """

    zeros: float | None = None
    values: int | None = None
    scale: str = "tensor"
    bits: int | None = None
    step: float | None = None

    def fit(self, layer: Layer, sparsely: Callable[[Layer, float], Fitted] | None = None) -> Fitted | None:
        """The weights of `layer` so; None where that makes no sense or saves nothing. `sparsely` puts in zeros."""
        try:
            if self.zeros is not None:
                fitted = (sparsely or _sparse)(layer, self.zeros)
                layer = replace(layer, stored=fitted.integers, scales=fitted.scales)
            if self.values is not None:
                return share(layer, self.values, self.scale == "tensor") if self._pays(layer) else None
            if self.step is not None:
                return coded(layer, self.step)
            return quantized(layer, self.bits) if self.bits is not None else fitted
        except Declined:
            return None

    @property
    def usual(self) -> bool:
        """Whether this is no grid for codes and has no scale for each channel."""
        return self.step is None and self.scale == "tensor"

    def _pays(self, layer: Layer) -> bool:
        """Whether a codebook is smaller than what it stands for."""
        return self.values is not None and layer.stored.size >= 4 * self.values >= 4 * FEWEST


PLAIN = Way()
#: What comes behind everything that changes weights: it loses nothing, or next to nothing.
STORED: tuple[Entry, ...] = ({"name": "biases", "bits": 16}, {"name": "entropy"})


def _sparse(layer: Layer, zeros: float) -> Fitted:
    return sparse(layer, Pattern(zeros))


def fitted_in(ways: Sequence[Way], layer: Layer) -> Iterator[tuple[Way, Fitted | None]]:
    """What each of `ways` makes of `layer`, whose zeros are found once for all ways with as many."""
    known = dict[float, Fitted]()

    def sparsely(layer: Layer, zeros: float) -> Fitted:
        if zeros not in known:
            known[zeros] = _sparse(layer, zeros)
        return known[zeros]

    for way in ways:
        yield way, way.fit(layer, sparsely)


def entries(ways: Mapping[str, Way]) -> list[Entry]:
    """The part of a recipe that gives each layer, by its name, its way, and stores it in the smallest form."""
    made = [
        _entry("sparsity", "ratio", {name: way.zeros for name, way in ways.items()}),
        *(
            _entry("share", "values", {n: w.values for n, w in ways.items() if w.scale == scale}, {"scale": scale})
            for scale in ("tensor", "channel")
        ),
        _entry("bits", "bits", {name: way.bits for name, way in ways.items()}),
        _entry("coded", "bits", {n: None if w.step is None else f"step:{w.step:g}" for n, w in ways.items()}),
    ]
    found = [entry for entry in made if entry is not None]
    return [*found, *STORED]


def unstored(recipe: Sequence[Entry]) -> Sequence[Entry]:
    """`recipe` without what is about storage at its end."""
    names = [entry["name"] for entry in STORED]
    while recipe and recipe[-1]["name"] in names:
        recipe = recipe[:-1]
    return recipe


def _entry(name: str, field: str, values: Mapping[str, Any], others: Entry | None = None) -> Entry | None:
    """One technique for the layers that have a value; None if there are none."""
    layers = {glob.escape(layer): value for layer, value in values.items() if value is not None}
    return {"name": name, field: NONE, **(others or {}), "layers": layers} if layers else None


#: Values of codebooks (also with a scale for each channel) and shares of zeros that are tried, the most bytes first.
VALUES = (64, 48, 32, 24, 16, 12, 10, 8, 7, 6, 5, 4, 3, 2)
VALUES_OF_CHANNELS = (32, 16, 8, 4)
#: Steps of grids, as `coded` takes them, the most bytes first.
STEPS = (0.2, 0.25, 0.3, 0.35, 0.42, 0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.4)
ZEROS, VALUES_OF_SPARSE = (0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95), (32, 8)


def ladder(fine: bool, large: bool) -> Sequence[Way]:
    """What is tried for a layer, `fine` or only every other step; `large` ones may be sparse, too."""
    step = 1 if fine else 2
    made = [Way(values=count) for count in VALUES[::step]]
    if fine:
        made += [Way(values=count, scale="channel") for count in VALUES_OF_CHANNELS]
        made += [Way(step=one) for one in STEPS]
    if large:
        made += [Way(zeros=share, values=count) for share in ZEROS[step - 1 :: step] for count in VALUES_OF_SPARSE]
    return made
