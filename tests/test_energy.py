# SPDX-License-Identifier: Apache-2.0
"""Time and energy out of instructions, against what was measured on boards."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tinygen.errors import UsageError
from tinygen.search.energy import microjoules, parse_latency, seconds
from tinygen.target import load_target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
MODELS = tomllib.loads((ROOT / "benchmarks" / "tflm.toml").read_text())["models"]

#: Inferences per second that MLPerf Tiny 1.0 lists for CMSIS-NN's kernels under microTVM (closed division, OctoML).
MEASURED = {
    "nucleo-l4r5zi": {"KWS": 10.019, "IC": 2.567, "AD": 116.212, "VWW": 3.320},
    "nrf5340-dk": {"KWS": 13.143, "IC": 3.163, "AD": 159.579, "VWW": 4.310},
}
#: Microjoules per inference, from the same place.
ENERGY = {"KWS": 5230.273, "AD": 443.184}


@pytest.mark.parametrize("board", MEASURED)
def test_the_time_is_what_boards_take(board: str) -> None:
    """The same kernels, counted here under another interpreter: to 15 %."""
    target = load_target(board)
    for model, rate in MEASURED[board].items():
        estimate = seconds(target, MODELS[model]["instructions"][target.core])
        assert estimate == pytest.approx(1 / rate, rel=0.15), model


def test_the_energy_is_what_a_board_takes() -> None:
    target = load_target("nucleo-l4r5zi")
    for model, measured in ENERGY.items():
        estimate = microjoules(target, MODELS[model]["instructions"][target.core])
        assert estimate == pytest.approx(measured, rel=0.15), model


def test_every_energy_has_a_source_and_cycles() -> None:
    for path in (ROOT / "targets" / "boards").glob("*.toml"):
        energy = tomllib.loads(path.read_text(encoding="utf-8")).get("energy")
        if energy is not None:
            target = load_target(path.stem)
            assert energy["source"] and 50 < energy["picojoules"] < 2000 and target.cycles is not None
            assert target.energy == energy["picojoules"]


def test_without_data_there_is_no_estimate() -> None:
    assert seconds(load_target("cortex-m4"), 1000) is None and microjoules(load_target("cortex-m4"), 1000) is None
    assert seconds(load_target("rpi-pico"), 1000) is None and microjoules(load_target("nucleo-f446re"), 1000) is None


@pytest.mark.parametrize(
    ("text", "instructions"),
    [("5M", 5_000_000), ("750000", 750_000), ("1.5k", 1500), ("2ms", 82_051), ("800us", 32_820), ("0.1 s", 4_102_564)],
)
def test_latencies(text: str, instructions: int) -> None:
    assert parse_latency(text, load_target("nrf52840-dk")) == instructions


@pytest.mark.parametrize("text", ["", "0", "fast", "-1M", "2 hours", "1e6", "0.1", "0.00001us"])
def test_latencies_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--latency .*: expected instructions such as 5M, or a time on a board"):
        parse_latency(text, load_target("nrf52840-dk"))


def test_a_time_needs_a_board_with_known_cycles() -> None:
    with pytest.raises(
        UsageError, match="--latency 2ms: cortex-m4 has no clock to tell time by: name a board, or give"
    ):
        parse_latency("2ms", load_target("cortex-m4"))
    with pytest.raises(UsageError, match="nobody has measured how many cycles an instruction takes on cortex-m0plus"):
        parse_latency("2ms", load_target("rpi-pico"))
