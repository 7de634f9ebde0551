# SPDX-License-Identifier: Apache-2.0
"""The study: sampled candidates around the knapsack's, and a file that keeps what was judged.

A trial has a base, bytes of weights, and a factor for each layer's noise; the knapsack makes options of these. So every
sample is a sound one, and what is learned is where the curves are wrong. Samples come from a tree-structured Parzen
estimator with two objectives, flash and noise (J. Bergstra et al., Algorithms for Hyper-Parameter Optimization, 2011;
Y. Ozaki et al., Multiobjective Tree-Structured Parzen Estimator, 2022), as Optuna has it (T. Akiba et al., 2019).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import multiprocessing
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygen.errors import ToolError, UsageError
from tinygen.search.base import Candidate, Study

#: Attributes of Optuna's study: whose it is, and candidates by the hash of their recipe.
PROBLEM, CANDIDATE = "problem", "candidate:"
#: The name of the study in its file.
NAME = "tinygen"
#: A trial: the parameters that it asks for, to flash and noise, or None if it is of no use.
Trial = Callable[[Any], tuple[float, float]]


def installed() -> bool:
    """Whether Optuna is there."""
    return importlib.util.find_spec("optuna") is not None


@dataclass(frozen=True)
class Kept:
    """A study, in a file at `path` or (without one) in memory. `optuna` is Optuna's own."""

    optuna: Any
    path: Path | None = None
    workers: int = 1

    def get(self, key: str) -> Candidate | None:
        """The candidate that was judged before, in any process."""
        found = self.optuna.user_attrs.get(CANDIDATE + _hash(key))
        return None if found is None else Candidate.of_dict(found)

    def put(self, key: str, candidate: Candidate) -> None:
        """Keep `candidate` for those who come later."""
        with uninterrupted():
            self.optuna.set_user_attr(CANDIDATE + _hash(key), candidate.as_dict())

    def done(self) -> list[Any]:
        """The trials that are complete, by their number."""
        return [trial for trial in self.optuna.get_trials(deepcopy=False) if trial.state.is_finished() and trial.values]

    def sample(self, trial: Trial, total: int, start: Mapping[str, Any]) -> None:
        """Run `trial` until there are `total` of them, `start` first, by as many processes as there are workers."""
        if len(self.done()) >= total:
            return
        if not self.optuna.get_trials(deepcopy=False):
            self.optuna.enqueue_trial(dict(start))
        context = multiprocessing.get_context("fork") if self.workers > 1 else None
        others = [
            context.Process(target=self._help, args=(trial, total, number), daemon=True)
            for number in range(1, self.workers)
            if context is not None
        ]
        for process in others:
            process.start()
        self._work(trial, total, 0)
        for process in others:
            process.join()

    def _help(self, trial: Trial, total: int, number: int) -> None:
        """Work in a process of its own, which says nothing when the user interrupts it: the first one does."""
        with suppress(KeyboardInterrupt):
            self._work(trial, total, number)

    def _work(self, trial: Trial, total: int, number: int) -> None:
        from optuna.samplers import TPESampler

        study = self.optuna if number == 0 else _opened(self.path)  # a process of its own has a name in the journal
        seed = len(self.done()) + 1_000 * number
        study.sampler = _quietly(lambda: TPESampler(seed=seed, multivariate=True, group=True))
        while len(self.done()) < total:
            _one(study, trial)


def _one(study: Any, trial: Trial) -> None:
    """One trial; an interrupted one counts as failed."""
    from optuna.trial import TrialState

    with uninterrupted():
        asked = study.ask()
    try:
        values = trial(asked)
    except BaseException:
        with uninterrupted():
            study.tell(asked, state=TrialState.FAIL)
        raise
    with uninterrupted():
        study.tell(asked, values)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits for the end of what is inside, which writes to a study's file."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting = list[int]()
    before = signal.signal(signal.SIGINT, lambda number, frame: waiting.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if waiting:
        raise KeyboardInterrupt


def kept(study: Study | None, problem: Mapping[str, bytes]) -> Kept | None:
    """The study in a file, made if need be; without a file a new one in memory; None without Optuna.

    `problem` is what it is about, by the words that say so where a file is about something else. Raises `ToolError`
    if there is a file but no Optuna, `UsageError` if the file is no study or another's.
    """
    if not installed():
        if study is not None:
            raise ToolError("--study needs Optuna, which is not installed: pip install 'tinygen[search]'")
        return None
    path = study.path if study is not None else None
    try:
        made = _opened(path)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        where = path.name if path is not None else "memory"
        raise UsageError(f"--study {where}: not a study that tinygen wrote ({type(error).__name__})") from None
    mine = {part: hashlib.sha256(content).hexdigest() for part, content in problem.items()}
    theirs = made.user_attrs.get(PROBLEM, mine)
    if theirs != mine:
        others = " and ".join(part for part in mine if theirs.get(part) != mine[part])
        where = path.name if path is not None else "memory"
        raise UsageError(f"--study {where}: that is a study of {others}: name another file, or delete it")
    made.set_user_attr(PROBLEM, mine)
    return Kept(made, path, study.workers if study is not None else 1)


def holds(path: Path) -> str:
    """What the study in the file at `path` holds, in words."""
    found = _opened(path)
    candidates = sum(name.startswith(CANDIDATE) for name in found.user_attrs)
    return f"{candidates} candidates and {len(Kept(found).done())} trials"


def _opened(path: Path | None) -> Any:
    """Optuna's study in the file at `path`, or one in memory."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = None if path is None else JournalStorage(JournalFileBackend(str(path)))
    return optuna.create_study(
        storage=storage, study_name=NAME, directions=["minimize", "minimize"], load_if_exists=True
    )


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _quietly(make: Callable[[], Any]) -> Any:
    """What `make` makes, without Optuna's warnings that it may change one day."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()
