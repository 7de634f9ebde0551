# SPDX-License-Identifier: Apache-2.0
"""`make fuzz`: broken models must end in one clear sentence and the exit code of a bad model, nothing else.

Each case breaks a good model (see `tests/mutations.py`) and compiles what comes out, in a process whose memory and time
are limited. Some cases also go through the command line, and some of those that still compile through gcc. A case is
made from its number and the seed alone: `python -m tests.fuzz --only N` repeats it, and `--keep FILE` saves its model.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from multiprocessing.connection import Connection, wait
from pathlib import Path

from tests import odd_models
from tests.mutations import mutate
from tinygen.api import load
from tinygen.emit.render import emit
from tinygen.errors import TinygenError
from tinygen.ir import store
from tinygen.layout import laid_out
from tinygen.ops.limits import is_float
from tinygen.passes import LOSSLESS, run_passes
from tinygen.passes.base import random_inputs
from tinygen.quantize import quantize
from tinygen.target import load_target

ROOT = Path(__file__).parents[1]
ZOO = Path(os.environ.get("TINYGEN_ZOO", ROOT / "../shared/zoo"))

#: Per case: seconds, and bytes of address space.
SECONDS, MEMORY = 10, 3 << 30
#: Every so many cases: the command line; among those that compile: gcc.
COMMAND_EVERY, GCC_EVERY = 50, 25
#: Exit codes of the command line that a broken model may lead to: built, float, malformed, unsupported, over budget.
ALLOWED = (0, 2, 3, 4, 5)
FLAGS = ("-std=c99", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
#: A sentence longer than this is not one.
SENTENCE = 700


@cache
def seeds() -> tuple[bytes, ...]:
    """The good models: the example, networks of the differential corpus, hand-made ones, and small ones of the zoo."""
    with zipfile.ZipFile(ROOT / "tests/differential/corpus.zip") as archive:
        corpus = [archive.read(name) for name in sorted(archive.namelist())[::4]]
    zoo = [path.read_bytes() for path in sorted(ZOO.glob("models/**/*.tflite")) if path.stat().st_size < 60_000]
    made = list(odd_models.all_models().values())
    return ((ROOT / "examples/digits/digits.tflite").read_bytes(), *corpus, *zoo, *made * 3)


def model(seed: int, number: int) -> bytes:
    """The broken model of one case."""
    rng = random.Random(f"{seed}/{number}")
    return mutate(rng, rng.choice(seeds()), seeds())


# --- One case ----------------------------------------------------------------------------------------------------


def compile_model(path: Path) -> dict[str, str]:
    """What `tinygen build` does with a model up to the C, without any compiler."""
    graph = load(path)
    if is_float(graph):
        graph = quantize(graph, [random_inputs(graph, seed) for seed in range(2)]).graph
    graph, _ = run_passes(graph, LOSSLESS)
    graph, program, layout = laid_out(graph, load_target("cortex-m4"), "balanced")
    files = emit(program, layout, ["fuzz"])
    store.dumps(graph)
    return files


def try_case(data: bytes, number: int) -> tuple[str, str]:
    """(verdict, detail): verdict ``ok``, the name of an error class, or ``FAILED``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(data)
        try:
            files = compile_model(path)
        except TinygenError as error:
            complaint = bad_sentence(str(error)) if error.exit_code in ALLOWED else f"exit code {error.exit_code}"
            return ("FAILED", f"{complaint}: {error!r}") if complaint else (type(error).__name__, str(error))
        except BaseException:  # whatever it is, it would have been a traceback
            return "FAILED", traceback.format_exc(limit=-6)
        if number % GCC_EVERY == 0:
            return gcc(files)
        return "ok", ""


def bad_sentence(text: str) -> str:
    """What is wrong with an error's text; empty if it is one clean line that names the file or the node."""
    if not text.isprintable():
        return "the message has control characters or several lines"
    if len(text) > SENTENCE:
        return "the message is too long"
    if not any(word in text for word in ("model.tflite", "node '", "tensor '")):
        return "the message names neither file nor node"
    return ""


def gcc(files: dict[str, str]) -> tuple[str, str]:
    """Whether the C of a broken model that still compiles is C."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text)
        done = subprocess.run(["gcc", *FLAGS, "model.c"], cwd=folder, capture_output=True, text=True, timeout=60)
    return ("FAILED", done.stderr[:2000]) if done.returncode else ("ok", "compiled by gcc")


def try_command(data: bytes) -> tuple[str, str]:
    """The same through the command line: exit code, one sentence, and nothing written unless all is."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.tflite").write_bytes(data)
        command = [sys.executable, "-m", "tinygen.cli", "build", "model.tflite", "--out", "out"]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
        started = time.monotonic()
        try:
            done = subprocess.run(
                command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, preexec_fn=limit_memory
            )
        except subprocess.TimeoutExpired:
            return "FAILED", "the command hangs"
        return command_verdict(done, sorted(p.name for p in Path(folder).iterdir()), time.monotonic() - started)


