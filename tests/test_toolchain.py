# SPDX-License-Identifier: Apache-2.0
"""Running tools and measuring code, with a small library whose sizes are known by construction."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tinygen import doctor, toolchain
from tinygen.errors import ToolError
from tinygen.target import Target, all_targets, load_target
from tinygen.toolchain import FlashSize, StackUsage, compile_object, deepest, flash_size, run, stack_usage

needs_cross = pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is missing")
needs_host = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is missing")

CORES = [t for t in all_targets() if t.is_core and not t.is_host]

HEADER = """
#include <stdint.h>
typedef union { uint8_t bytes[64]; int64_t align; } kws_arena_t;
void kws_run(kws_arena_t *arena);
"""

#: 1000 bytes of constants and a function with a 400-byte array, below one with a 200-byte array beside an idle one.
SOURCE = """
#include "kws.h"
#include <string.h>
#define NOINLINE __attribute__((noinline))
static const uint8_t table[1000] = {1, 2, 3};
static const uint8_t unused[500] = {4, 5, 6};

static NOINLINE uint8_t deep(const uint8_t *x)
{
    volatile uint8_t local[400];
    for (int i = 0; i < 400; i++) {
        local[i] = table[x[i & 15] + i];
    }
    return local[x[0]];
}

static NOINLINE uint8_t shallow(const uint8_t *x)
{
    volatile uint8_t local[40];
    local[x[0] & 7] = x[1];
    return local[x[2] & 7];
}

static NOINLINE uint8_t middle(const uint8_t *x)
{
    volatile uint8_t local[200];
    local[x[0] & 7] = deep(x);
    local[x[1] & 7] = shallow(x);
    return local[x[2] & 7];
}

uint8_t idle(const uint8_t *x)
{
    volatile uint8_t local[3000];
    local[x[0]] = unused[x[1]];
    return local[x[2]];
}

void kws_run(kws_arena_t *arena)
{
    arena->bytes[0] = middle(arena->bytes);
    memcpy(arena->bytes + 32, arena->bytes, arena->bytes[1] & 31u);
}
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    (tmp_path / "kws.h").write_text(HEADER)
    (tmp_path / "kws.c").write_text(SOURCE)
    return tmp_path


@needs_cross
@pytest.mark.parametrize("target", CORES, ids=lambda t: t.name)
def test_stack_is_that_of_the_deepest_chain(library: Path, target: Target) -> None:
    found = stack_usage(library, "kws", target)
    assert found.path == ("kws_run", "middle", "deep")
    # The arrays of the chain, and no more beside them than a few saved registers for each function.
    assert 600 <= found.bytes <= 600 + 3 * 48
    assert "memcpy" in found.assumed


@needs_host
def test_stack_of_the_host_is_measured_too(library: Path) -> None:
    found = stack_usage(library, "kws", load_target("host"))
    assert found.path == ("kws_run", "middle", "deep")
    # x86-64 leaves 128 bytes of the innermost function uncounted.
    assert 600 - 128 <= found.bytes <= 600 + 3 * 48


@needs_cross
@pytest.mark.parametrize("target", CORES, ids=lambda t: t.name)
def test_flash_is_what_the_call_draws_in(library: Path, target: Target) -> None:
    found = flash_size(library, "kws", target)
    # The table that is read, not the one that is not.
    assert 1000 <= found.constants < 1040
    assert found.data == 0
    assert found.bytes == found.code + found.constants
    without = (library / "kws.c").read_text().replace("memcpy(arena->bytes + 32", "(void)(arena->bytes + 32")
    (library / "kws.c").write_text(without.replace("arena->bytes, arena->bytes[1] & 31u", "arena->bytes[1]"))
    # The C library's memcpy counts, and takes more than the call itself.
    assert found.code - flash_size(library, "kws", target).code > 20


@needs_cross
def test_variables_with_values_are_data(library: Path) -> None:
    source = library / "kws.c"
    source.write_text(
        source.read_text().replace("static const uint8_t table[1000]", "static volatile uint8_t table[1000]")
    )
    found = flash_size(library, "kws", load_target("cortex-m4"))
    assert 1000 <= found.data < 1040
    assert found.constants < 40


