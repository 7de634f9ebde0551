# SPDX-License-Identifier: Apache-2.0
"""Running the C on the host and under QEMU: results, instruction counts, stack, with a small model written by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.harness_fixture import FIXTURE, NEEDS_QEMU, broken, check, needs_clang, needs_gcc, some_vectors
from tinygen.errors import ToolError, UsageError, VerificationError
from tinygen.ir.types import Array
from tinygen.target import Target, all_targets, load_target
from tinygen.verify.build_dir import BuildDir, read_build
from tinygen.verify.execution import Execution
from tinygen.verify.host import run_host
from tinygen.verify.qemu import run_qemu, stack_size

MACHINES = [t for t in all_targets() if t.emulator is not None and t.emulator.board == t.name]


def on_machines(*names: str) -> pytest.MarkDecorator:
    """Parametrize with QEMU machines: those named, or all."""
    chosen = [t for t in MACHINES if not names or t.name in names]
    assert len(chosen) == len(names) or not names
    return pytest.mark.parametrize("machine", [pytest.param(t, id=t.name, marks=NEEDS_QEMU) for t in chosen])


@pytest.fixture
def build() -> BuildDir:
    return read_build(FIXTURE)


def check_trace(execution: Execution, vectors: list[list[Array]]) -> None:
    assert execution.trace is not None
    for (x, _), (y,), (first, second) in zip(vectors, execution.outputs, execution.trace, strict=True):
        assert [a.dtype for a in (*first, *second)] == [np.int16, np.int8]
        np.testing.assert_array_equal(first[0], 2 * x.astype(np.int16))
        np.testing.assert_array_equal(second[0], y)


@needs_gcc
@pytest.mark.parametrize("trace", [False, True])
def test_host(build: BuildDir, trace: bool) -> None:
    vectors = some_vectors(build)
    execution = run_host(build, vectors, trace=trace)
    check(execution, vectors, "host")
    assert execution.instructions is None and execution.stack is None
    if trace:
        check_trace(execution, vectors)


@needs_clang
def test_host_with_clang(build: BuildDir) -> None:
    vectors = some_vectors(build)
    check(run_host(build, vectors, cc="clang", sanitize=False), vectors, "host")


@on_machines()
def test_qemu(build: BuildDir, machine: Target) -> None:
    vectors = some_vectors(build)
    execution = run_qemu(build, vectors, machine)
    check(execution, vectors, machine.name)
    assert execution.counts is not None and len(execution.counts) == len(vectors)
    assert execution.instructions == execution.counts[0]
    assert 100 < min(execution.counts) <= max(execution.counts) < 1000
    assert execution.stack is not None and 4 <= execution.stack <= 64
    again = run_qemu(build, vectors, machine)
    assert (again.counts, again.stack) == (execution.counts, execution.stack)


@on_machines()
def test_qemu_traced(build: BuildDir, machine: Target) -> None:
    vectors = some_vectors(build)
    execution = run_qemu(build, vectors, machine, trace=True)
    check(execution, vectors, machine.name)
    check_trace(execution, vectors)
    assert execution.counts is None and execution.stack is None


#: Executes 2b instructions, b being the second input; the rest depends on b by saturation only, so b stays large.
SPIN = r"""
    int32_t n;
    memcpy(&n, a + 48, 4);
    __asm__ volatile(".syntax unified\n 1: subs %0, %0, #1\n bne 1b" : "+l"(n) : : "cc");
