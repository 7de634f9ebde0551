# SPDX-License-Identifier: Apache-2.0
"""A network that takes its image row by row, as a camera gives it, on an emulated Cortex-M4.

    python examples/row_push/demo.py

Needs scikit-learn for the images, like examples/digits, whose network and board it uses.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

import tinygen
from tinygen import toolchain

HERE = Path(__file__).parent
DIGITS = HERE.parent / "digits"
FLAGS = ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-O2", "-std=c99", "-Wall", "-Wextra"]
QEMU = ["-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none", "-chardev", "stdio,id=sh"]
SEMIHOSTING = ["-semihosting-config", "enable=on,target=native,chardev=sh"]


def camera(frames: npt.NDArray[np.uint8], labels: list[int]) -> str:
    """What the camera sees, as C: `frames` are [count, 8, 8], 0 to 16."""
    images = ",\n".join("    {" + ", ".join("{" + ", ".join(map(str, row)) + "}" for row in f) + "}" for f in frames)
    return (
        f"#include <stdint.h>\n#define FRAMES {len(frames)}\n"
        f"static const uint8_t frames[FRAMES][8][8] = {{\n{images}}};\n"
        f"static const int labels[FRAMES] = {{{', '.join(map(str, labels))}}};\n"
    )


def firmware(work: Path, frames: npt.NDArray[np.uint8], labels: list[int]) -> Path:
    """Build the network and link the firmware in `work`; the ELF's path."""
    build = tinygen.build(DIGITS / "digits.tflite", "cortex-m4", optimize="ram", push_rows=True).write(work / "digits")
    (work / "camera.h").write_text(camera(frames, labels))
    board = DIGITS / "firmware"
    sources = [HERE / "main.c", board / "board.c", build / "digits.c"]
    elf = work / "firmware.elf"
    link = ["--specs=rdimon.specs", "-Wl,--gc-sections", "-T", str(board / "board.ld")]
    command = [toolchain.find_cross(), *FLAGS, f"-I{build}", f"-I{work}", *map(str, sources), *link, "-o", str(elf)]
    subprocess.run(command, check=True)
    return elf


def emulate(elf: Path) -> str:
    """What the firmware prints on an emulated Cortex-M4."""
    command = [toolchain.find_qemu(), *QEMU, *SEMIHOSTING, "-kernel", str(elf)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def main() -> None:
    sys.path.append(str(DIGITS))
    from data import load_digits

    _, test = load_digits()
    frames = (test.images[:12, :, :, 0] * 16).astype(np.uint8)
    with tempfile.TemporaryDirectory(prefix="tinygen-rows-") as work:
        print(emulate(firmware(Path(work), frames, test.labels[:12].tolist())), end="")


if __name__ == "__main__":
    main()