@needs_cross
def test_helpers_of_the_compiler_count(library: Path) -> None:
    cortex_m0 = load_target("cortex-m0")
    before = flash_size(library, "kws", cortex_m0)
    source = library / "kws.c"
    division = "arena->bytes[2] = (uint8_t)(arena->bytes[3] / (arena->bytes[4] | 1u));"
    source.write_text(source.read_text().replace("    memcpy", f"    {division}\n    memcpy"))
    assert flash_size(library, "kws", cortex_m0).code - before.code > 100
    assert "__aeabi_uidiv" in stack_usage(library, "kws", cortex_m0).assumed


def test_flash_of_the_host_is_refused(library: Path) -> None:
    with pytest.raises(ToolError, match="flash is measured for Cortex-M"):
        flash_size(library, "kws", load_target("host"))


def test_flash_size_adds_up() -> None:
    assert FlashSize(code=1, constants=20, data=300).bytes == 321


def ci(*lines: str) -> str:
    return "\n".join(['graph: { title: "kws.c"', *lines, "}"])


def node(title: str, size: int, kind: str = "static") -> str:
    return f'node: {{ title: "{title}" label: "{title}\\nkws.c:1:1\\n{size} bytes ({kind})" }}'


def unknown(title: str) -> str:
    return f'node: {{ title: "{title}" label: "{title}\\n<built-in>" shape : ellipse }}'


def edge(caller: str, callee: str) -> str:
    return f'edge: {{ sourcename: "{caller}" targetname: "{callee}" label: "kws.c:2:2" }}'


def test_the_largest_sum_wins_not_the_longest_chain() -> None:
    graph = ci(
        *(node(n, s) for n, s in (("kws_run", 8), ("kws.c:a", 16), ("kws.c:b", 16), ("kws.c:c", 100), ("apart", 999))),
        unknown("memset"),
        unknown("memmove"),
        *(edge(*pair) for pair in (("kws_run", "kws.c:a"), ("kws.c:a", "kws.c:b"), ("kws_run", "kws.c:c"))),
        edge("kws.c:b", "memset"),
        edge("apart", "memmove"),
    )
    assert deepest(graph, "kws_run") == StackUsage(108, ("kws_run", "c"), ("memset",))


def test_indirect_calls_are_named() -> None:
    graph = ci(node("kws_run", 8), unknown("__indirect_call"), edge("kws_run", "__indirect_call"))
    assert deepest(graph, "kws_run") == StackUsage(8, ("kws_run",), ("__indirect_call",))


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ((node("kws_run", 8), node("f", 8), edge("kws_run", "f"), edge("f", "kws_run")), "'kws_run' calls itself"),
        ((node("kws_run", 8, "dynamic"),), "'kws_run' has no bound"),
        ((node("other", 8),), "does not define 'kws_run'"),
        ((unknown("kws_run"),), "does not define 'kws_run'"),
    ],
)
def test_a_stack_without_bound_is_refused(lines: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ToolError, match=sentence):
        deepest(ci(*lines), "kws_run")


def test_a_bounded_dynamic_stack_counts() -> None:
    assert deepest(ci(node("kws_run", 48, "dynamic,bounded")), "kws_run").bytes == 48


@needs_host
def test_real_recursion_is_refused(library: Path) -> None:
    source = library / "kws.c"
    source.write_text(
        '#include "kws.h"\nvoid kws_run(kws_arena_t *a)\n{\n    volatile uint8_t n = a->bytes[0];\n'
        "    if (n) {\n        a->bytes[0] = 0;\n        kws_run(a);\n        a->bytes[1] = n;\n    }\n}\n"
    )
    with pytest.raises(ToolError, match="'kws_run' calls itself"):
        stack_usage(library, "kws", load_target("host"), "-O1")


@needs_host
def test_compiling_reports_warnings_and_errors(tmp_path: Path) -> None:
    source, out, host = tmp_path / "a.c", tmp_path / "a.o", load_target("host")
    source.write_text("signed char f(int x);\nsigned char f(int x)\n{\n    return x;\n}\n")
    assert "onversion" in compile_object(source, out, host).stderr
    assert out.is_file()
    with pytest.raises(ToolError, match=r"failed with exit code 1\n(.|\n)*onversion"):
        compile_object(source, out, host, extra=("-Werror",))


def test_run_returns_output(tmp_path: Path) -> None:
    done = run([sys.executable, "-c", "import os; print(os.getcwd())"], cwd=tmp_path)
    assert Path(done.stdout.strip()).resolve() == tmp_path.resolve()


