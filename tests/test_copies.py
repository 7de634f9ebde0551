# SPDX-License-Identifier: Apache-2.0
"""Weights that are copied from slow memory while their layer runs: when that pays, and that it changes no bit."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import tinygen
from tests.test_blob import DIGITS
from tinygen import toolchain
from tinygen.cli import main
from tinygen.copies import Costs, waits, with_copies
from tinygen.ir.program import Program
from tinygen.placement import EVERYTHING_USUAL
from tinygen.plan.arena import Plan
from tinygen.reads import AT_ONCE, PREPARED, WEIGHTS, passes
from tinygen.target import Bank, load_target
from tinygen.verify import harness, qemu
from tinygen.verify.build_dir import read_build
from tinygen.verify.vectors import make_vectors

needs_machine = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None, reason="no compiler or QEMU"
)


def slow(cost: float, ram: float = 0.0, cache: int = 0) -> Costs:
    banks = Bank("flash", "flash", None, 0, 1 << 30, cost, cache), Bank("ram", "ram", None, 0, 1 << 30, ram)
    return Costs(replace(load_target("cortex-m4"), banks=banks), EVERYTHING_USUAL)


def digits(target: str = "cortex-m55") -> tuple[Program, Plan]:
    made = tinygen.build(DIGITS, target)
    return made.program, made.plan


def copied(program: Program) -> set[tuple[str, str]]:
    return {(step.name, copy.constant) for step in program.steps for copy in step.copies}


# --- When it pays -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("costs", [slow(2), slow(8), slow(40), slow(40, ram=10), slow(3, ram=3), slow(40, cache=600)])
def test_no_copy_more_and_none_less_would_be_better(costs: Costs) -> None:
    program, layout = digits()
    made, found = with_copies(program, layout, costs, None, None)
    best = sum(waits(made, costs))
    assert best <= sum(waits(program, costs)) and found.bytes >= layout.bytes - 8
    sizes = sorted({constant.bytes for constant in program.constants})
    for most in sizes:
        other, _ = with_copies(program, layout, costs, most, None)
        assert copied(other) <= copied(made) and sum(waits(other, costs)) >= best
        assert all(copy.bytes <= most for step in other.steps for copy in step.copies)
    if costs.arena >= costs.of("c0"):
        assert not copied(made)


def test_dense_layers_are_not_copied_nor_what_a_cache_holds() -> None:
    program, layout = digits()
    ops = {step.op for step in with_copies(program, layout, slow(1000), None, None)[0].steps if step.copies}
    assert ops == {"CONV_2D", "DEPTHWISE_CONV_2D"}
    assert not copied(with_copies(program, layout, slow(1000, cache=1 << 20), None, None)[0])


def test_what_saves_most_comes_first_where_room_is_short() -> None:
    program, layout = digits()
    whole, planned = with_copies(program, layout, slow(100), None, None)
    saved = []
    for room in [*range(layout.bytes, planned.bytes, 64), planned.bytes]:
        made, found = with_copies(program, layout, slow(100), None, room)
        assert found.bytes <= room and copied(made) <= copied(whole)
        saved.append(sum(waits(program, slow(100))) - sum(waits(made, slow(100))))
    assert saved == sorted(saved) and saved[0] < saved[-1]


# --- That it changes no bit -------------------------------------------------------------------------------------------


@needs_machine
@pytest.mark.qemu
@pytest.mark.parametrize("target", ["cortex-m0plus", "cortex-m4", "cortex-m55"])
def test_cores_read_copies(target: str, tmp_path: Path) -> None:
    plain = tinygen.build(DIGITS, target, sections={"*.weights": ".external"})
    made = tinygen.build(DIGITS, target, sections={"*.weights": ".external"}, cache_weights="auto")
    assert sum(layer["copied_bytes"] for layer in made.report["layers"]) > 0
    assert sum(x["waits"] for x in made.report["layers"]) < sum(x["waits"] for x in plain.report["layers"])
    assert made.report["command"].endswith("--cache-weights auto")
    folder = made.write(tmp_path)
    tinygen.verify(folder, on="qemu", vectors=2).raise_if_wrong()
    if target == "cortex-m4":
        counted = tinygen.profile(folder, cycles=True)
        assert counted.cycles is not None and counted.cycles > sum(x["waits"] for x in made.report["layers"]) > 0


def test_a_ram_budget_holds() -> None:
    rules, target = {"*.weights": ".external"}, "cortex-m55"
    free = tinygen.build(DIGITS, target, sections=rules, cache_weights="auto")
    most = free.report["ram"]["total"] - 1000
    tight = tinygen.build(DIGITS, target, sections=rules, cache_weights="auto", ram=most)
    assert tight.report["ram"]["total"] <= most and copied(tight.program) < copied(free.program)


def test_the_command_tells_what_is_copied(tmp_path: Path) -> None:
    words = ["build", str(DIGITS), "--out", str(tmp_path), "--target", "cortex-m55"]
    words += ["--section", "*.weights=.external", "--cache-weights"]
    done = CliRunner().invoke(main, [*words, "4K"])
    assert done.exit_code == 0, done.output
    layers = json.loads((tmp_path / "report.json").read_text())["layers"]
    largest = max(layer["copied_bytes"] for layer in layers)
    assert re.search(rf"weights of \d+ layers are copied to RAM .* at most {largest:,} bytes", done.output)
    assert f"about {sum(layer['waits'] for layer in layers):,} cycles of waiting" in done.output
    assert CliRunner().invoke(main, [*words, "some"]).exit_code == 2


# --- How often cores read weights -------------------------------------------------------------------------------------


UNALIGNED = {"conv_2d/v6m", "depthwise_conv_2d/dsp", "depthwise_conv_2d/dsp_direct"}


class Watched:
    """A machine of QEMU that stops whenever one of some bytes is read, seen through its debugger's socket."""

    def __init__(self, command: list[str], folder: Path) -> None:
        gdb = ["-S", "-chardev", "socket,path=gdb,server=on,wait=on,id=gdb", "-gdb", "chardev:gdb"]
        self.process = subprocess.Popen([*command, *gdb], cwd=folder, stdout=subprocess.DEVNULL)
        self.socket, self.rest = socket.socket(socket.AF_UNIX), b""
        self.socket.settimeout(20)
        for _ in range(200):
            try:
                self.socket.connect(str(folder / "gdb"))
                break
            except OSError:
                self.process.poll()
                subprocess.run(["sleep", "0.02"], check=True)

    def ask(self, words: str) -> str:
        try:
            self.socket.sendall(f"+${words}#{sum(words.encode()) % 256:02x}".encode())
            while not (found := re.search(rb"\$([^#]*)#..", self.rest)):
                more = self.socket.recv(4096)
                if not more:
                    return "W"
                self.rest += more
        except (BrokenPipeError, ConnectionResetError):  # the program has ended, and the machine with it
            return "W"
        self.rest = self.rest[found.end() :]
        return found[1].decode()

    def reads(self, places: list[int]) -> Counter[int]:
        for place in places:
            assert self.ask(f"Z3,{place:x},1") == "OK"
        found = Counter[int]()
        while (stopped := self.ask("c")).startswith("T"):
            at = re.search(r"rwatch:([0-9a-f]+)", stopped)
            assert at is not None, stopped
            found[int(at[1], 16)] += 1
            # It stops before the read, and would do so for ever.
            for words in (*(f"z3,{place:x},1" for place in places), "s", *(f"Z3,{place:x},1" for place in places)):
                self.ask(words)
        self.process.wait(timeout=30)
        return found


