# SPDX-License-Identifier: Apache-2.0
"""The budget search at the command line: what fits, what does not, contradictions, and what is written."""

from __future__ import annotations

import io
import json
import re
import shlex
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import tinygen
from scripts import budget_md
from tests import small_models
from tests.test_cli import DIGITS, report_of
from tests.test_cli import tinygen as cli
from tinygen.commands import progress
from tinygen.compress import recipe
from tinygen.search.base import Goal, Progress

#: What README's budget build, and another one, are to fit.
BUDGET, SMALL = 8192, 2600


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dense layers of 2 KiB (`net.tflite`, 3.5 KiB of flash), samples for them, and without any label."""
    path = tmp_path_factory.mktemp("search")
    (path / "net.tflite").write_bytes(small_models.dense_layers((32, 48, 10)))
    samples = np.random.default_rng(0).integers(-128, 128, (64, 32)).astype(np.int8)
    np.savez(path / "some.npz", x=samples)
    np.savez(path / "other.npz", x=samples[::-1].copy(), y=np.arange(64) % 10)
    return path


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """README's budget build, and what it printed."""
    pytest.importorskip("sklearn", reason="scikit-learn, which has the digits, is missing")
    path = tmp_path_factory.mktemp("readme")
    return path / "digits", budget_md.output(path)


