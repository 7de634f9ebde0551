# SPDX-License-Identifier: Apache-2.0
"""Target data against independent witnesses: compilers say what flags mean, QEMU says what machines have."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import targets_md
from tinygen import target as target_module
from tinygen import toolchain
from tinygen.errors import UsageError
from tinygen.resources import targets
from tinygen.target import Target, all_targets, load_target

needs_cross = pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is missing")
needs_clang = pytest.mark.skipif(shutil.which("clang") is None, reason="clang is missing")
needs_qemu = pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is missing")

CORES = [t for t in all_targets() if t.is_core and not t.is_host]
MACHINES = [t for t in all_targets() if targets_md.is_emulated(t)]

#: The ACLE macro by which a compiler tells that a core has a feature.
MACROS = {"v6m": "__ARM_ARCH_6M__", "dsp": "__ARM_FEATURE_SIMD32", "mve": "__ARM_FEATURE_MVE", "fpu": "__ARM_FP"}


def agrees_on_features(core: Target, compiler: list[str], tmp_path: Path) -> None:
    empty = tmp_path / "empty.c"
    empty.write_text("")
    defined = toolchain.run([*compiler, *core.cflags, "-dM", "-E", empty]).stdout
    assert core.features == {name for name, macro in MACROS.items() if f"#define {macro} " in defined}
    toolchain.run([*compiler, *core.cflags, "-c", empty, "-o", tmp_path / "empty.o"])


@needs_cross
@pytest.mark.parametrize("core", CORES, ids=lambda c: c.name)
def test_gcc_agrees_on_features(core: Target, tmp_path: Path) -> None:
    agrees_on_features(core, [toolchain.find_cross()], tmp_path)


@needs_clang
@pytest.mark.parametrize("core", CORES, ids=lambda c: c.name)
def test_clang_agrees_on_features(core: Target, tmp_path: Path) -> None:
    agrees_on_features(core, [toolchain.find_clang(), "--target=arm-none-eabi"], tmp_path)


def test_a_core_runs_on_an_emulator_that_lacks_no_feature() -> None:
    for core in CORES:
        assert core.emulator is not None
        assert core.features <= load_target(core.emulator.core).features, core.name


def test_a_board_has_its_cores_data_and_limits_of_its_own() -> None:
    board, core = load_target("nucleo-l4r5zi"), load_target("cortex-m4")
    assert (board.core, board.features, board.cflags) == ("cortex-m4", core.features, core.cflags)
    assert (board.ram, board.flash, board.clock) == (640 * 1024, 2048 * 1024, 120_000_000)
    assert (core.ram, core.flash, core.clock) == (None, None, None)
    assert board.emulator == core.emulator


def test_a_machine_of_qemu_is_its_own_emulator() -> None:
    board = load_target("qemu-mps3-an547")
    assert board.emulator is not None
    assert (board.emulator.board, board.core) == ("qemu-mps3-an547", "cortex-m55")
    assert (board.ram, board.flash) == (board.emulator.ram.size, board.emulator.flash.size)


#: Reset code that asks the machine whether the data file is right, and leaves by semihosting with the answer.
PROBE = """
#include <stdint.h>
#define REGISTER(address) (*(volatile uint32_t *)(address))

static int exit_with(uint32_t reason)
{
    register uint32_t operation __asm__("r0") = 0x18;
    register uint32_t argument __asm__("r1") = reason;
    __asm__ volatile("bkpt 0xab" : : "r"(operation), "r"(argument) : "memory");
    for (;;) {
    }
}

#if COUNTS
/* SysTick ticks (down, 24 bits) while 200000 instructions run. */
static uint32_t ticks(void)
{
    uint32_t n = 100000;
    REGISTER(0xE000E014) = 0xFFFFFF;
    REGISTER(0xE000E018) = 0;
    REGISTER(0xE000E010) = 5;
    __asm__ volatile(".syntax unified\\n 1: subs %0, %0, #1\\n bne 1b" : "+r"(n) : : "cc");
    return 0xFFFFFF - REGISTER(0xE000E018);
}
#endif

void reset(void)
{
    /* The end of the first half too: it must not be what the end of the second half mirrors. */
    const uint32_t first = RAM, middle = RAM + RAM_SIZE / 2 - 4, last = RAM + RAM_SIZE - 4;
    REGISTER(first) = 0x12345678;
    REGISTER(middle) = 0x23456789;
    REGISTER(last) = 0x3456789A;
    int right = REGISTER(first) == 0x12345678 && REGISTER(middle) == 0x23456789 && REGISTER(last) == 0x3456789A;
    right = right && REGISTER(FLASH + FLASH_SIZE - 4) == 0;
    /* Every first and last word of its own, also those of the others. */
    static const uint32_t others[] = {OTHERS};
    for (uint32_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        REGISTER(others[i]) = i + 1;
    }
    for (uint32_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        right = right && REGISTER(others[i]) == i + 1;
    }
#if COUNTS
    const uint32_t counted = ticks();
    right = right && counted > TICKS - TICKS / 100 && counted < TICKS + TICKS / 100;
#endif
    exit_with(right ? 0x20026 : 0x20023);
}

