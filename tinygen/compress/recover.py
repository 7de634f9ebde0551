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


@dataclass(frozen=True)
class Recover:
    """Train for `steps` steps towards the original model's outputs; a layer of "none" stays as it is.

    The other fields: see `tinygen.train.loop.Options`. `heard` gets a `tinygen.train.loop.Progress` now and then.
    """

    steps: Setting = field(default=Setting(300), metadata={"main": True})
    rate: float = 0.01
    batch: int = 64
    temperature: float = 2.0
    labels: float = 0.3
    scales: bool = True
    codebook: str = "fixed"
    mixes: int = 0
    seed: int = 0
    heard: Callable[[Any], None] | None = field(default=None, compare=False)
    name: ClassVar[str] = "recover"
    stage: ClassVar[Stage] = Stage.RECOVERY

    def __post_init__(self) -> None:
        for value in self.steps.values():
            if value is not None and not (type(value) is int and value > 0):
                raise UsageError(f"{value!r} is no number of steps: give a whole number of at least 1")
        if len({value for value in self.steps.values() if value is not None}) > 1:
            raise UsageError("all layers are trained together: give them one number of steps, or 'none' to some")
        if self.codebook not in ("fixed", "nearest"):
            raise UsageError(f"codebook {self.codebook!r} is unknown; give 'fixed' or 'nearest'")
        if not (self.rate > 0 and self.temperature > 0 and 0 <= self.labels <= 1):
            raise UsageError("expected a rate and a temperature above 0, and labels from 0 to 1")
        if type(self.batch) is not int or self.batch < 1 or type(self.mixes) is not int or self.mixes < 0:
            raise UsageError("expected a batch of at least 1 sample, and mixes of 0 or more")
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
        from tinygen.train.loop import Options, Progress, tune  # TensorFlow takes seconds to import

        steps = next((value for value in self.steps.values() if value is not None), None)
        layers = [node for node in graph.nodes if self.steps.of(node) is not None]
        if steps is None:
            return Result(graph)
        told = {name: getattr(self, name) for name in Options.__dataclass_fields__ if name != "steps"}

        def silent(progress: Progress) -> None:
            """Nobody listens."""

        made = tune(
            graph,
            evidence.teacher or graph,
            evidence.samples,
            evidence.classes,
            {node.outputs[0] for node in layers},
            Options(steps=steps, **told),
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