def without_compilers(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Sizes are estimates, and take no time."""
    patch.setenv("PATH", str(folder / "nothing"))
    patch.delenv("TINYGEN_CC", raising=False)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_compilers(monkeypatch, tmp_path)


# --- What fits ----------------------------------------------------------------------------------------------------


def test_a_build_into_a_budget(searched: tuple[Path, str]) -> None:
    built, printed = searched
    report = report_of(built)
    search = report["search"]
    assert report["flash"]["total"] <= BUDGET < search["start"]["cost"]["flash"]
    assert search["candidate"]["cost"]["flash"] == report["flash"]["total"], "what was promised is what was linked"
    assert search["candidate"]["cost"]["ram"] == report["ram"]["total"]
    asked = vars(Goal(flash=BUDGET, ram=262_144)).items()
    assert search["goal"] == {name: value for name, value in asked if name != "weights"}, "which no option limits"
    assert search["effort"] == "quick"
    assert f"The plain model takes {search['start']['cost']['flash']:,} bytes of flash" in printed
    steps = [line["name"] for line in report["compression"] if line["done"] or line["name"] == "start"]
    assert re.findall(r"^(\S+) +[\d,]+ .* dB$", printed, re.MULTILINE) == steps and steps[0] == "start"
    layers = re.findall(r"^(\S+Relu|\S+MatMul) +[\d,]+ +[\d,]+ +\w+ *(.*)$", printed, re.MULTILINE)
    assert len(layers) == 5 and sum(bool(words) for _, words in layers) >= 2, "each layer, and what was done to it"
    assert f"flash  {report['flash']['total']:>9,} bytes of 8,192" in printed
    page = (built / "report.html").read_text(encoding="utf-8")
    assert f"Of {search['judged']} candidates" in page and page.count(" bytes of flash, ") >= len(search["frontier"])


def test_readme_shows_what_it_prints(searched: tuple[Path, str]) -> None:
    """In the same words, with numbers that are near: kernels change, and compilers."""
    numbers = re.compile(r"\d[\d,]*(?:\.\d+)*")
    shown, printed = budget_md.shown(), searched[1]
    assert [numbers.sub("#", line).split() for line in shown.splitlines()] == [
        numbers.sub("#", line).split() for line in printed.splitlines()
    ], "run make docs"
    for old, new in zip(numbers.findall(shown), numbers.findall(printed), strict=True):
        if old.count(".") < 2:  # no version
            was, now = (float(text.replace(",", "")) for text in (old, new))
            near = 2 if "." in old else max(250, 0.1 * was)  # percent and dB, or bytes
            assert abs(now - was) <= near, f"{old}, now {new}: run make docs"


@pytest.mark.qemu
def test_what_a_search_finds_is_bit_exact_on_host_and_emulator(searched: tuple[Path, str]) -> None:
    result = json.loads(cli("verify", searched[0], "--vectors", 2, "--json").stdout)
    assert result["equal"] and [run["where"] for run in result["runs"]] == ["host", "qemu-mps2-an386"]


def code(folder: Path) -> str:
    """The C source without the command that made it."""
    return re.sub(r"^ \* tinygen build .*\n", "", (folder / "digits.c").read_text(), flags=re.MULTILINE)


def test_the_recipe_makes_the_same_again(searched: tuple[Path, str], tmp_path: Path) -> None:
    there = searched[0].parent
    words = [
        "--recipe",
        searched[0] / "recipe.toml",
        "--calibration",
        there / "train.npz",
        "--data",
        there / "test.npz",
    ]
    cli("build", DIGITS, *words, "--target", "nrf52840-dk", "--out", tmp_path / "again")
    assert code(tmp_path / "again") == code(searched[0])
    assert (tmp_path / "again" / "digits.tgm").read_bytes() == (searched[0] / "digits.tgm").read_bytes()


def test_the_command_in_the_report_asks_for_the_same(searched: tuple[Path, str]) -> None:
    words = shlex.split(report_of(searched[0])["command"])
    assert words[1:] == [
        *("build", "digits.tflite", "--target", "nrf52840-dk", "--flash", str(BUDGET)),
        *("--calibration", "train.npz", "--data", "test.npz", "--effort", "quick"),
    ]


def test_what_fits_loses_nothing(folder: Path, tmp_path: Path) -> None:
    words = ["build", folder / "net.tflite", "--flash", "64K", "--ram", "32K", "--target", "nrf52840-dk"]
    result = cli(*words, "--latency", "2ms", "--calibration", folder / "some.npz", "--out", tmp_path / "out")
    report = report_of(tmp_path / "out")
    assert "fits as it is: nothing was lost" in result.stdout
    assert report["search"] is None and report["compression"] == []
    assert "--latency 2ms" in report["command"] and not (tmp_path / "out" / "recipe.toml").exists()


# --- What does not ------------------------------------------------------------------------------------------------


def test_a_search_needs_samples(folder: Path, tmp_path: Path) -> None:
    result = cli("build", folder / "net.tflite", "--flash", SMALL, "--out", tmp_path / "out", code=5)
    assert re.fullmatch(
        r"error: flash: 3\d\d\d bytes needed, 2600 allowed by --flash: .*; or pass samples with --calibration, to "
        r"search for what fits\n",
        result.stderr,
    )
    assert result.stdout == "" and not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def far(folder: Path) -> tinygen.OutOfReach:
    """What a search for 900 bytes ends with, its sizes estimated."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(tinygen.OutOfReach) as caught:
        without_compilers(patch, folder)
        options = tinygen.SearchOptions(effort="quick")
        tinygen.build(folder / "net.tflite", flash=900, calibration=folder / "some.npz", search=options)
    return caught.value


def asked(folder: Path, *others: str | Path) -> list[str | Path]:
    """A build that needs a search."""
    return ["build", folder / "net.tflite", "--flash", "900", "--calibration", folder / "some.npz", *others]


@pytest.fixture
def canned(far: tinygen.OutOfReach, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Searches take no time: each finds what `far` found."""
    without_compilers(monkeypatch, tmp_path)
    for module in ("api", "searching"):
        monkeypatch.setattr(f"tinygen.{module}.find", lambda *_: (None, far.found))


@pytest.mark.usefixtures("canned")
def test_out_of_reach(folder: Path, tmp_path: Path) -> None:
    result = cli(*asked(folder, "--out", tmp_path / "out"), code=5)
    assert re.fullmatch(
        r"error: out of reach: the closest of \d+ candidates has [\d,]+ bytes of flash for 900\n", result.stderr
    )
    rows = re.findall(r"^(\d\d)( \*)? +([\d,]+) ", result.stdout, re.MULTILINE)
    sizes = [int(row[2].replace(",", "")) for row in rows]
    assert len(rows) >= 3 and sizes == sorted(sizes) and [bool(row[1]) for row in rows].count(True) == 1
    assert not (tmp_path / "out").exists(), "nothing is written"
    told = json.loads(cli(*asked(folder, "--json"), code=5).stdout)
    assert not told["fits"] and [row["cost"]["flash"] for row in told["frontier"]] == sizes


@pytest.mark.usefixtures("canned")
def test_the_frontier_is_written(folder: Path, far: tinygen.OutOfReach, tmp_path: Path) -> None:
    words = ["search", folder / "net.tflite", "--calibration", folder / "some.npz", "--target", "nrf52840-dk"]
    result = cli(*words, "--flash", "900", "-o", tmp_path / "out", code=5)
    frontier = json.loads((tmp_path / "out" / "frontier.json").read_text())
    assert frontier["frontier"] and not frontier["fits"] and frontier["target"] == "nrf52840-dk"
    ET.fromstring((tmp_path / "out" / "frontier.svg").read_text())
    files = {row["file"] for row in frontier["frontier"] if row["file"]}
    assert files == {path.name for path in (tmp_path / "out").glob("*.toml")} and "wrote " in result.stdout
    for row in frontier["frontier"]:
        count = row["cost"]["instructions"]
        assert row["seconds"] == pytest.approx(count * 1.56 / 64e6) and row["microjoules"] == pytest.approx(
            count * 1.56 * 156e-6
        )
        assert f"{1e3 * row['seconds']:.2f} ms" in result.stdout
    quiet = cli(*words, "--flash", "900", "--json", "-o", tmp_path / "out", code=5)
    assert json.loads(quiet.stdout) == frontier


@pytest.mark.usefixtures("canned")
def test_every_recipe_of_the_frontier_makes_its_candidate(
    far: tinygen.OutOfReach, folder: Path, tmp_path: Path
) -> None:
    made = [c for c in far.found.frontier if c.recipe["technique"]]
    assert made
    for candidate in (made[0], made[-1]):
        (tmp_path / "r.toml").write_text(recipe.dumps(candidate.recipe))
        report = tinygen.build(
            folder / "net.tflite", recipe=tmp_path / "r.toml", calibration=folder / "some.npz"
        ).report
        assert (report["flash"]["total"], report["ram"]["total"]) == (candidate.cost.flash, candidate.cost.ram)
        quality = report["compression"][-1]["quality"]
        assert quality == pytest.approx(vars(candidate.quality))


# --- Contradictions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--max-drop", "1"],
            "--max-drop is about a search for what fits, and nothing limits the program: pass --flash, ",
        ),
        (
            ["--effort", "quick", "--share", "16"],
            "--effort is about a search, and a recipe leaves nothing to search for",
        ),
        (["--study", "s", "--flash", "2K", "--recipe", "RECIPE"], "--study is about a search, and a recipe leaves"),
        (
            ["--workers", "2", "--flash", "2K"],
            "--workers 2: workers share what they tried through a file: name it with",
        ),
        (["--workers", "0", "--study", "s", "--flash", "2K"], "--workers 0: expected at least 1"),
        (["--latency", "soon"], "--latency soon: expected instructions such as 5M, or a time on a board such as 2ms"),
        (["--latency", "2ms"], "--latency 2ms: cortex-m4 has no clock to tell time by"),
        (["--flash", "2K", "--study", "FOLDER"], "cannot be written: Is a directory"),
        (
            ["--flash", "2K", "--study", "none/at/all"],
            "--study none/at/all: cannot be written: No such file or directory",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_contradictions(folder: Path, tmp_path: Path, words: list[str], sentence: str) -> None:
    (tmp_path / "r.toml").write_text('[[technique]]\nname = "share"\nvalues = 16\n')
    named = {"RECIPE": str(tmp_path / "r.toml"), "FOLDER": str(tmp_path)}
    words = [named.get(word, word) for word in words]
    model = ["build", folder / "net.tflite", "--calibration", folder / "some.npz", "--out", tmp_path / "out"]
    result = cli(*model, *words, code=2)
    assert result.stdout == "" and sentence in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_model_cannot_be_faster_than_it_is() -> None:
    result = cli("build", DIGITS, "--latency", "100", code=5)
    assert re.match(r"error: latency: \d+ instructions needed, 100 allowed by --latency: \d+ too many", result.stderr)


# --- Interruptions ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    ("judged", "sentence"),
    [(0, "nothing was written"), (2, "2 candidates were judged and are lost; --study FILE keeps them")],
)
def test_ctrl_c(
    judged: int,
    sentence: str,
    far: tinygen.OutOfReach,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def interrupted(*arguments: Any) -> None:
        (options,) = (a for a in arguments if isinstance(a, tinygen.SearchOptions))
        for number in range(judged):
            options.heard(Progress("knapsack", number + 1, 3, far.found.candidate, far.found.candidate))
        raise KeyboardInterrupt

    monkeypatch.setattr("tinygen.api.find", interrupted)
    result = cli(*asked(folder, "--out", tmp_path / "out"), code=130)
    assert result.stderr == f"interrupted: {sentence}\n" and result.stdout == ""
    assert not (tmp_path / "out").exists()


def test_progress_is_shown_on_a_terminal(far: tinygen.OutOfReach, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(progress, "ERR", Console(file=screen, force_terminal=True, width=80))
    with progress.Display("reading it") as display:
        display(Progress("knapsack", 2, 8, far.found.start, far.found.candidate))
    shown = screen.getvalue()
    assert all(words in shown for words in ("each layer its own", "2/8", "best: 3,", " B RAM, 100.0 %"))
    assert "…" not in shown, "a line of 80 columns has room for all of it"
    assert display.judged == 1