__attribute__((section(".text.vectors"), used)) static void (*const vectors[])(void) = {
    (void (*)(void))(RAM + RAM_SIZE / 4), reset, 0, 0
};
"""


@needs_cross
@needs_qemu
@pytest.mark.qemu
@pytest.mark.parametrize("board", MACHINES, ids=lambda b: b.name)
def test_qemu_agrees_on_memory_and_ticks(board: Target, tmp_path: Path) -> None:
    machine = board.emulator
    assert machine is not None
    shift, first = 6, f"0x{machine.ram.origin:x}u"
    values = {
        "RAM": f"0x{machine.ram.origin:x}u",
        "RAM_SIZE": f"0x{machine.ram.size:x}u",
        "FLASH": f"0x{machine.flash.origin:x}u",
        "FLASH_SIZE": f"0x{machine.flash.size:x}u",
        "OTHERS": ",".join([f"{b.origin}u,{b.origin + b.size - 4}u" for b in machine.banks] or [first]),
        "COUNTS": int(machine.tick_ns is not None),
        "TICKS": int(200_000 * 2**shift / (machine.tick_ns or 1)),
    }
    source, elf = tmp_path / "probe.c", tmp_path / "probe.elf"
    source.write_text(PROBE)
    script = tmp_path / "probe.ld"
    script.write_text(f"SECTIONS {{ .text 0x{machine.flash.origin:x} : {{ *(.text.vectors) *(.text*) *(.rodata*) }} }}")
    defines = [f"-D{name}={value}" for name, value in values.items()]
    link = ["-nostdlib", "-Wl,--entry=reset", f"-Wl,--script={script}"]
    toolchain.run([toolchain.find_cross(), *board.cflags, "-O1", *defines, *link, source, "-o", elf])
    cpu = ["-cpu", machine.cpu] if machine.cpu else []
    chardev = ["-semihosting-config", "enable=on,target=native", "-icount", f"shift={shift},sleep=off"]
    quiet = ["-nographic", "-monitor", "none", "-serial", "none"]
    toolchain.run(
        [toolchain.find_qemu(), "-machine", machine.machine, *cpu, *machine.options, *quiet, *chardev, "-kernel", elf],
        timeout=30,
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [("m4", "cortex-m4"), ("Cortex_M7", "cortex-m7"), ("cortexm33", "cortex-m33"), ("h743", "nucleo-h743zi")],
)
def test_an_unknown_target_is_answered_with_near_names(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"unknown target '{name}': did you mean .*{hint}"):
        load_target(name)


def test_a_hopeless_target_is_answered_with_all_names() -> None:
    with pytest.raises(UsageError, match=r"known are cortex-m0, .*stm32f746g-disco"):
        load_target("??")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of targets/ that a test may spoil."""
    for folder in ("cores", "boards"):
        (tmp_path / folder).mkdir()
        for entry in targets().joinpath(folder).iterdir():
            (tmp_path / folder / entry.name).write_text(entry.read_text(encoding="utf-8"))
    monkeypatch.setattr(target_module, "targets", lambda: tmp_path)
    target_module._names.cache_clear()
    yield tmp_path
    target_module._names.cache_clear()


@pytest.mark.parametrize(
    ("path", "old", "new", "sentence"),
    [
        ("cores/cortex-m4.toml", "features", "feature", "unknown key 'feature'; expected description, features,"),
        ("cores/cortex-m4.toml", "features = ", "# ", "'features' is missing"),
        ("cores/cortex-m4.toml", '"dsp"', '"simd"', "features must be among dsp, fpu, mve"),
        ("cores/cortex-m4.toml", '"-mthumb"', "1", "'cflags' must be a list of strings"),
        ("cores/cortex-m4.toml", "features = ", "features == ", "is not valid TOML"),
        ("cores/cortex-m4.toml", "qemu-mps2-an386", "qemu-none", "boards/qemu-none.toml does not exist"),
        ("cores/cortex-m4.toml", "qemu-mps2-an386", "rpi-pico", "boards/rpi-pico.toml: unknown key 'ram'"),
        ("boards/rpi-pico.toml", "ram = 270_336", 'ram = "264K"', "'ram' must be of type int, not str"),
        ("boards/rpi-pico.toml", "cortex-m0plus", "cortex-m1", "core 'cortex-m1' has no file in targets/cores"),
        ("boards/rpi-pico.toml", "size = 270_336", "size = 1", r"needs one 'ram' and one 'flash' without section"),
        ("boards/rpi-pico.toml", 'kind = "ram"', 'kind = "rom"', r"memory\]\] ram: expected kind = \"ram\" or"),
        ("boards/nrf52840-dk.toml", '".rodata.qspi"', '"qspi"', "and a section such as"),
        ("boards/nrf52840-dk.toml", "[[memory]]", "[memory]", "Cannot"),
        ("boards/qemu-mps2-an386.toml", "machine =", "board =", r"\[qemu\]: unknown key 'board'"),
        ("boards/qemu-mps2-an386.toml", ", size =", ", length =", r"\[qemu\] flash: unknown key 'length'"),
    ],
)
def test_a_spoilt_file_is_refused(data: Path, path: str, old: str, new: str, sentence: str) -> None:
    file = data / path
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(UsageError, match=rf"targets/.*{sentence}"):
        load_target(file.stem)


def test_a_new_file_is_a_new_target(data: Path) -> None:
    (data / "boards" / "mine.toml").write_text((data / "boards" / "rpi-pico.toml").read_text())
    assert load_target("mine").core == "cortex-m0plus"


def test_the_page_is_current() -> None:
    assert targets_md.PAGE.read_text(encoding="utf-8") == targets_md.page(), "run make docs"
