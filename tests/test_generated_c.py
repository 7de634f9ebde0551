# SPDX-License-Identifier: Apache-2.0
"""The generated C as a compiler sees it: no warnings anywhere, no needs, no change from run to run."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import tinygen
from tests.differential.corpus import supported
from tests.forms import DRAWS, network, stored
from tests.laws import load
from tests.tflite_builder import ModelBuilder
from tinygen.api import Build
from tinygen.emit.render import emit
from tinygen.errors import UnsupportedError
from tinygen.ir.graph import Graph
from tinygen.lower import lower
from tinygen.passes import LOSSLESS, run_passes
from tinygen.plan.arena import plan
from tinygen.target import load_target
from tinygen.toolchain import CFLAGS

ROOT = Path(__file__).parents[1]
CORES = ("cortex-m0", "cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55", "cortex-m85")
LEVELS = ("-Os", "-O2", "-O3")


@cache
def digits() -> Build:
    return tinygen.build(ROOT / "examples" / "digits" / "digits.tflite", "cortex-m4")


@dataclass(frozen=True)
class Generated:
    """The files of one network, and the kernels that they hold."""

    name: str
    files: dict[str, str]
    kernels: frozenset[str]


def networks() -> Iterator[Graph]:
    """The corpus, and a network whose weights lie in each of several forms, with different weights."""
    for name, data in supported():
        yield run_passes(load(data, f"net{name.removesuffix('.tflite')}"), LOSSLESS)[0]
    for form in DRAWS:
        for seed in range(8):
            yield replace(stored(network(), form, np.random.default_rng(seed)), name=f"{form}{seed}")


@cache
def every_kernel() -> tuple[Generated, ...]:
    """A few networks that use, together, every kernel that the corpus and the forms of weights use on some core.

    Kernels for DSP are compiled everywhere: where it is not there, as portable C.
    """
    chosen: list[Generated] = []
    hosts = [replace(load_target("host"), features=frozenset(features)) for features in ((), ("dsp",))]
    for graph, host in ((replace(g, name=f"{g.name}{i}"), h) for i, h in enumerate(hosts) for g in networks()):
        program = lower(graph, host, ("balanced", "size", "speed")[len(chosen) % 3])
        if not set(program.templates) <= {kernel for made in chosen for kernel in made.kernels}:
            files = emit(program, plan(program), ["test"])
            chosen.append(Generated(program.name, files, frozenset(program.templates)))
    return tuple(chosen)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    for name in ("digits.h", "digits.c"):
        (folder / name).write_bytes(digits().files[name])
    for made in every_kernel():
        for name, text in made.files.items():
            (folder / name).write_text(text)
    return folder


def compile_without_a_word(command: list[str], folder: Path) -> None:
    files = sorted(path.name for path in folder.glob("*.c"))
    done = subprocess.run([*command, "-Werror", "-c", *files], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr[:3000]


def test_every_kernel_is_covered(sources: Path) -> None:
    kernels = {kernel for made in every_kernel() for kernel in made.kernels}
    assert len(kernels) >= 35, sorted(kernels)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_no_warnings_on_the_host(compiler: str, level: str, sources: Path) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    compile_without_a_word([compiler, *CFLAGS, level], sources)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("core", CORES)
def test_no_warnings_on_a_core(core: str, level: str, sources: Path) -> None:
    if not shutil.which("arm-none-eabi-gcc"):
        pytest.skip("arm-none-eabi-gcc is not installed")
    compile_without_a_word(["arm-none-eabi-gcc", *load_target(core).cflags, *CFLAGS, level], sources)


def test_the_header_serves_cpp(sources: Path) -> None:
    if not shutil.which("g++"):
        pytest.skip("g++ is not installed")
    (sources / "user.cpp").write_text(
        '#include "digits.h"\n'
        "static digits_arena_t arena;\n"
        "int main() { digits_input(&arena)[0] = 1; digits_run(&arena); return digits_output(&arena)[0] == 3; }\n"
    )
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
    subprocess.run(["gcc", *CFLAGS, "-O2", "-c", "digits.c", "-o", "digits.o"], cwd=sources, check=True)
    subprocess.run(["g++", *flags, "user.cpp", "digits.o", "-o", "user"], cwd=sources, check=True)
    assert subprocess.run([sources / "user"]).returncode in (0, 1)


def test_it_links_with_memcpy_and_memset_alone(sources: Path) -> None:
    """Freestanding: no C library at all, only the compiler's own support code."""
    if not shutil.which("arm-none-eabi-gcc"):
        pytest.skip("arm-none-eabi-gcc is not installed")
    core = load_target("cortex-m0")
    for name in ("digits", *(made.name for made in every_kernel())):
        (sources / "alone.c").write_text(
            f'#include <stddef.h>\n#include "{name}.h"\n'
            "void *memcpy(void *a, const void *b, size_t n)\n"
            "{ for (size_t i = 0; i < n; i++) ((volatile char *)a)[i] = ((const char *)b)[i]; return a; }\n"
            "void *memset(void *a, int c, size_t n)\n"
            "{ for (size_t i = 0; i < n; i++) ((volatile char *)a)[i] = (char)c; return a; }\n"
            f"static {name}_arena_t arena;\nvoid start(void);\nvoid start(void) {{ {name}_run(&arena); }}\n"
        )
        flags = [*core.cflags, "-std=c99", "-Os", "-ffreestanding", "-nostdlib", "-Wl,--entry=start"]
        command = ["arm-none-eabi-gcc", *flags, "alone.c", f"{name}.c", "-lgcc", "-o", "alone.elf"]
        done = subprocess.run(command, cwd=sources, capture_output=True, text=True)
        (sources / "alone.c").unlink()
        assert done.returncode == 0, done.stderr[-2000:]


