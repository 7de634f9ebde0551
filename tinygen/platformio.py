# SPDX-License-Identifier: Apache-2.0
"""A PlatformIO project around a build: the C as a library, a firmware and tests that run on emulated machines.

The project holds a development platform of its own (``platform/``), whose boards are QEMU's machines: PlatformIO
downloads nothing for them. Compiler and emulator are those on the PATH.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygen import reference
from tinygen.emit.render import environment, named
from tinygen.errors import UsageError
from tinygen.ir.types import Array
from tinygen.packages import package_files
from tinygen.resources import below, read_text, templates
from tinygen.running import read_graph, spreads
from tinygen.target import Emulator, all_targets
from tinygen.verify.build_dir import BuildDir, Place, read_build
from tinygen.verify.harness import Exit
from tinygen.verify.qemu import SHIFT, stack_size
from tinygen.verify.vectors import load_vectors, make_vectors

#: The cores that are emulated, in the order in which the project lists them.
CORES = ("cortex-m0", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55")
#: Boards that PlatformIO has a platform for, with the platform. Environments for them are written, but not tested.
BOARDS = {
    "nucleo_f446re": "ststm32",
    "nucleo_l4r5zi": "ststm32",
    "nucleo_h743zi": "ststm32",
    "disco_f746ng": "ststm32",
    "nano33ble": "nordicnrf52",
    "nrf52840_dk": "nordicnrf52",
    "pico": "raspberrypi",
}
#: What the machines' start-up code and counter are made of: files of the harness.
RUNTIME = ("machine.h", "startup.c", "semihosting.c", "measure.c")
#: RAM that a firmware may need besides arena and stack, and flash besides the model: bytes.
ROOM = 16_384
#: Width of a line of vectors, in bytes.
ROW = 24


@dataclass(frozen=True)
class Machine:
    """An environment of the project, and the emulated machine behind it."""

    env: str
    emulator: Emulator


@dataclass(frozen=True)
class Port:
    """An input or output as the templates show it. `zero` is what stands for the real number 0."""

    index: int
    zero: str
    comment: str


@dataclass(frozen=True)
class Vectors:
    """The bytes of one input or output in each vector, as rows of C initialisers."""

    name: str
    bytes: int
    rows: tuple[str, ...]


def project(folder: str | Path, vectors: int = 4, seed: int = 0, inputs: str | Path | None = None) -> dict[str, bytes]:
    """The files of a PlatformIO project around the build in `folder`, by path (with ``/``).

    Its tests compare the outputs for `vectors` seeded random input sets, or the user's own in the .npz file `inputs`,
    with the reference's. Raises `UsageError` for a folder that is no build, and a build that fits no machine.
    """
    made = read_build(folder)
    graph = read_graph(folder)
    sets = load_vectors(inputs, made.inputs) if inputs else make_vectors(made.inputs, vectors, seed, spreads(graph))
    size = sum(place.type.bytes for place in (*made.inputs, *made.outputs)) * len(sets)
    machines = [Machine(f"qemu_{core.removeprefix('cortex-')}", _machine(made, core, size)) for core in CORES]
    answers = [reference.run(graph, values) for values in sets]
    arrays = [*_vectors("input", made.inputs, sets), *_vectors("output", made.outputs, answers)]
    context = {
        **named(made.name),
        "machines": machines,
        "first": "qemu_m4",
        "boards": [{"env": env, "platform": platform} for env, platform in BOARDS.items()],
        "inputs": [_port(i, place) for i, place in enumerate(made.inputs)],
        "outputs": [_port(i, place) for i, place in enumerate(made.outputs)],
        "count": len(sets),
        "arrays": arrays,
        "exits": list(Exit),
        "shift": SHIFT,
    }
    files = dict(_rendered(context))
    files |= dict(_platform(made, machines))
    library = {f"{made.name}.{suffix}": (made.path / f"{made.name}.{suffix}").read_bytes() for suffix in "ch"}
    library |= package_files("platformio", made.report)
    return files | {f"lib/{made.name}/{path}": data for path, data in library.items()}


def _rendered(context: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """The templates of the project, with the harness files that every machine needs."""
    for path in below(templates(), "platformio"):
        yield path.removesuffix(".j2"), environment().get_template(f"platformio/{path}").render(context).encode()
    yield "platform/runtime/platform.h", environment().get_template("harness/platform.h.j2").render(context).encode()
    for name in RUNTIME:
        yield f"platform/runtime/{name}", read_text(templates(), f"harness/{name}").encode()


def _platform(made: BuildDir, machines: Sequence[Machine]) -> Iterator[tuple[str, bytes]]:
    """For each machine: the board file that PlatformIO reads, and a linker script."""
    for machine in machines:
        emulator = machine.emulator
        yield f"platform/boards/{machine.env}.json", (json.dumps(_board(machine), indent=2) + "\n").encode()
        context = {"flash": emulator.flash, "ram": emulator.ram, "stack": stack_size(made)}
        script = environment().get_template("harness/link.ld.j2").render(context)
        yield f"platform/boards/{machine.env}.ld", script.encode()


def _board(machine: Machine) -> dict[str, Any]:
    emulator = machine.emulator
    core = next(t for t in all_targets() if t.name == emulator.core)
    ticks = round((emulator.tick_ns or 0) * 1000)
    cpu = ["-cpu", emulator.cpu] if emulator.cpu else []
    return {
        "name": f"QEMU {emulator.machine}, {emulator.core}",
        "vendor": "QEMU",
        "url": "https://www.qemu.org/docs/master/system/target-arm.html",
        "build": {
            "cpu": emulator.core,
            "mcu": emulator.machine,
            "cflags": " ".join(core.cflags),
            "defines": [f"TICK_PS={ticks}", f"TICK_SHIFT={SHIFT}"],
        },
        "upload": {"maximum_size": emulator.flash.size, "maximum_ram_size": emulator.ram.size},
        "qemu": ["-machine", emulator.machine, *cpu, *emulator.options],
    }


def _machine(made: BuildDir, core: str, vectors: int) -> Emulator:
    """The smallest machine with `core` that holds model and vectors (bytes)."""
    ram = made.arena + stack_size(made) + ROOM
    flash = made.report["flash"]["total"] + vectors + 2 * ROOM
    found = {t.emulator for t in all_targets() if t.emulator and t.emulator.core == core}
    fitting = [e for e in found if e.ram.size >= ram and e.flash.size >= flash]
    if not fitting:
        raise UsageError(
            f"'{made.name}' fits no emulated {core}: it needs {ram} bytes of RAM and {flash} of flash, with {vectors} "
            f"bytes of test vectors: pass a smaller --vectors, or compress the model"
        )
    return min(fitting, key=lambda e: (e.ram.size, e.flash.size, e.board))


def _port(index: int, place: Place) -> Port:
    quant = place.type.quant
    if quant is None:
        return Port(index, "0", f"{place.type.dtype.value}")
    return Port(index, str(quant.zero_point), f"real value = {quant.scale!r} * (integer - {quant.zero_point})")


def _vectors(what: str, places: Sequence[Place], sets: Sequence[Sequence[Array]]) -> Iterator[Vectors]:
    for index, place in enumerate(places):
        rows = tuple(_row(np.ascontiguousarray(values[index])) for values in sets)
        yield Vectors(f"{what}_{index}", place.type.bytes, rows)


def _row(values: Array) -> str:
    """The bytes of `values`, little-endian, as lines of a C initialiser."""
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    lines = (data[at : at + ROW] for at in range(0, len(data), ROW))
    return "\n".join("        " + " ".join(f"{byte}," for byte in line) for line in lines)
