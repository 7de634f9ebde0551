# SPDX-License-Identifier: Apache-2.0
"""What a search is at, on a terminal; and what is left of it if it is interrupted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import click
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from tinygen.commands.terminal import ERR
from tinygen.search.base import Candidate
from tinygen.search.base import Progress as Step
from tinygen.search.picture import quality
from tinygen.search.study import holds

#: Short words: a line of 80 columns has room for the best candidate and the time left, too.
_PHASES = {
    "start": "the plain model",
    "curves": "what layers may lose",
    "uniform": "the same for all",
    "knapsack": "each layer its own",
    "study": "near the best",
    "recovery": "training the best",
    "check": "compiling the best",
}
#: What the shell says of a process that Ctrl-C ended.
_INTERRUPTED = 130


class Display:
    """A line on the terminal, and nothing in a pipe, that says how far a search is; it is a `SearchOptions.heard`."""

    def __init__(self, what: str) -> None:
        columns = SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.fields[count]}")
        best = TextColumn("{task.fields[best]}"), TimeRemainingColumn(compact=True)
        self._bar = Progress(*columns, *best, console=ERR, transient=True, disable=not ERR.is_terminal)
        self._task = self._bar.add_task(what, total=None, count="", best="")
        self._phase: str | None = None
        #: Candidates that were judged while this was shown.
        self.judged = 0

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._bar.stop()

    def __call__(self, step: Step) -> None:
        self.judged += step.judged is not None
        if step.phase != self._phase:
            self._phase = step.phase
            self._bar.reset(self._task, total=step.total, description=_PHASES[step.phase])
        best = "" if step.best is None else f"best: {short(step.best)}"
        count = f"{step.number}/{step.total}"
        self._bar.update(self._task, completed=step.number, total=step.total, count=count, best=best)


def short(candidate: Candidate) -> str:
    """Bytes and quality of a candidate (accuracy, or agreement without labels), in a few words."""
    return f"{candidate.cost.flash:,} B flash, {candidate.cost.ram:,} B RAM, {quality(candidate):.1f} %"


@contextmanager
def interruptible(display: Display, study: str | Path | None) -> Iterator[None]:
    """Ends the program with a sentence instead of a traceback when the user interrupts it, with the shell's code."""
    try:
        yield
    except KeyboardInterrupt:
        if study is not None and Path(study).exists():
            told = f"{study} holds {holds(Path(study))}; the same command goes on from there"
        elif display.judged:
            told = f"{display.judged} candidates were judged and are lost; --study FILE keeps them"
        else:
            told = "nothing was written"
        click.echo(f"interrupted: {told}", err=True)
        sys.exit(_INTERRUPTED)