def test_only_three_headers(sources: Path) -> None:
    included = {line for path in sources.glob("*.[ch]") for line in re.findall(r"#include <.*>", path.read_text())}
    assert included <= {"#include <stdint.h>", "#include <stddef.h>", "#include <string.h>"}


def test_no_mutable_state(sources: Path) -> None:
    """Everything at file scope is constant: nothing lands in .data or .bss."""
    subprocess.run(["gcc", *CFLAGS, "-O2", "-c", "digits.c", "-o", "digits.o"], cwd=sources, check=True)
    table = subprocess.run(["size", "-A", "digits.o"], cwd=sources, check=True, capture_output=True, text=True).stdout
    sizes = {name: int(size) for name, size in re.findall(r"^(\.\S+)\s+(\d+)", table, re.MULTILINE)}
    assert not any(size for name, size in sizes.items() if name.startswith((".data", ".bss")) and "rel.ro" not in name)


def test_same_input_same_bytes() -> None:
    again = tinygen.build(ROOT / "examples" / "digits" / "digits.tflite", "cortex-m4")
    assert dict(again.files) == dict(digits().files)


def test_no_path_and_no_date() -> None:
    text = digits().files["digits.c"].decode() + digits().files["digits.h"].decode()
    assert str(ROOT) not in text and "/home" not in text and not re.search(r"\b20\d\d-\d\d-\d\d\b", text)


def test_the_source_says_how_to_make_it_again() -> None:
    assert "tinygen build digits.tflite --target cortex-m4" in digits().files["digits.c"].decode()


def test_no_kernel_is_an_unsupported_error() -> None:
    """A node that meets its operator's conditions but has no kernel is refused, not guessed."""
    b = ModelBuilder()
    x, real, y = b.tensor((1, 4), "int8", 0.1), b.tensor((1, 4), "float32"), b.tensor((1, 4), "float32")
    b.op("DEQUANTIZE", [x], [real])
    b.op("NEG", [real], [y])
    with pytest.raises(UnsupportedError, match="NEG"):
        tinygen.build(load(b.finish([x], [y])), "host")