@needs_machine
@pytest.mark.qemu
@pytest.mark.parametrize("target", ["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m55"])
@pytest.mark.parametrize("optimize", ["speed", "ram"])
def test_weights_are_read_as_often_as_is_said(target: str, optimize: str, tmp_path: Path) -> None:
    """A byte in the middle of each layer's weights, watched by the emulator. Some kernels leave taps on padding out."""
    made = tinygen.build(DIGITS, target, optimize=optimize)  # type: ignore[arg-type]  # one of several
    build, board = read_build(made.write(tmp_path / "build")), load_target(target)
    machine, _ = qemu._make(build, make_vectors(build.inputs, 1, 0), board, harness.Mode.PLAIN, None, tmp_path, "gcc")
    table = toolchain.run([toolchain.find_beside("nm"), tmp_path / "program.elf"]).stdout
    symbols = {name: int(at, 16) for at, name in re.findall(r"^(\w+) \w (\w+)$", table, re.MULTILINE)}
    sizes = {constant.name: constant.bytes for constant in made.program.constants}
    expected, unaligned = Counter[int](), set[int]()
    for step in made.program.steps:
        often = Counter(step.loop.order if step.loop else ())
        calls = [(c, often[i]) for i, a in enumerate(step.loop.actions) for c in a.calls] if step.loop else []
        kernels = {id(call): layer.kernel for layer in step.layers for call in layer.invocations}
        for call, times in calls or [(call, 1) for call in step.invocations]:
            for field, name in call.params.items():
                if isinstance(name, str) and field.rpartition(".")[2] == WEIGHTS:
                    place = symbols[f"digits_{name}"] + sizes[name] // 2
                    # Fours out of 11 are not aligned, or reach into the next filter: some bytes are read twice.
                    unaligned |= {place} if kernels[id(call)] in UNALIGNED else set()
                    for near in (place, place - sizes[name] // 4):  # one may be read twice, with what is beside it
                        expected[near] += times * passes(kernels[id(call)], call.params)
    found = Watched([*qemu._command(toolchain.find_qemu(), machine)], tmp_path).reads([*expected])
    assert set(found) == set(expected)
    for place, other in zip([*expected][::2], [*expected][1::2], strict=True):
        least = min(found[place], found[other])
        most = 2 * expected[place] if place in unaligned else 1.02 * expected[place]
        assert 0.75 * expected[place] <= least <= most, (hex(place), expected[place], found)


def test_what_is_said_of_kernels_is_of_some_that_are_there() -> None:
    """A kernel that is renamed takes along how often it reads its weights."""
    kernels = Path(__file__).parents[1] / "templates" / "kernels"
    assert all((kernels / f"{name}.c.j2").is_file() for name in (*AT_ONCE, *PREPARED))
