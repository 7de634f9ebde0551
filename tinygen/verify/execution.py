# SPDX-License-Identifier: Apache-2.0
"""What running the generated C gives, and how a program is run that may hang, crash or fault."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinygen.errors import ToolError, VerificationError
from tinygen.ir.types import Array


@dataclass(frozen=True)
class Execution:
    """What the C computed on one machine, `where`: ``host`` or a QEMU board.

    - `outputs`: for each input set, the arrays of the model's outputs.
    - `trace`: for each input set, for each step, the arrays of the step's outputs; None unless asked for.
    - `counts`: for each input set, the instructions from the call of ``<name>_run`` to its return, exact; None where
      they are not counted (on the host, when tracing, on machines without SysTick).
    - `stack`: bytes of stack used by ``<name>_run`` on the first input set; None like `counts`.
    - `warnings`: what the compiler printed.
    """

    where: str
    outputs: tuple[tuple[Array, ...], ...]
    trace: tuple[tuple[tuple[Array, ...], ...], ...] | None = None
    counts: tuple[int, ...] | None = None
    stack: int | None = None
    warnings: str = ""

    @property
    def instructions(self) -> int | None:
        """Instructions of the first input set."""
        return self.counts[0] if self.counts else None


@dataclass(frozen=True)
class Finished:
    """How a program ended: its exit code (negative: the number of the signal that killed it), and what it printed."""

    code: int
    stdout: str
    stderr: str


def execute(command: Sequence[str | Path], folder: Path, timeout: float, what: str, env: dict[str, str]) -> Finished:
    """Run `command` in `folder`, without input, and return how it ended, whatever the exit code.

    `VerificationError` if it takes over `timeout` seconds; `what` names the program in that message.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, cwd=folder, env=env, timeout=timeout, stdin=subprocess.DEVNULL, capture_output=True
        )
    except subprocess.TimeoutExpired:
        raise VerificationError(
            f"{what} did not finish within {timeout:g} seconds: it hangs, or needs fewer input sets or a longer timeout"
        ) from None
    except OSError as error:
        raise ToolError(f"{Path(words[0]).name} could not be started: {error.strerror}") from None
    return Finished(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
