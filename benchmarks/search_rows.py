"""What the page of search results is about: goals and recipes that reach them, and which recipes are taken apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygen.compress.recipe import tomllib

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Row:
    """At most `bytes` of weights and biases, losing at most `points` (of accuracy, or without labels of agreement)."""

    name: str
    task: str
    recipe: str
    bytes: int
    points: float | None

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The techniques of the recipe, as its file has them."""
        found: list[dict[str, Any]] = tomllib.loads((RECIPES / f"{self.recipe}.toml").read_text())["technique"]
        return found


ROWS = (
    Row("kws half", "kws", "kws-half", 12_200, 0.5),
    Row("kws third", "kws", "kws-third", 8_200, 2.0),
    Row("mnist", "mnist", "mnist-eighth", 6_346, 0.5),
    Row("lenet", "lenet", "lenet-tenth", 27_000, 0.5),
    Row("ic", "ic", "ic-half", 39_376, 1.0),
    Row("ad", "ad", "ad-quarter", 67_720, None),
)
#: Rows whose recipes are taken apart.
TAKEN_APART = ("kws third", "mnist", "ad")
#: Details of techniques that are taken apart, too, and what they are then.
PLAIN = {"copies": 0, "mixes": 0, "hints": 0.0, "codebook": "fixed", "scale": "channel", "spread": "uniform"}


def variants(row: Row) -> dict[str, list[dict[str, Any]]]:
    """The recipe of `row`, without one technique or detail of training each, and each technique alone."""
    entries = row.entries
    found = {"all": entries}
    for i, entry in enumerate(entries):
        found[f"without {_called(entries, i)}"] = entries[:i] + entries[i + 1 :]
        for key, plain in PLAIN.items():
            if entry.get(key, plain) != plain:
                changed = {**entry, key: plain}
                found[f"{entry['name']} with {key} {plain}"] = [*entries[:i], changed, *entries[i + 1 :]]
    for i, entry in enumerate(entries):
        found[f"{_called(entries, i)} alone"] = [entry]
    return found


def _called(entries: list[dict[str, Any]], index: int) -> str:
    """The name of a technique, with its number if it comes more than once."""
    name = str(entries[index]["name"])
    same = [i for i, entry in enumerate(entries) if entry["name"] == name]
    return name if len(same) == 1 else f"{name} {same.index(index) + 1}"
