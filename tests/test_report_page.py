# SPDX-License-Identifier: Apache-2.0
"""report.html in headless Chromium: nothing overlaps or runs out of the page, and tips tell what is under a pointer."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner

import tinygen
from tests import zoo
from tinygen.cli import main
from tinygen.pictures import page
from tinygen.pictures.build import sections
from tinygen.pictures.frontier import rounded

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "examples" / "digits" / "digits.tflite"
#: Pictures for people to look at; no test reads them.
SCREENSHOTS = ROOT / "build" / "screenshots"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-component-update", "--disable-background-networking", "--disable-sync"),
    *("--enable-logging=stderr", "--virtual-time-budget=5000"),
)
WIDTHS = (390, 768, 1440)

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing")
needs_qemu = pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is missing")

#: Runs in the page around the report, which stands in a frame of the width to test; what it finds becomes text.
CHECKS = (ROOT / "tests" / "report_checks.js").read_text(encoding="utf-8")


def chromium(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def check(folder: Path, text: str, name: str, pictures: int) -> None:
    """Look at page `text` in frames of all `WIDTHS`, beside one another."""
    frame = '<iframe width="{}" height="2400" style="border:0" srcdoc="{}"></iframe>'
    frames = "".join(frame.format(width, html.escape(text)) for width in WIDTHS)
    around = folder / "around.html"
    body = f"<body style='margin:0;white-space:nowrap'>{frames}<script>{CHECKS}</script></body>"
    around.write_text(f"<!DOCTYPE html>{body}", encoding="utf-8")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    shot = SCREENSHOTS / f"{name}.png"
    size = f"--window-size={sum(WIDTHS) + 20},2400"
    chromium(folder, size, f"--screenshot={shot}", around.as_uri())
    assert shot.stat().st_size > 10_000
    done = chromium(folder, size, "--dump-dom", around.as_uri())
    assert "CONSOLE" not in done.stderr, re.findall(r"CONSOLE.*", done.stderr)
    results = [
        json.loads(html.unescape(found)) for found in re.findall(r'<pre class="result">(.*?)</pre>', done.stdout)
    ]
    assert sorted(found["width"] for found in results) == list(WIDTHS), done.stderr[-500:]
    for found in results:
        assert found["scroll"] <= 0 and not found["wide"], found
        assert not found["overlaps"], found
        assert found["marks"] > 5 and not found["tips"] and found["hides"], found
        assert found["figures"] == pictures


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits with shared weights, so that the page shows compression, too."""
    rng = np.random.default_rng(1)
    samples = rng.integers(-128, 128, (24, 1, 8, 8, 1)).astype(np.int8)
    folder = tmp_path_factory.mktemp("page") / "digits"
    return tinygen.build(DIGITS, recipe={"share": 16, "entropy": True}, calibration=samples).write(folder)


@needs_chromium
@needs_qemu
@pytest.mark.qemu
def test_a_compressed_model(compressed: Path, tmp_path: Path) -> None:
    profile = tinygen.profile(compressed).as_dict()
    check(tmp_path, page.page(tinygen.read_report(compressed), profile), "compressed", 6)


@needs_chromium
@pytest.mark.zoo
@pytest.mark.skipif(not zoo.PRESENT, reason=zoo.ABSENT)
@pytest.mark.parametrize("name", ["kws01_int8", "vww01_int8"])
def test_models_of_the_zoo(tmp_path: Path, name: str) -> None:
    made = tinygen.build(zoo.path_of(f"mlperf_tiny/{name}"), "nrf52840-dk")
    check(tmp_path, made.files["report.html"].decode(), name, 4)


