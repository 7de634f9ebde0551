# SPDX-License-Identifier: Apache-2.0
"""Studies at the command line: interrupted, resumed, shared by processes, refused for what is not theirs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests import small_models
from tests.test_cli import tinygen as cli
from tinygen.search import run

pytest.importorskip("optuna", reason="Optuna, which keeps studies, is missing")

#: The command line, with an effort that takes seconds: as many trials as TRIALS says, no training.
SHORT = """
import os
import signal
from dataclasses import replace
from tinygen.search import base
base.EFFORTS["quick"] = replace(base.EFFORTS["quick"], sizes=2, ratios=(), alike=1, trials=int(os.environ["TRIALS"]))
from tinygen.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore it
main()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dense network, another one, and samples for both."""
    for name, sizes in (("net", (32, 48, 10)), ("other", (32, 40, 10))):
        (tmp_path / f"{name}.tflite").write_bytes(small_models.dense_layers(sizes))
    samples = np.random.default_rng(0).integers(-128, 128, (32, 32)).astype(np.int8)
    np.savez(tmp_path / "some.npz", x=samples)
    np.savez(tmp_path / "more.npz", x=np.concatenate([samples, samples]))
    return tmp_path


def start(folder: Path, *words: str, of: int = 6) -> subprocess.Popen[str]:
    """A search `of` so many trials in a process (and a group) of its own, without compilers, which would take long."""
    command = [sys.executable, "-c", SHORT, "search", "net.tflite", "--calibration", "some.npz", "--flash", "2000"]
    return subprocess.Popen(
        [*command, "--effort", "quick", "--study", "s.study", *words],
        cwd=folder,
        env={**os.environ, "PATH": str(folder / "nothing"), "TRIALS": str(of)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def trials(folder: Path) -> int:
    """Complete trials in the study's file."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    study = optuna.load_study(study_name="tinygen", storage=JournalStorage(JournalFileBackend(str(folder / "s.study"))))
    return sum(trial.values is not None for trial in study.get_trials())


def frontier(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "frontier.json").read_text())
    return found


def test_an_interrupted_search_goes_on(folder: Path) -> None:
    """Ctrl-C reaches every process of a terminal: here the search and its helper."""
    search, study = start(folder, "--workers", "2", of=2000), folder / "s.study"
    while search.poll() is None and (not study.exists() or study.read_bytes().count(b'"op_code":6') < 2):
        time.sleep(0.02)
    os.killpg(search.pid, signal.SIGINT)
    out, told = search.communicate(timeout=60)
    assert search.returncode == 130 and out == "", told
    match = re.fullmatch(
        r"interrupted: s\.study holds (\d+) candidates and (\d+) trials; .* goes on from there\n", told
    )
    assert match and int(match[1]) >= 3 and int(match[2]) <= trials(folder) < 2000, told
    wanted = trials(folder) + 2
    resumed = start(folder, "-o", "out", of=wanted)
    assert resumed.wait(120) == 0, resumed.stderr
    assert trials(folder) == wanted and frontier(folder / "out")["fits"]


def test_two_processes_work_on_one_study(folder: Path) -> None:
    both = [start(folder, "-o", name) for name in ("one", "two")]
    for process in both:
        out, told = process.communicate(timeout=120)
        assert process.returncode == 0 and told == "" and "wrote " in out, told
    assert 6 <= trials(folder) <= 7, "those of both count; one more may have been under way"
    for name in ("one", "two"):
        assert frontier(folder / name)["fits"]


def test_a_study_is_of_one_problem(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    def refused(model: str, samples: str, *others: str, code: int = 2) -> str:
        words = ["search", folder / model, "--calibration", folder / samples, "--study", folder / "s.study"]
        return cli(*words, "--effort", "quick", "-o", folder / "out", *others, code=code).stderr

    monkeypatch.setenv("PATH", str(folder / "nothing"))
    monkeypatch.setattr(run, "uniform", interrupted)
    assert "s.study holds 0 candidates and 0 trials" in refused("net.tflite", "some.npz", code=130)
    again = "s.study holds 0 candidates and 0 trials"
    assert again in refused("net.tflite", "some.npz", "--flash", "3K", code=130), "another budget is no other problem"
    for words, what in (
        (("other.tflite", "some.npz"), "another model"),
        (("net.tflite", "some.npz", "--target", "cortex-m0"), "another target"),
        (("net.tflite", "some.npz", "--data", str(folder / "more.npz")), "other calibration samples and other data"),
        (("other.tflite", "more.npz"), "another model and other calibration samples and other data"),
    ):
        assert f"--study s.study: that is a study of {what}: name another file" in refused(*words)
    assert not (folder / "out").exists()


def test_what_is_no_study(folder: Path) -> None:
    (folder / "s.study").write_text("this is none\n")
    words = ["search", folder / "net.tflite", "--calibration", folder / "some.npz", "--study", folder / "s.study"]
    assert "s.study: not a study that tinygen wrote" in cli(*words, code=2).stderr