def command_verdict(done: subprocess.CompletedProcess[str], left: list[str], seconds: float) -> tuple[str, str]:
    text = done.stderr.strip()
    if done.returncode not in ALLOWED or "Traceback" in text:
        return "FAILED", f"exit code {done.returncode}: {text[-2000:]}"
    if seconds > SECONDS + 10:  # the start, and three compilers, on a busy machine
        return "FAILED", f"the command took {seconds:.0f} s"
    if done.returncode == 0:
        return ("command", "built") if left == ["model.tflite", "out"] else ("FAILED", f"left behind: {left}")
    if left != ["model.tflite"]:
        return "FAILED", f"exit code {done.returncode}, but wrote {left}"
    if not text.startswith("error: ") or bad_sentence(text):
        return "FAILED", f"{bad_sentence(text)}: {text!r}"
    return "command", f"exit code {done.returncode}"


# --- Many cases --------------------------------------------------------------------------------------------------


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def worker(seed: int, numbers: Sequence[int], pipe: Connection) -> None:
    """Runs cases one after another and tells of each; dies with the first that takes too long (see `run`)."""
    limit_memory()
    warnings.simplefilter("error")  # numpy's would be further lines on the terminal
    for number in numbers:
        data = model(seed, number)
        pipe.send((number, "started", ""))
        pipe.send((number, *try_case(data, number)))
        if number % COMMAND_EVERY == 0:
            pipe.send((number, *try_command(data)))
    pipe.send((-1, "done", ""))


class Worker:
    """A process that works through its cases, replaced by another when one of them kills it or takes too long."""

    def __init__(self, seed: int, numbers: Sequence[int]) -> None:
        self.seed, self.left = seed, list(numbers)
        self.done = False
        self.start()

    def start(self) -> None:
        self.pipe, end = multiprocessing.Pipe(duplex=False)
        self.process = multiprocessing.get_context("fork").Process(target=worker, args=(self.seed, self.left, end))
        self.process.start()
        end.close()
        self.current, self.deadline = -1, time.monotonic() + 120

    def messages(self) -> Iterator[tuple[int, str, str]]:
        """What there is to tell now."""
        while not self.done and self.pipe.poll():
            try:
                number, verdict, detail = self.pipe.recv()
            except EOFError:
                yield self.lost("the process died")
                return
            if verdict == "done":
                self.done = True
            elif verdict == "started":
                self.current, self.deadline = number, time.monotonic() + SECONDS
                self.left.remove(number)
            else:
                self.deadline = time.monotonic() + 120
                yield number, verdict, detail
        if not self.done and time.monotonic() > self.deadline:
            self.process.kill()
            yield self.lost(f"took longer than {SECONDS} s")

    def lost(self, why: str) -> tuple[int, str, str]:
        """Gives the current case up, and goes on with a new process."""
        self.process.join()
        number, self.done = self.current, not self.left
        if self.left:
            self.start()
        return number, "FAILED", why


def run(seed: int, numbers: Sequence[int], jobs: int) -> Iterator[tuple[int, str, str]]:
    """(number, verdict, detail) of each case, as they come."""
    workers = [Worker(seed, numbers[i::jobs]) for i in range(jobs)]
    while not all(w.done for w in workers):
        wait([w.pipe for w in workers if not w.done], timeout=0.2)
        for w in workers:
            yield from w.messages()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2500, help="how many cases (default: 2500)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--only", type=int, help="the number of one case to repeat, here and by the command line")
    parser.add_argument("--keep", type=Path, help="where to write the model of that case")
    parser.add_argument("--show", action="store_true", help="print every message")
    options = parser.parse_args()
    if options.only is not None:
        data = model(options.seed, options.only)
        if options.keep:
            options.keep.write_bytes(data)
        print(*try_case(data, options.only), sep=": ")
        print(*try_command(data), sep=": ")
        return 0
    started, counts, failed, seen = time.monotonic(), Counter[str](), dict[str, list[int]](), set[int]()
    for number, verdict, detail in run(options.seed, range(options.count), options.jobs):
        counts[verdict] += 1
        seen.add(number)
        kind = re.sub(r"\d+", "N", detail.strip().splitlines()[-1]) if detail else ""
        if options.show or (verdict == "FAILED" and kind not in failed):  # one of each kind at length
            print(f"{number}: {verdict}: {detail}", flush=True)
        if verdict == "FAILED":
            failed.setdefault(kind, []).append(number)
    total = ", ".join(f"{n} {verdict}" for verdict, n in counts.most_common())
    print(f"{options.count} broken models, seed {options.seed}, {time.monotonic() - started:.0f} s: {total}")
    for kind, numbers in failed.items():
        print(f"{len(numbers)} × {kind[:150]}: {numbers[:20]}")
    if failed:
        print(f"repeat one with: python -m tests.fuzz --seed {options.seed} --only NUMBER")
    if len(seen) < options.count:
        print(f"{options.count - len(seen)} cases gave no answer")
    return 1 if failed or len(seen) < options.count else 0


if __name__ == "__main__":
    sys.exit(main())
