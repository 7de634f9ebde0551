# SPDX-License-Identifier: Apache-2.0
"""What the page of search results is about: goals and recipes that reach them, and which recipes are taken apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygen.compress.recipe import tomllib

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Row:
    """At most `bytes` of weights and biases, losing at most `points` (of accuracy, or without labels of agreement).

    `tried` says what else was, where the goal is missed.
    """

    name: str
    task: str
    recipe: str
    bytes: int
    points: float | None
    tried: str = ""

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The techniques of the recipe, as its file has them."""
        found: list[dict[str, Any]] = tomllib.loads((RECIPES / f"{self.recipe}.toml").read_text())["technique"]
        return found


#: Splits before this one were looked at while recipes were written; what counts is measured on later ones.
FRESH = 2
TRIED_IC = (
    "on split 0, points lost and bytes: codebooks alone 2.0 (37,186 B; `auto:4`), with a scale per channel 3.6 "
    "(37,748 B), `auto:4.2` with biases of 16 bits 3.6 (36,481 B), `bits = auto:4.4` 3.6 (36,559 B), "
    "20 values in every layer 1.2 (40,784 B), `auto:4.7` 2.4 (44,598 B); "
    "training of 150 steps at a rate of 0.01 2.0, of 0.002 2.4, and of 0.001 or 0.003 with weights that change "
    "their places 1.6. There are 250 pictures to train with and as many to judge by, so that one of them is 0.4 points"
)
ROWS = (
    Row("kws half", "kws", "kws-half", 12_200, 0.5),
    Row("kws third", "kws", "kws-third", 8_200, 2.0),
    Row("mnist", "mnist", "mnist-eighth", 6_346, 0.5),
    Row("lenet", "lenet-half", "lenet-tenth", 27_000, 0.5),
    Row("ic", "ic", "ic-half", 39_376, 1.0, TRIED_IC),
    Row("ad", "ad", "ad-quarter", 67_720, None),
)
#: Rows whose recipes are taken apart.
TAKEN_APART = ("kws third", "mnist", "ad")
#: Tasks whose frontier is compared with settings that are the same for all layers, and how many of each kind.
COMPARED, ALIKE = ("kws",), 10
#: Details of techniques that are taken apart, too, and what they are then.
PLAIN = {
    "copies": 0,
    "mixes": 0,
    "steady": 0.0,
    "hints": 0.0,
    "codebook": "fixed",
    "scale": "channel",
    "spread": "uniform",
}
#: Each technique that there is, with a moderate setting.
ALONE: tuple[dict[str, Any], ...] = (
    {"name": "branches", "count": 1},
    {"name": "resolution", "factor": 2},
    {"name": "prune", "ratio": 0.25},
    {"name": "low-rank", "ratio": 0.25},
    {"name": "sparsity", "ratio": 0.5},
    {"name": "share", "values": 16},
    {"name": "bits", "bits": 4},
    {"name": "biases", "bits": 16},
    {"name": "recover", "steps": 300, "copies": 8},
    {"name": "entropy"},
)
#: What stands behind the last technique that changes values, where a recipe does not train.
TRAINED = {"name": "recover", "steps": 300, "rate": 0.005, "copies": 8}
#: Zeros little by little, with training between: shares of all of them, and the steps of each training.
SCHEDULE, BETWEEN = (0.6, 0.85, 1.0), 100


def variants(row: Row) -> dict[str, list[dict[str, Any]]]:
    """The recipe of `row`, without one technique or detail of training each, and each technique alone.

    Alone are those of the recipe as it has them, and all others as `ALONE` does.
    """
    entries = row.entries
    found = {"all": entries}
    for i, entry in enumerate(entries):
        found[f"without {_called(entries, i)}"] = entries[:i] + entries[i + 1 :]
        for key, plain in PLAIN.items():
            if entry.get(key, plain) != plain:
                changed = {**entry, key: plain}
                found[f"{entry['name']} with {key} {plain}"] = [*entries[:i], changed, *entries[i + 1 :]]
    found |= _trained(entries)
    for i, entry in enumerate(entries):
        found[f"{_called(entries, i)} alone"] = [entry]
    return found | {f"{' '.join(map(str, entry.values()))} alone": [entry] for entry in ALONE if entry not in entries}


def _trained(entries: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Training where there is none yet, and zeros that come in steps where all come at once and are trained."""
    names = [entry["name"] for entry in entries]
    if "recover" not in names:
        last = next(i for i, name in enumerate([*names, "entropy"]) if name in ("biases", "entropy"))
        return {"with recover": [*entries[:last], TRAINED, *entries[last:]]}
    if names.count("sparsity") != 1:
        return {}
    i, between = names.index("sparsity"), {**entries[names.index("recover")], "steps": BETWEEN}
    ratios = [round(share * entries[i]["ratio"], 3) for share in SCHEDULE]
    steps = [step for ratio in ratios for step in ({**entries[i], "ratio": ratio}, between)]
    return {"sparsity in three steps, recover between": [*entries[:i], *steps, *entries[i + 1 :]]}


def _called(entries: list[dict[str, Any]], index: int) -> str:
    """The name of a technique, with its number if it comes more than once."""
    name = str(entries[index]["name"])
    same = [i for i, entry in enumerate(entries) if entry["name"] == name]
    return name if len(same) == 1 else f"{name} {same.index(index) + 1}"