"""


@on_machines()
def test_counts_are_exact_across_wraps_of_the_counter(tmp_path: Path, machine: Target) -> None:
    assert machine.emulator is not None and machine.emulator.tick_ns is not None
    build, x = broken(tmp_path, SPIN), np.zeros((1, 16), np.int8)

    def rests(spins: list[int]) -> set[int]:
        execution = run_qemu(build, [[x, np.array([n], np.int32)] for n in spins], machine)
        assert execution.counts is not None
        return {count - 2 * n for count, n in zip(execution.counts, spins, strict=True)}

    (rest,) = rests([1000, 1001])
    assert 100 < rest < 1000
    # The counter, started a few instructions before, wraps when this many iterations have run.
    wrap = int(2**24 * machine.emulator.tick_ns / 256 - rest) // 2
    assert rests([*range(wrap - 20, wrap + 5), 4 * wrap]) == {rest}


@on_machines("qemu-mps2-an386", "qemu-microbit")
def test_the_count_is_from_call_to_return(tmp_path: Path, machine: Target) -> None:
    """A function of two instructions counts two, whatever surrounds it."""
    build = broken(tmp_path, "")
    build.source.write_text('#include "kws.h"\n__attribute__((naked)) void kws_run(kws_arena_t *arena) '
                            '{ (void)arena; __asm__("nop\\n bx lr"); }\n')  # fmt: skip
    execution = run_qemu(build, some_vectors(build, 2), machine)
    assert (execution.counts, execution.stack) == ((2, 2), 0)


@on_machines("qemu-mps2-an386")
def test_the_stack_is_seen(tmp_path: Path, machine: Target) -> None:
    use = "volatile uint8_t used[1000];\n for (size_t i = 0; i < sizeof used; i++) { used[i] = 1; }"
    execution = run_qemu(broken(tmp_path, use), some_vectors(read_build(FIXTURE), 1), machine)
    assert execution.stack is not None and 1000 <= execution.stack < 1100


def test_the_stack_grows_with_the_report(build: BuildDir) -> None:
    assert stack_size(build) == 4096
    assert stack_size(replace(build, report={"ram": {"stack": 10_001}})) == 10_520
    assert stack_size(replace(build, report={"ram": {"stack": None}})) == 4096


@needs_gcc
def test_a_hook_out_of_order_is_reported(tmp_path: Path) -> None:
    build = broken(tmp_path, "KWS_HOOK(0);")
    check(run_host(build, some_vectors(build)), some_vectors(build), "host")
    with pytest.raises(VerificationError, match="hook once for each step"):
        run_host(build, some_vectors(build), trace=True)


@needs_gcc
def test_reliance_on_zeroed_memory_shows(tmp_path: Path) -> None:
    build = broken(tmp_path, "a[0] = (uint8_t)(a[0] + a[20]);")
    vectors = some_vectors(build)
    with pytest.raises(AssertionError):
        check(run_host(build, vectors), vectors, "host")


def with_arena(build: BuildDir, size: int) -> BuildDir:
    header = build.path / "kws.h"
    header.write_text(header.read_text().replace("ARENA_BYTES 52", f"ARENA_BYTES {size}"))
    return build


@on_machines("qemu-microbit")
def test_a_larger_machine_is_taken_if_need_be(tmp_path: Path, machine: Target) -> None:
    build = with_arena(broken(tmp_path, ""), 20_000)
    vectors = some_vectors(build)
    check(run_qemu(build, vectors, machine), vectors, "qemu-lm3s6965evb-m0")


@on_machines("qemu-mps2-an386")
def test_too_large_for_any_machine(tmp_path: Path, machine: Target) -> None:
    build = with_arena(broken(tmp_path, ""), 5_000_000)
    with pytest.raises(
        ToolError, match=r"'kws' cannot be emulated: it needs [\d,]+ bytes more RAM than qemu-mps2-an386"
    ):
        run_qemu(build, some_vectors(build), machine)


def test_a_target_without_emulator(build: BuildDir) -> None:
    with pytest.raises(UsageError, match="target host has no emulator"):
        run_qemu(build, some_vectors(build), load_target("host"))


@needs_gcc
def test_vectors_must_fit(build: BuildDir) -> None:
    (x, b), *_ = some_vectors(build)
    with pytest.raises(UsageError, match=r"input set 0, input 'x': expected int8\[1,16\], got int8\[16\]"):
        run_host(build, [[x[0], b]])
    with pytest.raises(UsageError, match=r"input set 1 has 1 arrays; the model has 2 inputs"):
        run_host(build, [[x, b], [x]])
    with pytest.raises(UsageError, match="no input sets"):
        run_host(build, [])


@needs_gcc
def test_a_compiler_error_is_told(tmp_path: Path) -> None:
    build = broken(tmp_path, "undeclared = 1;")
    with pytest.raises(ToolError, match="undeclared"):
        run_host(build, some_vectors(build))
