# SPDX-License-Identifier: Apache-2.0
"""What a technique of compression is, what it may look at, and in which order techniques make sense."""

from __future__ import annotations

import fnmatch
import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Protocol

import numpy as np

from tinygen.errors import UsageError
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, Real
from tinygen.passes.base import Result

#: One array for each input of a graph, as the int8 graph takes them.
Sample = Sequence[Array]


class Stage(IntEnum):
    """What a technique changes. A recipe goes up: each stage keeps what those before it made, but not the reverse."""

    STRUCTURE = 1  #: which layers and channels there are
    SPARSITY = 2  #: which weights are zero
    VALUES = 3  #: which values weights have
    RECOVERY = 4  #: which values weights have, in keeping with all that was done to them
    STORAGE = 5  #: how they lie in flash


@dataclass(frozen=True)
class Evidence:
    """What techniques may learn from: inputs that the model really gets.

    `samples` are for fitting, the rest for judging only: `held_back` samples, their `labels` (class indices), and the
    `truth`, which is the first output of the original model for each of them, in real numbers.
    `classes` are those of `samples`, where they are known; `teacher` is the original model, float or int8.
    """

    samples: Sequence[Sample]
    held_back: Sequence[Sample] = ()
    labels: Array | None = None
    truth: Sequence[Real] | None = None
    classes: Array | None = None
    teacher: Graph | None = None

    def fitting_all(self) -> Evidence:
        """The same, but with samples that are held back among those for fitting, behind the others."""
        known = self.classes is not None and self.labels is not None
        classes = np.concatenate([self.classes, self.labels]) if known else None
        return replace(self, samples=[*self.samples, *self.held_back], classes=classes)


@dataclass(frozen=True)
class Setting:
    """What a technique is asked for: a value for every layer, or another one for layers that match a pattern.

    `layers` maps patterns of node names (``fnmatch``) to values; the first that matches counts. None leaves out.
    """

    value: Any = None
    layers: Mapping[str, Any] = field(default_factory=dict)

    def of(self, node: Node) -> Any:
        """The value for `node`."""
        matches = (value for pattern, value in self.layers.items() if fnmatch.fnmatchcase(node.name, pattern))
        return next(matches, self.value)

    def names(self, node: Node) -> bool:
        """Whether one of the patterns matches `node`."""
        return any(fnmatch.fnmatchcase(node.name, pattern) for pattern in self.layers)

    def sharper(self, named: Mapping[str, Any]) -> Setting:
        """This setting, but with the values `named` for the layers of these names."""
        exact = {glob.escape(name): value for name, value in named.items()}
        return Setting(self.value, {**exact, **{p: v for p, v in self.layers.items() if p not in exact}})

    def values(self) -> tuple[Any, ...]:
        """Every value that some layer may get."""
        return (self.value, *self.layers.values())


class Technique(Protocol):
    """A lossy (or storage) rewrite of an int8 graph: a frozen dataclass of settings.

    `run` never changes inputs and outputs of the graph. What it did to which layer goes into `Result.done`, what it
    could have done and did not, with the reason, into `Result.declined`. The same graph and evidence give the same
    bits.
    """

    @property
    def name(self) -> str: ...

    @property
    def stage(self) -> Stage: ...

    def run(self, graph: Graph, evidence: Evidence) -> Result: ...


def check_order(techniques: Sequence[Technique]) -> None:
    """Raise `UsageError` where a technique stands behind one of a later stage.

    Recovery undoes nothing: whatever may stand behind the one before it may stand behind recovery.
    """
    before: Technique | None = None
    for after in techniques:
        if before is not None and after.stage < before.stage:
            raise UsageError(
                f"recipe: '{after.name}' changes {_WHAT[after.stage]} and would undo what '{before.name}' did to "
                f"{_WHAT[before.stage]}: put '{after.name}' first"
            )
        before = before if after.stage is Stage.RECOVERY else after


_WHAT = {
    Stage.STRUCTURE: "channels and layers",
    Stage.SPARSITY: "which weights are zero",
    Stage.VALUES: "the values of weights",
    Stage.RECOVERY: "the values of weights",
    Stage.STORAGE: "how weights are stored",
}


def check_tools(techniques: Sequence[Technique]) -> None:
    """Raise `ToolError` if one of `techniques` needs what is not installed: before the others take their time."""
    for technique in techniques:
        getattr(technique, "require", lambda: None)()


def check_patterns(technique: Technique, graph: Graph) -> None:
    """Raise `UsageError` for a pattern in the settings of `technique` that matches no layer of `graph`."""
    for setting in vars(technique).values():
        for pattern in setting.layers if isinstance(setting, Setting) else ():
            if not any(fnmatch.fnmatchcase(node.name, pattern) for node in graph.nodes):
                names = ", ".join(node.name for node in graph.nodes[:8])
                raise UsageError(f"{technique.name}: no layer's name matches '{pattern}'; there are {names} …")
