# SPDX-License-Identifier: Apache-2.0
"""Models that misbehave: each kind is reported under its own name, on the host and on every core that can tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness_fixture import NEEDS_QEMU, broken, needs_gcc, some_vectors
from tinygen.errors import VerificationError
from tinygen.target import Region, load_target
from tinygen.verify.faults import describe
from tinygen.verify.host import run_host, sanitizer_finding
from tinygen.verify.qemu import run_qemu

M0, M0_STELLARIS, M3, M4 = "qemu-microbit", "qemu-lm3s6965evb-m0", "qemu-mps2-an385", "qemu-mps2-an386"
M7, M33, M55 = "qemu-mps2-an500", "qemu-mps2-an505", "qemu-mps3-an547"

OVERFLOW = "volatile uint8_t big[6000];\n for (size_t i = sizeof big; i-- > 0;) { big[i] = 1; }"
OUTSIDE = "a[KWS_ARENA_BYTES + 2] = 1;"
BEFORE = "((volatile uint8_t *)a)[-1] = 1;"
DIVIDE = "volatile int32_t zero = 0;\n volatile int32_t quotient = 7 / zero;\n (void)quotient;"
MISALIGNED = "uint32_t *volatile p = (uint32_t *)(void *)(a + 17);\n *p = 5;"
NO_MEMORY = "*(volatile uint32_t *)(uintptr_t)0x60000000u = 1;"
UNDEFINED = '__asm__ volatile(".inst.n 0xde00");'
ENDLESS = "for (volatile int i = 0;;) { i = 1; }"


@needs_gcc
@pytest.mark.parametrize(
    ("code", "message"),
    [
        (OUTSIDE, r"AddressSanitizer: use-after-poison kws\.c:\d+ in kws_run"),
        (BEFORE, r"AddressSanitizer: use-after-poison kws\.c:\d+ in kws_run"),
        ("volatile uint8_t sink = a[KWS_ARENA_BYTES];\n (void)sink;", "AddressSanitizer: use-after-poison"),
        (MISALIGNED, r"kws\.c:\d+:\d+: runtime error: store to misaligned address"),
        (DIVIDE, r"kws\.c:\d+:\d+: runtime error: division by zero"),
        ("volatile int i = INT32_MAX;\n i = i + 1;", "runtime error: signed integer overflow"),
        ("volatile float f = 1e10f;\n volatile int i = (int)f;\n (void)i;", "outside the range of representable"),
        (NO_MEMORY, "AddressSanitizer: SEGV"),
    ],
)
def test_host_reports_misbehaviour(tmp_path: Path, code: str, message: str) -> None:
    build = broken(tmp_path, code)
    with pytest.raises(VerificationError, match=rf"^kws_run on the host is wrong: .*{message}"):
        run_host(build, some_vectors(build))


@needs_gcc
@pytest.mark.parametrize(
    ("code", "message"),
    [
        (OUTSIDE, "wrote to memory just after the arena"),
        (BEFORE, "wrote to memory just before the arena"),
        (NO_MEMORY, "was stopped by SIGSEGV"),
        (ENDLESS, "did not finish within 1 seconds"),
    ],
)
def test_host_reports_misbehaviour_without_sanitizers(tmp_path: Path, code: str, message: str) -> None:
    build = broken(tmp_path, code)
    with pytest.raises(VerificationError, match=f"^kws_run on the host {message}"):
        run_host(build, some_vectors(build), sanitize=False, timeout=1 if code == ENDLESS else 60)


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        pytest.param(code, name, message, marks=NEEDS_QEMU)
        for code, message, *names in (
            (OUTSIDE, "wrote to memory just after the arena", M0, M4, M55),
            (BEFORE, "wrote to memory just before the arena", M4),
            (ENDLESS, "did not finish within 2 seconds", M0, M4),
            (OVERFLOW, "overflowed the stack", M0_STELLARIS),
            (OVERFLOW, "stopped with a HardFault: stack overflow", M0),
            (OVERFLOW, "stopped with a MemManage fault: stack overflow", M3, M4, M7),
            (OVERFLOW, "stopped with a UsageFault: stack overflow", M33, M55),
            (DIVIDE, "divided by zero", M0),
            (DIVIDE, "stopped with a UsageFault: division by zero", M3, M4, M7, M33, M55),
            (MISALIGNED, "stopped with a HardFault: misaligned access, ", M0, M0_STELLARIS),
            (UNDEFINED, "stopped with a UsageFault: undefined instruction", M3, M33),
            (NO_MEMORY, r"stopped with a BusFault: access to an address without memory \(0x60000000\)", M4, M33),
        )
        for name in names
    ],
)
def test_qemu_reports_misbehaviour(tmp_path: Path, code: str, name: str, message: str) -> None:
    build = broken(tmp_path, code)
    with pytest.raises(VerificationError, match=f"^kws_run on {name} {message}"):
        run_qemu(build, some_vectors(build), load_target(name), timeout=2 if code == ENDLESS else 60)


def test_memory_of_the_finding_survives_a_failing_report() -> None:
    text = "x\n==7==ERROR: AddressSanitizer: SEGV on unknown address\nnested bug, aborting.\n"
    assert sanitizer_finding(text) == "AddressSanitizer: SEGV on unknown address"
    assert sanitizer_finding("hello\n") is None


def test_faults_in_words() -> None:
    ram = Region(0x20000000, 0x1000)
    line = "fault exception=00000005 sp=20000100 cfsr=00000400 address=00000000\n"
    assert describe(line, ram) == "BusFault: access to an address without memory"
    assert describe(line.replace("sp=2", "sp=1"), ram) == "BusFault: stack overflow"
    assert describe("", ram) == "fault of which nothing is known"