@needs_chromium
def test_two_builds_side_by_side(compressed: Path, tmp_path: Path) -> None:
    plain = tinygen.build(DIGITS).write(tmp_path / "plain")
    done = CliRunner().invoke(
        main, ["compare", str(plain), str(compressed), "--out", str(tmp_path / "two.html"), "--json"]
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert told["totals"]["constants"]["left"] > told["totals"]["constants"]["right"] and told["layers"]
    check(tmp_path, (tmp_path / "two.html").read_text(encoding="utf-8"), "compare", 9)


def test_the_page_loads_nothing(compressed: Path) -> None:
    text = (compressed / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:,)[^"]*"|@import|url\(|fetch\(|XMLHttpRequest', text)
    assert "prefers-color-scheme: dark" in text and "width=device-width" in text
    report = json.loads((compressed / "report.json").read_text())
    assert html.escape(report["command"]) in text


def test_names_cannot_break_out_of_the_page() -> None:
    report = json.loads(json.dumps(tinygen.build(DIGITS).report))
    for layer in report["layers"]:
        layer["name"] = '"><script>alert(1)</script>'
    report["memory"][0]["buffer"] = report["command"] = "</svg><script>alert(2)</script>"
    text = page.page(report)
    assert text.count("<script>") == 1 and "alert(1)" in text and "<script>alert" not in text


@needs_qemu
@pytest.mark.qemu
def test_pictures_as_files(compressed: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        main, ["report", str(compressed), "--pictures", str(tmp_path / "p"), "--out", str(tmp_path / "r.html")]
    )
    assert done.exit_code == 0, done.output
    names = {path.name for path in (tmp_path / "p").iterdir()}
    assert names == {f"{n}.svg" for n in ("budget", "memory", "flash", "instructions", "compression", "network")}
    for path in (tmp_path / "p").iterdir():
        ElementTree.parse(path)  # well-formed


def test_pictures_for_papers(compressed: Path, tmp_path: Path) -> None:
    pytest.importorskip("resvg_py", reason="resvg-py is missing")
    words = ["report", str(compressed), "--no-measure", "--out", str(tmp_path / "r.html"), "--png"]
    alone = CliRunner().invoke(main, words)
    assert alone.exit_code == 2 and "say with --pictures" in alone.output
    done = CliRunner().invoke(main, [*words, "--pictures", str(tmp_path / "p")])
    assert done.exit_code == 0, done.output
    drawn = sorted((tmp_path / "p").glob("*.png"))
    assert len(drawn) == len(list((tmp_path / "p").glob("*.svg"))) == 5
    assert all(path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and path.stat().st_size > 2000 for path in drawn)


def test_the_accuracy_stands_on_the_page(compressed: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    np.savez(tmp_path / "t.npz", x=rng.integers(-128, 128, (8, 8, 8, 1)).astype(np.int8), y=np.arange(8) % 10)
    words = [
        "report",
        str(compressed),
        "--no-measure",
        "--out",
        str(tmp_path / "r.html"),
        "--data",
        str(tmp_path / "t.npz"),
    ]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    score = tinygen.evaluate(compressed, tmp_path / "t.npz").scores["host"]
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Accuracy on 8 samples" in text and f"<td>{score:.4f}</td>" in text


def test_the_memory_map_shows_every_buffer_where_it_lies() -> None:
    report = tinygen.build(DIGITS).report
    (memory,) = (s.picture for s in sections(report) if s.name == "memory")
    drawn = "\n".join(memory.elements())
    for span in report["memory"]:
        assert f"{span['buffer']}: {span['bytes']:,} bytes" in html.unescape(drawn)
    assert max(s["offset"] + s["bytes"] for s in report["memory"]) <= report["ram"]["arena"]


def test_axes_end_at_round_numbers_and_at_a_hundred_percent() -> None:
    assert rounded(100.0, 100.0, 100.0) == (95.0, 100.0, 5.0)
    assert rounded(96.2, 99.9, 100.0) == (96.0, 100.0, 1.0)
    low, high, step = rounded(9.9, 13.2)
    assert low <= 9.9 and high >= 13.2 and (high - low) / step <= 8
