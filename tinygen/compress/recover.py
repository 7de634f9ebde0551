# SPDX-License-Identifier: Apache-2.0
"""Recovery: trains the weights that compression left, as it left them, until outputs are near the original's again.

The network is trained with its own integers (quantization-aware training; B. Jacob et al., Quantization and Training of
Neural Networks for Efficient Integer-Arithmetic-Only Inference, 2018) towards the original's answers (distillation).
Zeros of sparse layers stay zero, codebooks keep their size, and weights their bits. Needs TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tinygen import train
from tinygen.compress.base import Evidence, Setting, Stage
from tinygen.errors import UsageError
from tinygen.ir.graph import Graph
from tinygen.passes.base import Result, label
from tinygen.train.options import Options


@dataclass(frozen=True)
class Recover(Options):
    """Train for `steps` steps towards the original model's outputs; a layer of "none" stays as it is.

    The other fields: see `tinygen.train.options.Options`. `heard` gets a `tinygen.train.loop.Progress` now and then.
    """

    steps: Setting = field(default=Setting(300), metadata={"main": True})
    heard: Callable[[Any], None] | None = field(default=None, compare=False)
    name: ClassVar[str] = "recover"
    stage: ClassVar[Stage] = Stage.RECOVERY

    def __post_init__(self) -> None:
        super().__post_init__()
        for value in self.steps.values():
            if value is not None and not (type(value) is int and value > 0):
                raise UsageError(f"{value!r} is no number of steps: give a whole number of at least 1")
        if len({value for value in self.steps.values() if value is not None}) > 1:
            raise UsageError("all layers are trained together: give them one number of steps, or 'none' to some")
        if self.heard is not None and not callable(self.heard):
            raise UsageError("heard is for callers in Python: a function")

    def require(self) -> None:
        """Raise `ToolError` if TensorFlow is missing."""
        train.require("recover")

    def run(self, graph: Graph, evidence: Evidence) -> Result:
        """See `Technique`. The teacher is the model that compression began with."""
        self.require()
        if not evidence.samples:
            raise UsageError("recover trains on samples of the model's inputs: give calibration data")
        train.begin()
        from tinygen.train.loop import Progress, tune  # TensorFlow takes seconds to import

        steps = next((value for value in self.steps.values() if value is not None), None)
        layers = [node for node in graph.nodes if self.steps.of(node) is not None]
        if steps is None:
            return Result(graph)

        def silent(progress: Progress) -> None:
            """Nobody listens."""

        made = tune(
            graph,
            evidence.teacher or graph,
            evidence.samples,
            evidence.classes,
            {node.outputs[0] for node in layers},
            self,
            steps,
            self.heard or silent,
        )
        if made.graph is graph:
            return Result(graph, (), (f"nothing better than {made.before} was found in {made.steps} steps",))
        changed = [n for n in graph.nodes if any(_differs(graph, made.graph, name) for name in n.inputs)]
        names = ", ".join(label(node) for node in changed)
        return Result(made.graph, (f"{made.before} → {made.after} after {made.steps} steps: {names}",))


def _differs(before: Graph, after: Graph, name: str) -> bool:
    return name in before.constants and before.constants[name].tobytes() != after.constants[name].tobytes()


TECHNIQUE = Recover
