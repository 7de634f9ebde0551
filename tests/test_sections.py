# SPDX-License-Identifier: Apache-2.0
"""Several memories: what lies where, by the planner's rules and by hand, and that linkers put it there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygen
from tests.test_blob import DIGITS, MAIN, answers, linked, said
from tinygen.cli import main
from tinygen.errors import BudgetError, UsageError
from tinygen.ir.program import Constant, Invocation, Program, Step
from tinygen.ir.types import DType, TensorType
from tinygen.placement import Needs, density, place, taken, usage
from tinygen.target import Bank, Target, load_target
from tinygen.toolchain import CFLAGS

MACHINE = load_target("qemu-mps2-an386")
needs_machine = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None, reason="no compiler or QEMU"
)


def narrow(flash: int, external: int = 1 << 20, cost: float = 10.0) -> Target:
    """The machine with little flash, so that constants have to lie in slower memory, too."""
    main, ram, other, psram = MACHINE.banks
    banks = replace(main, size=flash), ram, replace(other, size=external, cost=cost), psram
    return replace(MACHINE, flash=flash, banks=banks)


# --- What lies where --------------------------------------------------------------------------------------------------


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Layers with arrays of any size; some share an array, and some compute nothing that counts as a product."""
    sizes = draw(st.lists(st.integers(1, 300), min_size=1, max_size=12))
    types = [np.int8, np.int32, np.int64]
    arrays = [np.zeros(size, types[draw(st.integers(0, 2))]) for size in sizes]
    constants = tuple(Constant(f"c{i}", values) for i, values in enumerate(arrays))
    layers = tuple(
        Step(
            f"layer{i}", "CONV_2D", "conv_2d/portable", "plain", (), (f"t{i}",),
            (Invocation("conv", {f"x.w{n}": f"c{n}" for n in sorted(draw(numbers))}, (), ()),),
            (), (), (), (), (), draw(st.integers(0, 10_000)), 0,
        )
        for i, numbers in enumerate([st.sets(st.integers(0, len(sizes) - 1), max_size=4)] * draw(st.integers(1, 5)))
    )  # fmt: skip
    ports = {f"t{i}": TensorType((1, 7), DType.INT8) for i in range(len(layers))}
    return Program("p", (), (), ports, {}, (), layers, constants, ())


@settings(max_examples=60, deadline=None)
@given(programs(), st.data())
def test_what_is_read_most_lies_in_the_fastest_memory_that_has_room(program: Program, data: st.DataObject) -> None:
    """For each array: every faster memory is full of the code, and of arrays that are read as often or more."""
    sizes = data.draw(st.lists(st.integers(0, 2000), min_size=2, max_size=4))
    costs = data.draw(st.permutations(range(len(sizes))))
    banks = [
        Bank(f"m{i}", "flash", f".rodata.m{i}" if i else None, 0, size, float(cost))
        for i, (size, cost) in enumerate(zip(sizes, costs, strict=True))
    ]
    target = replace(MACHINE, banks=(*banks, Bank("ram", "ram", None, 0, 1000)))
    code, constants = data.draw(st.integers(0, 500)), sum(map(taken, program.constants))
    needs = Needs(code, constants, 100, 10)
    found = place(program, needs, target, {})
    often, by_name = density(program), {c.name: c for c in program.constants}
    where = {name: found.constants.get(name) for name in by_name}
    used = {one.section: one for one in usage(program, needs, target, found) if one.kind == "flash"}
    assert sum(one.used for one in used.values()) == code + constants
    for name, section in where.items():
        mine = next(bank for bank in banks if bank.section == section)
        for bank in banks:
            if bank.cost < mine.cost:
                rivals = [n for n, other in where.items() if other == bank.section and often[n] >= often[name]]
                full = sum(taken(by_name[n]) for n in rivals) + (code if bank.section is None else 0)
                assert full + taken(by_name[name]) > bank.size
    for section, one in used.items():
        assert section is None or one.used <= (one.size or 0)


