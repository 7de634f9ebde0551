# SPDX-License-Identifier: Apache-2.0
"""Instructions of a disassembled program, sorted by what they cost."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from tinygen import toolchain
from tinygen.verify.blocks import Block, Blocks

#: What instructions are sorted into; those in `_BESIDES` count what is done besides, and no instructions.
CLASSES = {
    "alu": "arithmetic, logic, moves, comparisons",
    "multiply": "products of 32 bits, and two products of 16",
    "long_multiply": "products of 64 bits",
    "divide": "divisions",
    "load": "loads of a register",
    "next_load": "loads right after a load or store",
    "store": "stores of a register",
    "multiple": "loads and stores of several registers",
    "words": "registers of those",
    "returns": "loads of the program counter among those",
    "taken": "branches that are taken, calls",
    "untaken": "branches that are not taken",
    "loop": "ends of low-overhead loops",
    "vector": "vector operations",
    "float": "floating-point operations",
}

_BESIDES = ("words", "returns")

_CONDITIONS = "eq|ne|cs|cc|hs|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le"
_BRANCH = re.compile(rf"(b|bl|bx|blx)({_CONDITIONS})?|cbn?z|tb[bh]")
_LOOP = re.compile(r"letp?|wlstp.*|wls|dlstp.*|dls")
_LONG = re.compile(r"[us]mull|[us]mlal\w*|smlsldx?|umaal")
_MULTIPLY = re.compile(r"muls?|mla|mls|s(mla|mul|mml|mls|mmul|mua|mus).*")


@dataclass(frozen=True)
class Instruction:
    """One at address `at`: its `kind`, one of `CLASSES`, and the registers that it moves if it is a `multiple`.

    `name` is what objdump calls it.
    """

    at: int
    kind: str
    words: int = 0
    name: str = ""


def disassemble(elf: Path, vectors: bool) -> dict[int, Instruction]:
    """The program's instructions by address. objdump has to be told that there are `vectors`."""
    machine = ["-marmv8.1-m.main"] if vectors else []
    text = toolchain.run([toolchain.find_beside("objdump"), "-d", "--no-show-raw-insn", *machine, str(elf)]).stdout
    lines = re.findall(r"^\s*([0-9a-f]+):\t(\S+)(?:\t([^;@\n]*))?", text, re.MULTILINE)
    return {int(at, 16): replace(sorted_into(int(at, 16), name, rest.strip()), name=name) for at, name, rest in lines}


def sorted_into(at: int, name: str, operands: str) -> Instruction:
    """The instruction that objdump writes as `name` and `operands`."""
    name = name.removesuffix(".n").removesuffix(".w")
    if name.startswith(("ldm", "stm", "push", "pop", "vpush", "vpop", "vldm", "vstm", "ldrd", "strd")):
        return Instruction(at, "multiple", _registers(operands) if "{" in operands else 2)
    if name.startswith("v"):
        return Instruction(at, "vector" if re.search(r"\bq\d", operands) or name.startswith("vp") else "float")
    for kind, pattern in (("loop", _LOOP), ("taken", _BRANCH), ("long_multiply", _LONG), ("multiply", _MULTIPLY)):
        if pattern.fullmatch(name):
            return Instruction(at, kind)
    if name.startswith(("sdiv", "udiv")):
        return Instruction(at, "divide")
    if name.startswith("ldr"):
        return Instruction(at, "taken" if operands.startswith("pc") else "load")
    if name.startswith("str"):
        return Instruction(at, "store")
    return Instruction(at, "taken" if operands.startswith("pc,") else "alu")


def _registers(operands: str) -> int:
    """How many registers a list such as ``{r0, r4-r7}`` names."""
    listed = operands[operands.index("{") + 1 : operands.index("}")]
    spans = (re.findall(r"\d+", part.replace("lr", "14").replace("pc", "15")) for part in listed.split(","))
    return sum(int(span[-1]) - int(span[0]) + 1 if len(span) > 1 else 1 for span in spans)


def histograms(blocks: Blocks, program: Mapping[int, Instruction]) -> list[Counter[str]]:
    """How often each class was executed in each layer."""
    known: dict[tuple[Block, bool], Counter[str]] = {}
    layers = []
    for layer in blocks.layers:
        total = Counter[str]()
        for (block, following), times in layer.items():
            key = block, following != block.end
            if key not in known:
                known[key] = _of_block(inside(block, program), left=key[1])
            for kind, each in known[key].items():
                total[kind] += each * times
        layers.append(total)
    return layers


def inside(block: Block, program: Mapping[int, Instruction]) -> list[Instruction]:
    """The instructions of a block."""
    return [program[at] for at in range(block.start, block.end, 2) if at in program]


def _of_block(instructions: Sequence[Instruction], left: bool) -> Counter[str]:
    """The classes of a block's instructions, where it is `left` for another place than its end, or not."""
    counts = Counter(instruction.kind for instruction in instructions)
    counts["words"] = sum(instruction.words for instruction in instructions)
    for first, second in pairwise(instructions):
        if second.kind == "load" and first.kind in ("load", "store"):
            counts["load"] -= 1
            counts["next_load"] += 1
    last = instructions[-1].kind if instructions else ""
    if last == "taken" and not left:
        counts["taken"] -= 1
        counts["untaken"] += 1
    counts["returns"] = int(last == "multiple" and left)
    return +counts


def executed(histogram: Mapping[str, int]) -> int:
    """The number of instructions."""
    return sum(count for kind, count in histogram.items() if kind not in _BESIDES)