def test_run_survives_bytes_that_are_not_text() -> None:
    assert (
        run([sys.executable, "-c", r"import sys; sys.stdout.buffer.write(b'a\xffb')"]).stdout
        == "a\N{REPLACEMENT CHARACTER}b"
    )


def test_run_fails_with_the_last_words() -> None:
    code = "import sys; sys.exit(chr(10).join(f'line {i}' for i in range(20)))"
    with pytest.raises(ToolError) as caught:
        run([sys.executable, "-c", code])
    first, *last = str(caught.value).splitlines()
    assert first.endswith("failed with exit code 1")
    assert last == [f"line {i}" for i in range(12, 20)]


def test_run_stops_what_takes_too_long() -> None:
    with pytest.raises(ToolError, match=r"was stopped after 0\.2 seconds"):
        run([sys.executable, "-c", "import time; time.sleep(30)"], timeout=0.2)


def test_run_says_what_cannot_start(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="nothing could not be started: No such file"):
        run([tmp_path / "nothing"])


def fake_tool(path: Path, version: str, specs: str = "/lib/nano.specs") -> None:
    """A program that answers as gcc does when asked for newlib-nano, and with its version to anything else."""
    path.write_text(f"#!/bin/sh\ncase $1 in -print-file-name=*) echo '{specs}' ;; *) echo '{version}' ;; esac\n")
    path.chmod(0o755)


def test_the_cross_compiler_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tool(tmp_path / "my-gcc", "my-gcc (15:9.9.rel1) 13.2.1 20231009")
    fake_tool(tmp_path / "my-size", "GNU size (2.41-5) 2.41")
    monkeypatch.setenv("TINYGEN_CC", str(tmp_path / "my-gcc"))
    assert toolchain.find_cross() == str(tmp_path / "my-gcc")
    assert toolchain.find_compiler(load_target("cortex-m4")) == str(tmp_path / "my-gcc")
    assert toolchain.find_size() == str(tmp_path / "my-size")
    assert toolchain.version(toolchain.find_cross()) == "13.2.1"
    assert toolchain.version(toolchain.find_size()) == "2.41"


def test_a_compiler_without_a_library_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tool(tmp_path / "bare-gcc", "bare-gcc 13.2.1", specs="nano.specs")
    monkeypatch.setenv("TINYGEN_CC", str(tmp_path / "bare-gcc"))
    with pytest.raises(ToolError, match="bare-gcc has no C library: install libnewlib-arm-none-eabi"):
        toolchain.find_cross()
    checks = {check.name: check for check in doctor.diagnose()}
    assert checks["arm-none-eabi-gcc"].found == "13.2.1"
    assert checks["newlib-nano"].found is None


def test_missing_tools_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("TINYGEN_CC", raising=False)
    with pytest.raises(ToolError, match="arm-none-eabi-gcc was not found: install gcc-arm-none-eabi"):
        toolchain.find_cross()
    with pytest.raises(ToolError, match="gcc or clang or cc was not found"):
        toolchain.find_host()


def test_the_doctor_says_how_to_install_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("TINYGEN_CC", raising=False)
    checks = {check.name: check for check in doctor.diagnose()}
    assert checks["numpy"].found
    tools = ["C compiler", "clang", "arm-none-eabi-gcc", "newlib-nano", "qemu-system-arm"]
    assert [name for name in tools if checks[name].found] == []
    text = doctor.render(tuple(checks.values()))
    assert "apt-get install gcc-arm-none-eabi" in text
    assert "apt-get install libnewlib-arm-none-eabi" in text
    assert doctor.missing(tuple(checks.values())) == ()


def test_the_doctor_wants_every_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machines = sorted({t.emulator.machine for t in all_targets() if t.emulator})
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    qemu = tmp_path / "qemu-system-arm"

    def found(listed: list[str]) -> str | None:
        toolchain.version.cache_clear()
        lines = "\n".join(f"{machine}   described" for machine in listed)
        fake_tool(qemu, f"QEMU emulator version 8.1.0\n{lines}")
        return {check.name: check for check in doctor.diagnose()}["qemu-system-arm"].found

    assert found(machines) == "8.1.0"
    assert found(machines[:-1]) is None
    toolchain.version.cache_clear()


@needs_cross
def test_the_doctor_finds_what_is_there() -> None:
    checks = {check.name: check.found for check in doctor.diagnose()}
    assert checks["arm-none-eabi-gcc"] == toolchain.version(toolchain.find_cross())
