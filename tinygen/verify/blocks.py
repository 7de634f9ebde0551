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

_ENTERED = re.compile(rb"Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/")
_LINE = re.compile(rb"0x([0-9a-f]{8}):  ([0-9a-f]{4})( [0-9a-f]{4})?")


@dataclass
class Blocks:
    """What was logged: `ends` has the address after each block, by that of its first instruction.

    `layers`: for each layer, how often a block was followed by which other one.
    """

    ends: dict[int, int] = field(default_factory=dict)
    layers: list[Counter[tuple[int, int]]] = field(default_factory=list)


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
    blocks = Blocks()
    entered = _entered(lines, blocks.ends)
    between, last = spans[BETWEEN], spans[LAST]
    inside, ending, before = False, False, 0
    for at in entered:
        if at == between.start:
            if inside:
                blocks.layers[-1][before, at] += 1
            inside, ending = False, False
        elif at == last.start and not inside:
            ending = True
        elif ending and at not in last and at not in between:
            blocks.layers.append(Counter())
            inside, ending, before = True, False, at
        elif inside:
            blocks.layers[-1][before, at] += 1
            before = at
    # What comes before the first layer and after the last one is none.
    blocks.layers = blocks.layers[1:-1] if inside else blocks.layers[1:]
    return blocks


def _entered(lines: Iterable[bytes], ends: dict[int, int]) -> Iterator[int]:
    """The address of each block that is entered; collects the `ends` of those that are translated."""
    start = None
    for line in lines:
        found = _ENTERED.match(line)
        if found:
            start = None
            yield int(found[1], 16)
        elif line.startswith(b"IN:"):
            start = -1
        elif start is not None and (found := _LINE.match(line)):
            at = int(found[1], 16)
            start = at if start == -1 else start
            ends[start] = at + (4 if found[3] else 2)


def _functions(elf: Path) -> dict[str, range]:
    """The addresses of the functions that mark the layers."""
    table = toolchain.run([toolchain.find_beside("nm"), "-S", elf]).stdout
    found = re.findall(rf"^(\w+) (\w+) [tT] ({BETWEEN}|{LAST})$", table, re.MULTILINE)
    return {name: range(int(start, 16), int(start, 16) + int(size, 16)) for start, size, name in found}
