"""`tinygen profile`: what layers take adds up to what the whole takes, and refusals say why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.test_cli import DIGITS, refused, tinygen
from tinygen import api, running
from tinygen.target import all_targets, load_target
from tinygen.verify.build_dir import read_build
from tinygen.verify.profile import Layer, Profile
from tinygen.verify.qemu import read_profile, run_qemu
from tinygen.verify.vectors import make_vectors


def built(core: str, folder: Path) -> Path:
    api.build(DIGITS, core).write(folder)
    return folder


@pytest.mark.qemu
@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m4", "cortex-m33", "cortex-m55"])
def test_layers_add_up_to_the_whole(core: str, tmp_path: Path) -> None:
    folder = built(core, tmp_path)
    found, made = running.profile(folder), read_build(folder)
    whole = run_qemu(made, make_vectors(made.inputs, 1, 0), load_target(core)).instructions
    assert whole is not None and abs(found.instructions - whole) <= 0.01 * whole + 40 * len(found.layers)
    assert [layer.op for layer in found.layers] == [layer["op"] for layer in made.report["layers"]]
    assert found.macs == made.report["macs"] and abs(sum(layer.share for layer in found.layers) - 1) < 1e-9
    assert all(layer.per_mac is None or layer.per_mac > (found.floor or 0) for layer in found.layers)


@pytest.mark.qemu
def test_the_command(tmp_path: Path) -> None:
    folder = built("cortex-m4", tmp_path)
    told = json.loads(tinygen("profile", folder, "--json").stdout)
    assert told["floor"] == 0.5 and told["instructions"] == sum(x["instructions"] for x in told["layers"])
    shown = tinygen("profile", folder).stdout
    assert all(f"{layer['instructions']:,}" in shown for layer in told["layers"]) and "0.5 per MAC" in shown


def test_refusals(tmp_path: Path) -> None:
    assert "target host has no emulator" in refused("profile", built("host", tmp_path / "h"), code=2)
    assert "report.json" in refused("profile", tmp_path, code=2)


def test_what_counting_costs_is_left_out() -> None:
    """Lines of the harness: wraps of the counter and ticks, the first of them for nothing at all."""
    lines = ["step 00000000 00000002", "step 00000000 00000005", "step 00000001 FFFFFF02"]
    assert read_profile("\n".join(lines), 1024.0) == (3 * 4, ((1 << 24) - 256) * 4 - 5)


def test_words() -> None:
    layers = (
        Layer(0, "a", "CONV_2D", "conv_2d/dsp", (1, 2), 100, 150, 0.75),
        Layer(1, "b", "ADD", "add", (2,), 0, 50, 0.25),
    )
    lines = list(Profile("m", "cortex-m4", "board", 0.5, layers).lines())
    assert lines[0].startswith("200 instructions on board") and lines[1].endswith("50, a factor of 4.00 less")
    assert layers[1].per_mac is None


def test_every_core_has_a_floor() -> None:
    """The better the instructions, the lower it is."""
    floors = {t.name: t.floor for t in all_targets() if t.is_core and not t.is_host}
    assert all(floors.values()) and load_target("host").floor is None
    for name, floor in floors.items():
        features = load_target(name).features
        assert floor == (1 / 16 if "mve" in features else 0.5 if "dsp" in features else floor) and (floor or 0) <= 2
