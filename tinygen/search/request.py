# SPDX-License-Identifier: Apache-2.0
"""What a user asks of a search, checked: which limits, how hard to try, where trials are kept."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from tinygen.compress import Evidence
from tinygen.data.calibration import Source
from tinygen.data.preprocessing import Preprocessing
from tinygen.errors import BudgetError, UsageError
from tinygen.quantize.report import Report
from tinygen.search.base import Found, Goal, Heard, Problem, Study, effort_of, silent
from tinygen.search.costs import Costs
from tinygen.search.energy import parse_latency
from tinygen.search.run import search
from tinygen.shrink import started
from tinygen.target import Target


@dataclass(frozen=True)
class SearchOptions:
    """How to search for what fits, where the plain model does not.

    - `latency`: how many instructions a run may take, or words: ``5M``, or ``2ms`` on a board with a known pace.
    - `max_drop`: points of accuracy (without labels, of agreement with the plain model) that may be lost at most.
    - `effort`: ``quick``, ``normal`` (the default) or ``thorough``.
    - `study`: a file that keeps what was tried, so that a search can be interrupted, resumed and shared; `workers`:
      processes that work on it here.
    - `heard`: gets every step of the search.
    """

    latency: int | str | None = None
    max_drop: float | None = None
    effort: str | None = None
    study: str | Path | None = None
    workers: int | None = None
    heard: Heard = silent

    def instructions(self, target: Target) -> int | None:
        """The limit on instructions."""
        return parse_latency(self.latency, target) if isinstance(self.latency, str) else self.latency

    def goal(self, target: Target, ram: int | None, flash: int | None) -> Goal:
        """What limits the program: `ram` and `flash` in bytes, or else those of `target`; and these options."""
        return Goal(
            flash if flash is not None else target.flash,
            ram if ram is not None else target.ram,
            self.instructions(target),
            self.max_drop,
        )

    def heard_by(self, heard: Heard) -> SearchOptions:
        """The same options, with somebody who listens."""
        return replace(self, heard=heard)

    def words(self) -> list[str]:
        """The options of the command line that ask for the same; of the study, its name without folder."""
        study = None if self.study is None else Path(self.study).name
        options = {
            "--latency": self.latency,
            "--max-drop": self.max_drop,
            "--effort": self.effort,
            "--study": study,
            "--workers": self.workers,
        }
        return [word for option, value in options.items() if value is not None for word in (option, str(value))]

    def kept(self) -> Study | None:
        """Where trials are kept; raises `UsageError` if that cannot be."""
        if self.study is None:
            return None
        return Study(_writable(Path(self.study)), self.workers or 1)

    def check(self, goal: Goal, recipe: bool, limited: bool = True) -> None:
        """Raise `UsageError` for options that contradict each other, `recipe` and `goal`.

        `limited`: whether a search without any limit makes no sense.
        """
        named = {"max-drop": self.max_drop, "effort": self.effort, "study": self.study, "workers": self.workers}
        given = next((name for name, value in named.items() if value is not None), None)
        if given is not None and recipe:
            raise UsageError(
                f"--{given} is about a search, and a recipe leaves nothing to search for: pass one of them"
            )
        if given is not None and limited and not is_limited(goal):
            raise UsageError(
                f"--{given} is about a search for what fits, and nothing limits the program: pass --flash, --ram or "
                "--latency, or name a board"
            )
        if self.workers is not None and self.study is None:
            raise UsageError(
                f"--workers {self.workers}: workers share what they tried through a file: name it with --study FILE"
            )
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"--workers {self.workers}: expected at least 1")
        if self.effort is not None:
            effort_of(self.effort)
        self.kept()


def is_limited(goal: Goal) -> bool:
    """Whether there is anything that a program must fit."""
    return (goal.flash, goal.ram, goal.instructions) != (None, None, None)


def check_latency(goal: Goal, problem: Problem) -> None:
    """Raise `BudgetError` if a run of the problem's graph takes more instructions than `goal` allows."""
    if goal.instructions is not None:
        cost = Costs(problem).exact(problem.graph, count=True)
        if cost.instructions > goal.instructions:
            counted = "needed" if cost.counted else "needed, by estimate"
            raise BudgetError(
                f"latency: {cost.instructions} instructions {counted}, {goal.instructions} allowed by --latency: "
                f"{cost.instructions - goal.instructions} too many"
            )


def find(
    problem: Problem,
    calibration: Source,
    data: Source | None,
    preprocessing: Preprocessing | None,
    goal: Goal,
    options: SearchOptions,
) -> tuple[Report | None, Found]:
    """What a search finds for `problem`, whose graph is that of a model file, and whose evidence is found here.

    The report is that of quantization, if the model was a float one.
    """
    study = options.kept()
    start, evidence = started(problem.graph, calibration, data, preprocessing)
    spare = data is None and len(evidence.samples) > len(evidence.held_back)
    ready = replace(problem, graph=start.graph, evidence=evidence, spare=spare)
    return start.quantization, search(ready, goal, effort_of(options.effort or "normal"), study, options.heard)


#: What is known before samples are read.
NOTHING = Evidence(())


class OutOfReach(BudgetError):
    """No candidate of a search fits; `found` has what came closest, and the frontier."""

    def __init__(self, found: Found) -> None:
        super().__init__(found.missed())
        self.found = found


def _writable(path: Path) -> Path:
    """`path`, if a file there can be written; raises `UsageError` if not. Nothing is made: another may do that now."""
    try:
        if path.exists():
            path.open("ab").close()
        else:
            tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UsageError(f"--study {path}: cannot be written: {error.strerror}") from None
    return path
