# SPDX-License-Identifier: Apache-2.0
"""Constants in a block of their own: replaced without linking again, refused where they belong to another model."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tinygen
from tinygen import platformio, reference
from tinygen.emit.blob import HEADER, MAGIC
from tinygen.files import write_files
from tinygen.ir.graph import Graph
from tinygen.toolchain import CFLAGS

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "examples" / "digits" / "digits.tflite"
#: Where the emulated board has flash that the program does not use.
ADDRESS = 0x200000

needs_machine = pytest.mark.skipif(
    shutil.which("qemu-system-arm") is None or shutil.which("arm-none-eabi-gcc") is None,
    reason="qemu-system-arm or arm-none-eabi-gcc is missing",
)

MAIN = r"""
#include <stdio.h>
#include <string.h>
#include "digits.h"
static digits_arena_t arena;
int main(void)
{
    if (!digits_check_weights()) {
        printf("refused\n");
        return 0;
    }
    memset(digits_input(&arena), 5, DIGITS_INPUT_0_BYTES);
    digits_run(&arena);
    for (int i = 0; i < DIGITS_OUTPUT_SIZE; i++) {
        printf("%d ", digits_output(&arena)[i]);
    }
    printf("\n");
    return 0;
}
"""


#: Of a firmware whose constants are not in its file: what the compiler and what the linker are told.
EXTERNAL, AT = ("-DDIGITS_EXTERNAL_WEIGHTS",), f"-Wl,--defsym=digits_weights={ADDRESS:#x}"


def retrained(graph: Graph) -> Graph:
    """`graph` with other weights: those of the last dense layer the other way round."""
    (node,) = (node for node in graph.nodes if node.op == "FULLY_CONNECTED")
    name = node.inputs[1]
    return replace(graph, constants={**graph.constants, name: np.ascontiguousarray(graph.constants[name][::-1])})


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tinygen.build(DIGITS, weights="blob", name="digits").write(tmp_path_factory.mktemp("blob") / "digits")


def test_the_c_is_proved_as_any_other(build: Path) -> None:
    tinygen.verify(build, vectors=2).raise_if_wrong()
    assert "--weights blob" in tinygen.read_report(build)["command"]


def test_what_a_blob_is(build: Path) -> None:
    data = (build / "digits.weights.bin").read_bytes()
    magic, _, size, crc = struct.unpack("<4I", data[:HEADER])
    assert magic == MAGIC and data[:4] == b"TGW1"
    assert size == len(data) - HEADER and crc == zlib.crc32(data[HEADER:])


def answers(graph: Graph) -> str:
    (output,) = reference.run(graph, [np.full(graph.types[graph.inputs[0]].shape, 5, np.int8)])
    return " ".join(map(str, output.ravel()))


@needs_machine
@pytest.mark.qemu
def test_a_firmware_takes_another_blob(build: Path, tmp_path: Path) -> None:
    graph = tinygen.load(DIGITS)
    other = tinygen.build(retrained(graph), weights="blob", name="digits").write(tmp_path / "other")
    blob, changed = ((folder / "digits.weights.bin").read_bytes() for folder in (build, other))
    assert changed != blob and changed[:8] == blob[:8], "the same program reads both"
    damaged = bytearray(blob)
    damaged[100] ^= 1
    foreign = blob[:4] + struct.pack("<I", 1) + blob[8:]

    firmware = linked(build, tmp_path)
    assert said(firmware, tmp_path, blob).split() == answers(graph).split()
    assert said(firmware, tmp_path, changed).split() == answers(retrained(graph)).split() != answers(graph).split()
    for wrong in (bytes(damaged), foreign, b"\xff" * len(blob)):
        assert said(firmware, tmp_path, wrong) == "refused\n"


def linked(build: Path, folder: Path, main: str = MAIN, defines: Sequence[str] = EXTERNAL, where: str = AT) -> Path:
    """A firmware for the emulated Cortex-M4; `where` tells the linker where things lie."""
    project = write_files(folder / "project", platformio.project(build))
    (folder / "main.c").write_text(main)
    cpu = ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"]
    sources = [folder / "main.c", build / "digits.c", *sorted((project / "platform" / "runtime").glob("*.c"))]
    flags = ["-O2", *defines, f"-I{build}", f"-I{project}/platform/runtime"]
    link = ["-T", project / "platform" / "boards" / "qemu_m4.ld", "--specs=nano.specs", "-nostartfiles"]
    out = folder / "firmware.elf"
    subprocess.run(["arm-none-eabi-gcc", *cpu, *flags, *sources, where, *link, "-o", out], check=True)
    return out


def said(firmware: Path, folder: Path, blob: bytes | None) -> str:
    """What `firmware` prints, with `blob` in flash beside it."""
    options = ["-machine", "mps2-an386"]
    if blob is not None:
        (folder / "blob.bin").write_bytes(blob)
        options += ["-device", f"loader,file={folder / 'blob.bin'},addr={ADDRESS:#x},force-raw=on"]
    board = folder / "board.json"
    board.write_text(json.dumps({"qemu": options}))
    tool = folder / "project" / "platform" / "tools" / "qemu.py"
    done = subprocess.run([sys.executable, tool, board, firmware], capture_output=True, text=True, check=True)
    return done.stdout


@needs_machine
@pytest.mark.qemu
def test_arena_and_constants_lie_where_a_firmware_says(tmp_path: Path) -> None:
    """Each in a section of its own, for which the linker is told an address; docs/integration.md says so."""
    build = tinygen.build(DIGITS).write(tmp_path / "digits")
    check = MAIN[MAIN.index("    if (!") : MAIN.index("    memset")]
    main = MAIN.replace(check, "").replace("arena;\nint main", "arena DIGITS_ARENA;\nint main")
    sections = {"ARENA": (".fast", 0x20200000), "CONST": (".external", ADDRESS)}
    defines = [f'-DDIGITS_{what}=__attribute__((section("{name}")))' for what, (name, _) in sections.items()]
    where = "-Wl," + ",".join(f"--section-start={name}={address:#x}" for name, address in sections.values())
    firmware = linked(build, tmp_path, main, defines, where)
    headers = subprocess.run(["arm-none-eabi-objdump", "-h", firmware], capture_output=True, text=True, check=True)
    found = {words[1]: words[2:4] for words in map(str.split, headers.stdout.splitlines()) if len(words) == 7}
    assert int(found[".fast"][0], 16) == tinygen.read_report(build)["ram"]["arena"]
    assert {name: int(found[name][1], 16) for name, _ in sections.values()} == dict(sections.values())
    assert said(firmware, tmp_path, None).split() == answers(tinygen.load(DIGITS)).split()


def test_constants_can_lie_in_a_section(tmp_path: Path) -> None:
    """With ``<NAME>_CONST`` they leave .rodata; docs/integration.md says so."""
    objdump = shutil.which("objdump")
    if objdump is None:
        pytest.skip("objdump is missing")
    for weights in ("code", "blob"):
        folder = tinygen.build(DIGITS, weights=weights).write(tmp_path / weights)  # type: ignore[arg-type]  # one of two
        section = '-DDIGITS_CONST=__attribute__((section(".external")))'
        command = ["gcc", *CFLAGS, "-Werror", section, "-c", folder / "digits.c", "-o", tmp_path / "digits.o"]
        subprocess.run(command, check=True)
        table = subprocess.run(
            [objdump, "-h", tmp_path / "digits.o"], capture_output=True, text=True, check=True
        ).stdout
        sizes = {words[1]: int(words[2], 16) for words in map(str.split, table.splitlines()) if len(words) == 7}
        constants = sum(c.values.nbytes for c in tinygen.build(DIGITS).program.constants)
        assert sizes[".external"] >= constants
