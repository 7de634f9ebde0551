# SPDX-License-Identifier: Apache-2.0
"""Which instructions a program executes, block by block, from QEMU's log.

QEMU translates code in blocks, and logs each block (``in_asm``) and each time one is entered (``exec``). What lies
between a block's ends has been executed once for each entry, so that the entries, with the program's disassembly, are a
histogram of instructions. It costs some microseconds for each block that is entered.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer

from tinygen import toolchain
from tinygen.errors import VerificationError
from tinygen.verify.execution import Finished

QUIET = subprocess.DEVNULL
#: Arguments of QEMU that make it write the log, to stderr.
LOGGING = ("-d", "exec,nochain,in_asm")
#: The function of templates/harness/run_profiled.c.j2 that is called after each layer, and the one that it calls last.
BETWEEN, LAST = "trace_step", "start_counting"

_ENTERED = re.compile(rb"Trace \d+: (\S+) \[[0-9a-f]+/([0-9a-f]+)/")
_LINE = re.compile(rb"0x([0-9a-f]{8}):  ([0-9a-f]{4})( [0-9a-f]{4})?")


@dataclass(frozen=True)
class Block:
    """Instructions from address `start` to before `end`. Where a timer expires, QEMU makes a shorter block for once."""

    start: int
    end: int


@dataclass
class Blocks:
    """What was logged: for each layer, how often a block was followed by what is at which address."""

    layers: list[Counter[tuple[Block, int]]] = field(default_factory=list)


def run_logged(command: Sequence[str], folder: Path, timeout: float, elf: Path, what: str) -> tuple[Finished, Blocks]:
    """Run QEMU by `command` with its log, which goes to stderr. `VerificationError` after `timeout` seconds."""
    words, spans = [*command, *LOGGING], _functions(elf)
    with subprocess.Popen(words, cwd=folder, stdin=QUIET, stdout=QUIET, stderr=subprocess.PIPE) as process:
        timer = Timer(timeout, process.kill)
        timer.start()
        assert process.stderr is not None, "it is a pipe"
        blocks = read_log(process.stderr, spans)
        code, late = process.wait(), not timer.is_alive()
        timer.cancel()
    if late:
        raise VerificationError(f"{what} did not finish within {timeout:g} seconds while its blocks were counted")
    return Finished(code, "", ""), blocks


def read_log(lines: Iterable[bytes], spans: Mapping[str, range]) -> Blocks:
    """The blocks of a log; `spans` are the addresses of `BETWEEN` and `LAST`."""
    blocks, between, last = Blocks(), spans[BETWEEN], spans[LAST]
    inside, ending, before = False, False, Block(0, 0)
    for block in _entered(lines):
        at = block.start
        if at == between.start:
            if inside:
                blocks.layers[-1][before, at] += 1
            inside, ending = False, False
        elif at == last.start and not inside:
            ending = True
        elif ending and at not in last and at not in between:
            blocks.layers.append(Counter())
            inside, ending, before = True, False, block
        elif inside:
            blocks.layers[-1][before, at] += 1
            before = block
    # What comes before the first layer and after the last one is none.
    blocks.layers = blocks.layers[1:-1] if inside else blocks.layers[1:]
    return blocks


def _entered(lines: Iterable[bytes]) -> Iterator[Block]:
    """Each block that is entered. One that was just translated is entered next; others by where their code lies."""
    known: dict[bytes, Block] = {}
    start, end = None, 0
    for line in lines:
        found = _ENTERED.match(line)
        if found:
            code, at = found[1], int(found[2], 16)
            if start == at:
                known[code] = Block(start, end)
            start = None
            yield known[code]
        elif line.startswith(b"IN:"):
            start, end = None, 0
        elif found := _LINE.match(line):
            at = int(found[1], 16)
            start, end = (at if end == 0 else start), at + (4 if found[3] else 2)


def _functions(elf: Path) -> dict[str, range]:
    """The addresses of the functions that mark the layers."""
    table = toolchain.run([toolchain.find_beside("nm"), "-S", elf]).stdout
    found = re.findall(rf"^(\w+) (\w+) [tT] ({BETWEEN}|{LAST})$", table, re.MULTILINE)
    return {name: range(int(start, 16), int(start, 16) + int(size, 16)) for start, size, name in found}
