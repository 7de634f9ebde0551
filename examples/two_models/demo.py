# SPDX-License-Identifier: Apache-2.0
"""Two networks in one firmware, which share an arena and kernels, on an emulated Cortex-M4.

    python examples/two_models/demo.py

The quick network is that of examples/digits with weights of four values; where it is not sure, the firmware asks the
exact one. Needs scikit-learn for the images, like examples/digits, whose network and board it uses.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

import tinygen
from tinygen import toolchain
from tinygen.sharing import build_shared

HERE = Path(__file__).parent
DIGITS = HERE.parent / "digits"


def row_push() -> ModuleType:
    """The example that has a camera and an emulator."""
    spec = importlib.util.spec_from_file_location("row_push_demo", HERE.parent / "row_push" / "demo.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def models(work: Path) -> list[Path]:
    """The two networks as files: quick.tflite and exact.tflite."""
    shutil.copy(DIGITS / "digits.tflite", work / "exact.tflite")
    tinygen.save(tinygen.compress_model(DIGITS / "digits.tflite", {"share": 4}, "random").graph, work / "quick.tflite")
    return [work / "quick.tflite", work / "exact.tflite"]


def firmware(work: Path, frames: npt.NDArray[np.uint8]) -> Path:
    """Build both networks into one C file and link the firmware in `work`; the ELF's path."""
    build, demo = build_shared(models(work), target="cortex-m4").write(work / "build"), row_push()
    (work / "camera.h").write_text(demo.camera(frames, [0] * len(frames)).replace("labels[", "unused_labels["))
    board = DIGITS / "firmware"
    sources = [HERE / "main.c", board / "board.c", build / "quick_exact.c"]
    elf = work / "firmware.elf"
    link = ["--specs=rdimon.specs", "-Wl,--gc-sections", "-T", str(board / "board.ld")]
    command = [
        toolchain.find_cross(),
        *demo.FLAGS,
        f"-I{build}",
        f"-I{work}",
        *map(str, sources),
        *link,
        "-o",
        str(elf),
    ]
    subprocess.run(command, check=True)
    return elf


def main() -> None:
    sys.path.append(str(DIGITS))
    from data import load_digits

    _, test = load_digits()
    frames = (test.images[:12, :, :, 0] * 16).astype(np.uint8)
    with tempfile.TemporaryDirectory(prefix="tinygen-two-") as work:
        print(row_push().emulate(firmware(Path(work), frames)), end="")


if __name__ == "__main__":
    main()