@given(
    st.integers(1, 3000), st.integers(0, 500), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 9)), max_size=3)
)
def test_the_arena_lies_in_the_fastest_ram_with_room(arena: int, stack: int, others: list[tuple[int, int]]) -> None:
    banks = [Bank("ram", "ram", None, 0, 2000, 5.0)]
    banks += [Bank(f"m{i}", "ram", f".bss.m{i}", 0, size, float(cost)) for i, (size, cost) in enumerate(others)]
    target = replace(MACHINE, banks=(Bank("flash", "flash", None, 0, 1000), *banks))
    program = Program("p", (), (), {}, {}, (), (), (), ())
    found = place(program, Needs(0, 0, arena, stack), target, {}).arena
    room = {bank.section: bank.size - (0 if bank.section else stack) for bank in banks}
    cost = {bank.section: bank.cost for bank in banks}
    able = [section for section in room if room[section] >= arena]
    assert found is None if not able else cost[found] == min(cost[s] for s in able) and found in able


def test_a_convolutions_weights_come_before_a_dense_layers() -> None:
    whole = tinygen.build(DIGITS, "cortex-m55")
    often, words = density(whole.program), tinygen.placement.names(whole.program)
    by_word = {word: often[name] for name, some in words.items() for word in some}
    convolutions = [often for word, often in by_word.items() if "conv" in word.lower() and word.endswith(".weights")]
    dense = [often for word, often in by_word.items() if "dense" in word.lower() and word.endswith(".weights")]
    assert min(convolutions) > max(dense) >= 0.25


# --- By hand ----------------------------------------------------------------------------------------------------------


def test_the_last_rule_that_fits_counts() -> None:
    build = tinygen.build(DIGITS, MACHINE, sections={"*": ".slow", "*.weights": "external", "arena": ".fast"})
    for constant in build.report["constants"]:
        weights = any(word.endswith(".weights") for word in constant["uses"])
        assert constant["section"] == (".rodata.external" if weights else ".slow")
    header, source = (build.files[f"digits.{kind}"].decode() for kind in "hc")
    assert '#define DIGITS_ARENA __attribute__((section(".fast")))' in header
    assert {"DIGITS_CONST_SLOW", "DIGITS_CONST_EXTERNAL"} == set(re.findall(r"DIGITS_CONST_\w+", source))
    held = {one["name"]: one["holds"] for one in build.report["memories"]}
    assert held[".fast"] == {"arena": build.plan.bytes} and held["ram"]["arena"] == 0
    assert build.report["command"].endswith("--section '*=.slow' --section '*.weights=external' --section arena=.fast")
    flash = build.report["flash"]
    assert sum(h.get("constants", 0) + h.get("code", 0) for h in held.values()) == flash["total"]


@pytest.mark.parametrize(
    ("rules", "weights", "sentence"),
    [
        ({"nothing": ".x"}, "code", "no constants are called so; there are '"),
        ({"*": "qspi"}, "code", r"expected a section such as .external, or a memory of qemu-mps2-an386 .*psram"),
        ({"*": "psram"}, "code", "that can hold it"),
        ({"*": ".bss.x"}, "code", "has no contents"),
        ({"*": ".x", "arena": ".x"}, "code", "cannot hold both constants and the arena"),
        ({"*": ".x.y", "*.weights": ".x_y"}, "code", "differ in nothing that a macro's name can tell"),
        ({"*": ".x"}, "blob", "all constants are one block"),
    ],
)
def test_a_rule_that_cannot_be_kept_is_refused(rules: Mapping[str, str], weights: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        tinygen.build(DIGITS, MACHINE, sections=rules, weights=weights)  # type: ignore[arg-type]  # one of two


def test_a_memory_that_is_too_small_is_named() -> None:
    small = narrow(1 << 20, external=100)
    with pytest.raises(
        BudgetError, match=r"memory 'external' of qemu-mps2-an386: \d+ bytes needed .* it has 100: \d+ too"
    ):
        tinygen.build(DIGITS, small, sections={"*": "external"})
    with pytest.raises(BudgetError, match=r"flash: .* allowed by target"):
        tinygen.build(DIGITS, narrow(2048, external=100))


def test_the_command_says_what_lies_where(tmp_path: Path) -> None:
    words = ["build", str(DIGITS), "--out", str(tmp_path / "d"), "--target", "nucleo-h743zi", "--section", "*=.a=b"]
    assert CliRunner().invoke(main, words).exit_code == 2
    done = CliRunner().invoke(main, [*words[:-1], "*.weights=.table"])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "d" / "report.json").read_text())
    arena = report["ram"]["arena"]
    assert (
        f"dtcm: {arena:,} bytes of 131,072 ({arena / 131_072:.0%}): {arena:,} arena, section .bss.dtcm" in done.output
    )
    assert re.search(r"\.table: [\d,]+ bytes: [\d,]+ constants, section \.table", done.output)
    assert "What lies in each memory" in (tmp_path / "d" / "report.html").read_text()
    assert CliRunner().invoke(main, ["build", str(DIGITS), "--section", "x"]).exit_code == 2


