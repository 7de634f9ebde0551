# SPDX-License-Identifier: Apache-2.0
"""`tinygen profile`: what layers take adds up to what the whole takes, and refusals say why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.test_cli import DIGITS, refused, tinygen
from tinygen import api, running
from tinygen.errors import UsageError
from tinygen.target import all_targets, load_target
from tinygen.verify.blocks import Block, read_log
from tinygen.verify.build_dir import read_build
from tinygen.verify.cycles import estimated, timing_of
from tinygen.verify.instructions import CLASSES, Instruction, executed, histograms, sorted_into
from tinygen.verify.profile import Layer, Profile
from tinygen.verify.qemu import read_profile, run_qemu
from tinygen.verify.vectors import make_vectors

PRODUCTS = ("multiply", "long_multiply", "vector")


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
@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m4", "cortex-m55"])
def test_an_estimate_is_made_of_every_instruction(core: str, tmp_path: Path) -> None:
    """The classes that blocks consist of add up to what SysTick counts, layer by layer, but for interrupts."""
    found = running.profile(built(core, tmp_path), cycles=True)
    timing = load_target(core).timing
    assert timing is not None and found.timing == timing.source and found.cycles is not None
    for layer in found.layers:
        assert layer.classes is not None and set(layer.classes) <= set(CLASSES)
        assert abs(executed(layer.classes) - layer.instructions) <= 0.005 * layer.instructions + 12
        assert layer.cycles == estimated(layer.classes, timing)
    assert found.instructions < found.cycles < 3 * found.instructions
    assert any("estimate and no measurement" in line for line in found.lines())
    products = sum(count for layer in found.layers for kind, count in (layer.classes or {}).items() if kind in PRODUCTS)
    assert products * {"cortex-m0": 2, "cortex-m4": 2, "cortex-m55": 16}[core] >= found.macs


@pytest.mark.qemu
def test_the_command(tmp_path: Path) -> None:
    folder = built("cortex-m4", tmp_path)
    told = json.loads(tinygen("profile", folder, "--json").stdout)
    assert told["floor"] == 0.5 and told["instructions"] == sum(x["instructions"] for x in told["layers"])
    assert told["cycles"] is None
    shown = tinygen("profile", folder, "--cycles").stdout
    assert "≈ cycles" in shown and "cycles, an estimate" in shown
    assert all(f"{layer['instructions']:,}" in shown for layer in told["layers"]) and "0.5 per MAC" in shown


def test_refusals(tmp_path: Path) -> None:
    assert "target host has no emulator" in refused("profile", built("host", tmp_path / "h"), code=2)
    assert "report.json" in refused("profile", tmp_path, code=2)
    with pytest.raises(UsageError, match="how long instructions take on cortex-m85"):
        timing_of(load_target("cortex-m85"))


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


def test_every_table_has_a_source_and_known_classes() -> None:
    for target in all_targets():
        if target.timing is not None:
            assert target.timing.source and set(target.timing.cycles) <= set(CLASSES), target.name
            assert all(0 < cycles <= 12 for cycles in target.timing.cycles.values())
            assert target.timing.table == (target.core in ("cortex-m0", "cortex-m0plus", "cortex-m3", "cortex-m4"))
    assert (
        estimated({"alu": 3, "load": 2, "taken": 1, "unheard_of": 1}, timing_of(load_target("cortex-m4")))
        == 3 + 4 + 3 + 1
    )


@pytest.mark.parametrize(
    "name, operands, kind, words",
    [
        ("adds.n", "r0, r1, #4", "alu", 0),
        ("muls", "r4, r2, r4", "multiply", 0),
        ("smlad", "r5, r4, lr, r5", "multiply", 0),
        ("smull", "r2, r3, r0, r1", "long_multiply", 0),
        ("ldrsb.w", "r3, [r0, #1]", "load", 0),
        ("strb", "r3, [r0, #0]", "store", 0),
        ("ldmia.w", "r0!, {r1, r4-r7, lr}", "multiple", 6),
        ("ldrd", "r0, r1, [r2]", "multiple", 2),
        ("pop", "{r4, pc}", "multiple", 2),
        ("bne.n", "1c4 <x+0x8>", "taken", 0),
        ("bls.n", "1c4 <x+0x8>", "taken", 0),
        ("bic.w", "r1, r2, r3", "alu", 0),
        ("bfi", "r1, r2, #0, #3", "alu", 0),
        ("cbz", "r0, 1c4", "taken", 0),
        ("letp", "lr, 1c4", "loop", 0),
        ("vmladava.s8", "r0, q1, q2", "vector", 0),
        ("vmov.f32", "s0, s1", "float", 0),
        ("udiv", "r0, r0, r1", "divide", 0),
        ("mov", "pc, lr", "taken", 0),
    ],
)
def test_instructions_are_sorted(name: str, operands: str, kind: str, words: int) -> None:
    found = sorted_into(0, name, operands)
    assert (found.kind, found.words) == (kind, words)


def entered(at: int) -> str:
    return f"Trace 0: 0x7f{at:x} [00000000/{at:08x}/00/00] f\n"


def translated(*lines: str) -> str:
    return "IN: f\n" + "".join(f"0x{line}  what it is\n" for line in lines) + "\n"


#: Two marks, and between them a layer: a loop of three instructions passed three times, the last time in two pieces.
LOG = (
    translated("00000200:  4770")
    + entered(0x200)
    + translated("00000300:  4770")
    + entered(0x300)
    + translated("00000100:  4770")
    + entered(0x100)
    + entered(0x200)
    + translated("00000104:  4770")
    + entered(0x104)
    + translated("00000010:  6803", "00000012:  f8d1 4000", "00000016:  d1fb")
    + entered(0x10) * 2
    + translated("00000010:  6803")
    + entered(0x10).replace("7f10", "7fff")
    + translated("00000012:  f8d1 4000", "00000016:  d1fb")
    + entered(0x12)
    + translated("00000018:  4770")
    + entered(0x18)
    + entered(0x100)
    + entered(0x200)
    + entered(0x18)
)


def test_a_log_is_read() -> None:
    blocks = read_log(
        LOG.encode().splitlines(keepends=True),
        {"trace_step": range(0x100, 0x110), "start_counting": range(0x200, 0x204)},
    )
    loop, short, rest = Block(0x10, 0x18), Block(0x10, 0x12), Block(0x12, 0x18)
    assert blocks.layers == [{(loop, 0x10): 2, (short, 0x12): 1, (rest, 0x18): 1, (Block(0x18, 0x1A), 0x100): 1}]
    lines = {0x10: "load", 0x12: "load", 0x16: "taken", 0x18: "alu"}
    (found,) = histograms(blocks, {at: Instruction(at, kind) for at, kind in lines.items()})
    assert found == {"load": 4, "next_load": 2, "taken": 2, "untaken": 1, "alu": 1} and executed(found) == 3 * 3 + 1
