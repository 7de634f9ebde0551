# SPDX-License-Identifier: Apache-2.0
"""The whole way on one screen: a trained network becomes C, runs on an emulated Cortex-M4 and recognises real digits.

    make demo

Steps: `tinygen build`, compile the firmware in firmware/, run it under QEMU, then score the program on all test images.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from data import Digits, load_digits
from rich.console import Console

import tinygen
from tinygen import toolchain

HERE = Path(__file__).parent
SHOWN = 12
FLAGS = ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-O2", "-std=c99", "-Wall", "-Wextra"]
QEMU = ["-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none", "-chardev", "stdio,id=sh"]
SEMIHOSTING = ["-semihosting-config", "enable=on,target=native,chardev=sh"]

console = Console(highlight=False)


def samples_header(test: Digits) -> str:
    """The first images of the test set as C arrays."""
    pixels = (test.images[:SHOWN, :, :, 0] * 16).astype(np.uint8).reshape(SHOWN, 64)
    rows = ",\n".join("    {" + ", ".join(map(str, row)) + "}" for row in pixels.tolist())
    labels = ", ".join(map(str, test.labels[:SHOWN].tolist()))
    return (
        f"#include <stdint.h>\n#define SAMPLES {SHOWN}\nstatic const uint8_t pixels[SAMPLES][64] = {{\n{rows}}};\n"
        f"static const int labels[SAMPLES] = {{{labels}}};\n"
    )


def firmware(build: Path, work: Path, test: Digits) -> Path:
    """Link the firmware with the generated C; the ELF's path."""
    (work / "samples.h").write_text(samples_header(test))
    sources = [HERE / "firmware" / "main.c", HERE / "firmware" / "board.c", build / "digits.c"]
    elf = work / "firmware.elf"
    link = ["--specs=rdimon.specs", "-Wl,--gc-sections", "-T", str(HERE / "firmware" / "board.ld")]
    command = [toolchain.find_cross(), *FLAGS, f"-I{build}", f"-I{work}", *map(str, sources), *link, "-o", str(elf)]
    subprocess.run(command, check=True)
    return elf


def emulate(elf: Path) -> str:
    """What the firmware prints on an emulated Cortex-M4."""
    command = [toolchain.find_qemu(), *QEMU, *SEMIHOSTING, "-kernel", str(elf)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def accuracy(build: Path, test: Digits) -> float:
    """Share of all test images that the program, run under QEMU, gets right."""
    port = tinygen.read_report(build)["inputs"][0]
    quantized = np.clip(np.rint(test.images / port["scale"]) + port["zero_point"], -128, 127).astype(np.int8)
    outputs = tinygen.run_on(build, [[image[None]] for image in quantized], on="qemu")
    return float(np.mean([np.argmax(scores) == label for (scores,), label in zip(outputs, test.labels, strict=True)]))


def main() -> None:
    _, test = load_digits()
    work = Path(tempfile.mkdtemp(prefix="tinygen-demo-"))
    try:
        build = work / "digits"
        console.rule("tinygen build examples/digits/digits.tflite --target cortex-m4")
        command = [sys.executable, "-m", "tinygen", "build", str(HERE / "digits.tflite"), "--out", str(build)]
        subprocess.run([*command, "--target", "cortex-m4"], check=True)
        console.rule("the firmware (examples/digits/firmware/main.c) on an emulated Cortex-M4")
        print(emulate(firmware(build, work, test)), end="")
        console.rule("every output byte against the reference, and all test images")
        verified, report = tinygen.verify(build), tinygen.read_report(build)
        ram, flash = report["ram"], report["flash"]
        console.print("\n".join(verified.lines()))
        verified.raise_if_wrong()
        console.print(
            f"\naccuracy on {len(test.labels)} images, run under QEMU: {accuracy(build, test):.1%}\n"
            f"instructions per image: {verified.checked[-1].instructions:,}\n"
            f"RAM: {ram['total']:,} bytes ({ram['arena']:,} arena, {ram['stack']} stack)\n"
            f"flash: {flash['total']:,} bytes"
        )
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