# --- Compiled and linked ----------------------------------------------------------------------------------------------


def test_the_macros_can_be_defined_otherwise(tmp_path: Path) -> None:
    build = tinygen.build(DIGITS, "host", sections={"*": ".slow", "arena": ".fast"}).write(tmp_path)
    (tmp_path / "use.c").write_text('#include "digits.c"\nstatic digits_arena_t arena DIGITS_ARENA;\n')
    preprocess = ["gcc", "-E", "-P", build / "use.c"]
    usual, without, own = (
        subprocess.run([*preprocess, *more], capture_output=True, text=True, check=True).stdout
        for more in ([], ["-U__GNUC__"], ["-DDIGITS_CONST_SLOW=", "-DDIGITS_ARENA="])
    )
    assert ".slow" in usual and ".fast" in usual
    assert not {".slow", ".fast", "__attribute__"} & set(re.findall(r"\.slow|\.fast|__attribute__", without))
    assert ".slow" not in own and ".fast" not in own
    command = ["gcc", *CFLAGS, "-Wno-unused-variable", "-Werror", "-c", build / "use.c", "-o", tmp_path / "use.o"]
    subprocess.run(command, check=True)


@needs_machine
@pytest.mark.qemu
def test_the_linker_puts_all_where_the_report_says(tmp_path: Path) -> None:
    """By the script beside the C; without it, all lies where it always does; the outputs are the same."""
    made = tinygen.build(DIGITS, narrow(9000), sections={"arena": "psram"})
    build, memories = made.write(tmp_path / "digits"), {one.name: one for one in made.memories}
    assert memories["external"].used > 0 and memories["flash"].used <= 9000
    body = MAIN[: MAIN.index("    if (!")] + MAIN[MAIN.index("    memset") :]
    body = body.replace("arena;\nint main", "arena DIGITS_ARENA;\nint main")
    expected = answers(tinygen.load(DIGITS)).split()
    for name, where in (("with", f"-Wl,-T,{build / 'digits.ld'}"), ("without", "-Wl,--gc-sections")):
        (tmp_path / name).mkdir()
        firmware = linked(build, tmp_path / name, body, (), where)
        table = subprocess.run(["arm-none-eabi-objdump", "-h", firmware], capture_output=True, text=True, check=True)
        found = {w[1]: (int(w[2], 16), int(w[3], 16)) for w in map(str.split, table.stdout.splitlines()) if len(w) == 7}
        assert said(firmware, tmp_path / name, None).split() == expected
        if name == "without":
            assert not {"digits_EXTERNAL", "digits_PSRAM"} & set(found)
            continue
        for label in ("external", "psram"):
            size, address = found[f"digits_{label.upper()}"]
            assert address == memories[label].origin
            assert memories[label].used - 8 <= size <= memories[label].used


@needs_machine
@pytest.mark.qemu
@pytest.mark.parametrize("board", ["stm32f746g-disco", "qemu-mps2-an505"])
def test_verify_links_sections_into_other_memories(board: str, tmp_path: Path) -> None:
    rules = {"*.weights": ".table", "*.bias": ".rodata.more"}
    folder = tinygen.build(DIGITS, board, sections=rules).write(tmp_path)
    tinygen.verify(folder, vectors=1).raise_if_wrong()
