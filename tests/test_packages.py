# SPDX-License-Identifier: Apache-2.0
"""Each kind of package builds with its tools, or, where those cannot be had, with stand-ins for what they offer."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tinygen
from tinygen import platformio, reference
from tinygen.cli import main
from tinygen.errors import UsageError
from tinygen.files import write_files
from tinygen.packages import c_string, check_kinds, kinds

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "examples" / "digits" / "digits.tflite"
#: What pip installs lies beside the interpreter.
PATH = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
CMAKE = shutil.which("cmake", path=PATH["PATH"])

needs_cmake = pytest.mark.skipif(CMAKE is None, reason="cmake is missing")
needs_cross = pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is missing")
needs_qemu = pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is missing")


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits with all packages in one folder."""
    return tinygen.build(DIGITS, packages=["all"]).write(tmp_path_factory.mktemp("build") / "digits")


@pytest.fixture(scope="module")
def project(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Start-up code, linker scripts and a test program for the emulated machines."""
    return write_files(tmp_path_factory.mktemp("project") / "project", platformio.project(build))


def run(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run(list(words), cwd=cwd, env=PATH, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def cmake(folder: Path, text: str, *options: str) -> Path:
    """Configures and builds `text` as CMakeLists.txt in `folder`; returns where the results are."""
    (folder / "CMakeLists.txt").write_text(text)
    assert CMAKE is not None
    run(CMAKE, "-S", folder, "-B", folder / "out", *options, cwd=folder)
    run(CMAKE, "--build", folder / "out", cwd=folder)
    return folder / "out"


def passes(said: str) -> bool:
    return said.count("PASS ") == 4 and "FAIL" not in said


def test_make(build: Path, project: Path, tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(
        f"include {build}/digits.mk\n"
        "firmware: $(DIGITS_SRCS) main.c\n\t$(CC) -std=c99 -Wall -Werror $(DIGITS_CFLAGS) -o $@ $^\n"
    )
    for file in (project / "test" / "test_vectors").iterdir():
        shutil.copy(file, tmp_path)
    run("make", "CC=gcc", cwd=tmp_path)
    assert passes(run(tmp_path / "firmware", cwd=tmp_path))


@needs_cmake
@pytest.mark.parametrize("way", ["add_subdirectory({0} digits)", "find_package(digits CONFIG REQUIRED PATHS {0})"])
def test_cmake_on_this_computer(build: Path, project: Path, tmp_path: Path, way: str) -> None:
    found = way.format(build)
    out = cmake(
        tmp_path,
        f"cmake_minimum_required(VERSION 3.13)\nproject(firmware C)\n{found}\n"
        f"add_executable(firmware {project}/test/test_vectors/main.c)\n"
        "target_link_libraries(firmware PRIVATE tinygen::digits)\n",
    )
    assert passes(run(out / "firmware", cwd=tmp_path))


@needs_cmake
@needs_cross
@needs_qemu
@pytest.mark.qemu
def test_cmake_for_an_emulated_machine(build: Path, project: Path, tmp_path: Path) -> None:
    machine = json.loads((project / "platform" / "boards" / "qemu_m4.json").read_text())
    (tmp_path / "arm.cmake").write_text(
        "set(CMAKE_SYSTEM_NAME Generic)\nset(CMAKE_SYSTEM_PROCESSOR arm)\nset(CMAKE_C_COMPILER arm-none-eabi-gcc)\n"
        f'set(CMAKE_C_FLAGS_INIT "{machine["build"]["cflags"]}")\nset(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)\n'
    )
    out = cmake(
        tmp_path,
        "cmake_minimum_required(VERSION 3.13)\nproject(firmware C)\n"
        f"add_subdirectory({build} digits)\nfile(GLOB runtime {project}/platform/runtime/*.c)\n"
        f"add_executable(firmware {project}/test/test_vectors/main.c ${{runtime}})\n"
        "target_link_libraries(firmware PRIVATE tinygen::digits)\n"
        f"set(script {project}/platform/boards/qemu_m4.ld)\n"
        "target_link_options(firmware PRIVATE -T ${script} --specs=nano.specs -nostartfiles)\n",
        f"-DCMAKE_TOOLCHAIN_FILE={tmp_path}/arm.cmake",
    )
    board = project / "platform" / "boards" / "qemu_m4.json"
    assert passes(
        run(sys.executable, project / "platform" / "tools" / "qemu.py", board, out / "firmware", cwd=tmp_path)
    )


@needs_cmake
def test_the_pico_package_with_a_stand_in_for_the_sdk(build: Path, project: Path, tmp_path: Path) -> None:
    out = cmake(
        tmp_path,
        "cmake_minimum_required(VERSION 3.13)\nproject(firmware C)\nadd_library(pico_stdlib INTERFACE)\n"
        f"include({build}/pico_digits.cmake)\nadd_executable(firmware {project}/test/test_vectors/main.c)\n"
        "target_link_libraries(firmware pico_stdlib digits)\n",
    )
    assert passes(run(out / "firmware", cwd=tmp_path))


#: The functions of Zephyr's build system that the module calls, as far as they matter here.
ZEPHYR = """
function(zephyr_library_named name)
  add_library(${name} STATIC)
  set(ZEPHYR_CURRENT_LIBRARY ${name} PARENT_SCOPE)
endfunction()
function(zephyr_library_sources)
  target_sources(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()
function(zephyr_library_compile_options)
  target_compile_options(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()
function(zephyr_include_directories)
  target_include_directories(app PUBLIC ${ARGN})
endfunction()
"""


@needs_cmake
def test_the_zephyr_module_with_a_stand_in_for_its_build_system(build: Path, project: Path, tmp_path: Path) -> None:
    out = cmake(
        tmp_path,
        "cmake_minimum_required(VERSION 3.13)\nproject(firmware C)\n"
        f"add_executable(app {project}/test/test_vectors/main.c)\n{ZEPHYR}\nset(CONFIG_TINYGEN_DIGITS y)\n"
        f"add_subdirectory({build}/zephyr digits)\ntarget_link_libraries(app PRIVATE digits)\n",
    )
    assert passes(run(out / "app", cwd=tmp_path))


def test_the_form_of_the_zephyr_module(build: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="pyyaml is missing")
    module = yaml.safe_load((build / "zephyr" / "module.yml").read_text())
    assert module == {"name": "digits", "build": {"cmake": "zephyr", "kconfig": "zephyr/Kconfig"}}
    lines = (build / "zephyr" / "Kconfig").read_text().splitlines()
    assert lines[0] == "config TINYGEN_DIGITS" and all(line.startswith("\t") for line in lines[1:])


def test_the_form_of_the_platformio_library(build: Path) -> None:
    """That PlatformIO builds it is in tests/test_platformio.py."""
    library = json.loads((build / "library.json").read_text())
    assert library["name"] == "digits" and library["build"]["srcFilter"] == ["-<*>", "+<digits.c>"]
    assert all((build / header).is_file() for header in library["headers"])


def test_the_form_of_the_arduino_library(build: Path) -> None:
    """The rules of the Arduino library specification, 1.5."""
    text = (build / "library.properties").read_text()
    fields = dict(line.partition("=")[::2] for line in text.splitlines())
    needed = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert needed <= set(fields) and fields["category"] == "Data Processing" and fields["architectures"] == "*"
    assert re.fullmatch(r"[A-Za-z0-9][\w .-]{0,62}", fields["name"]) and (build / fields["includes"]).is_file()
    assert re.fullmatch(r"\d+\.\d+\.\d+", fields["version"])
    sketches = list((build / "examples").iterdir())
    assert [folder.name for folder in sketches] == ["digits"] and (sketches[0] / "digits.ino").is_file()


#: What the sketch uses of Arduino's core.
ARDUINO = """
#include <cstdio>
#include <cstdlib>
#include <cstring>
static struct {
    void begin(long) {}
    void print(char c) { std::putchar(c); }
    void print(int v) { std::printf("%d", v); }
    void print(const char *t) { std::fputs(t, stdout); }
    void println(unsigned long v) { std::printf("%lu\\n", v); }
} Serial;
static unsigned long micros() { return 7; }
static void delay(unsigned long) { std::exit(0); }
"""


def test_the_arduino_sketch_with_a_stand_in_for_the_core(build: Path, tmp_path: Path) -> None:
    (tmp_path / "Arduino.h").write_text(ARDUINO)
    sketch = build / "examples" / "digits" / "digits.ino"
    (tmp_path / "main.cpp").write_text(
        f'#include "Arduino.h"\n#include "{sketch}"\nint main() {{ setup(); for (;;) loop(); }}\n'
    )
    run("gcc", "-c", build / "digits.c", "-o", "digits.o", cwd=tmp_path)
    run("g++", "-Wall", "-Werror", f"-I{build}", "main.cpp", "digits.o", "-o", "sketch", cwd=tmp_path)
    said = run(tmp_path / "sketch", cwd=tmp_path)
    assert len(said.split(" in ")[0].split()) == 10 and said.endswith(" in microseconds: 0\n")


PROFILE = r"""
#include <stdio.h>
#include "digits.h"
#define DIGITS_PROFILE_IMPLEMENTATION
#include "digits_profile.h"
static uint32_t now = UINT32_MAX - 20; /* the counter wraps */
uint32_t digits_profile_cycles(void) { return now += 5; }
int main(void)
{
    static digits_arena_t arena;
    digits_profile_begin();
    digits_run(&arena);
    for (int i = 0; i < DIGITS_STEPS; i++) {
        printf("%u %s\n", (unsigned)digits_profile[i], digits_profile_names[i]);
    }
    return 0;
}
"""

TAP = r"""
#include <stdio.h>
#include <string.h>
#include "digits.h"
#define DIGITS_TAP_IMPLEMENTATION
#include "digits_tap.h"
void digits_on_layer(int step, const char *name, const void *data, uint32_t bytes)
{
    printf("%d %s", step, name);
    for (uint32_t i = 0; i < bytes; i++) {
        printf(" %d", ((const int8_t *)data)[i]);
    }
    printf("\n");
}
int main(void)
{
    static digits_arena_t arena;
    memset(digits_input(&arena), 7, DIGITS_INPUT_0_BYTES);
    digits_run(&arena);
    return 0;
}
"""


def with_header(build: Path, folder: Path, header: str, main_c: str) -> str:
    """What a firmware says that is compiled with `header` included before the model's source."""
    (folder / "main.c").write_text(main_c)
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror", f"-I{build}"]
    run("gcc", *strict, "-include", build / header, "-c", build / "digits.c", "-o", "digits.o", cwd=folder)
    run("gcc", *strict, "main.c", "digits.o", "-o", "firmware", cwd=folder)
    return run(folder / "firmware", cwd=folder)


def test_the_profile_times_each_layer(build: Path, tmp_path: Path) -> None:
    layers = tinygen.read_report(build)["layers"]
    said = with_header(build, tmp_path, "digits_profile.h", PROFILE).splitlines()
    assert said == [f"5 {layer['op']} {layer['name']}" for layer in layers]


def test_the_tap_shows_each_layer(build: Path, tmp_path: Path) -> None:
    said = with_header(build, tmp_path, "digits_tap.h", TAP).splitlines()
    graph = tinygen.running.read_graph(build)
    tensors = reference.run_all(graph, [np.full(graph.types[graph.inputs[0]].shape, 7, np.int8)])
    for layer, line in zip(tinygen.read_report(build)["layers"], said, strict=True):
        (output,) = layer["outputs"]
        expected = " ".join(map(str, tensors[output["name"]].ravel()))
        assert line == f"{layer['step']} {output['name']} {expected}"


def test_strings_in_c(tmp_path: Path) -> None:
    """What the compiler makes of them is what went in, except for letters that C's own set lacks."""
    words = ['a"b', "c\\n", "trigraphs ??= ???/", "%d"]
    main_c = "".join(f"    puts({c_string(word)});\n" for word in words)
    (tmp_path / "main.c").write_text(f"#include <stdio.h>\nint main(void)\n{{\n{main_c}    return 0;\n}}\n")
    run("gcc", "-std=c99", "-Wall", "-Werror", "main.c", "-o", "main", cwd=tmp_path)
    assert run(tmp_path / "main", cwd=tmp_path).splitlines() == words
    assert c_string("né\n") == c_string("n" + "?" * 2)


def test_packages_leave_the_c_and_the_proof_alone(build: Path) -> None:
    plain = tinygen.build(DIGITS)
    assert all((build / name).read_bytes() == data for name, data in plain.files.items())
    tinygen.verify(build, on="host", vectors=1).raise_if_wrong()


def test_kinds_are_checked() -> None:
    assert check_kinds(["cmake", "arduino", "cmake"]) == ("arduino", "cmake")
    assert check_kinds(["all"]) == kinds() and {"plain", "zephyr", "pico"} <= set(kinds())
    with pytest.raises(UsageError, match="--package bazel: expected one of arduino, cmake"):
        check_kinds(["bazel"])
    done = CliRunner().invoke(main, ["build", str(DIGITS), "--package", "bazel"])
    assert done.exit_code == 2
