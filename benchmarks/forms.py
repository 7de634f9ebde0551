# SPDX-License-Identifier: Apache-2.0
"""What the storage forms of weights cost and save, layer by layer, beside int8 weights.

    python -m benchmarks.forms [--core cortex-m4] [--forms codebook packed …]
    python -m benchmarks.forms --goals
    python -m benchmarks.forms --write docs/compression/storage_forms.md

Each layer is a model of its own, built for the core (`balanced`) and run under QEMU. `--goals` says whether shared and
sparse weights take no more instructions than they should, and `--write` remakes the tables of the page, between lines
that say so.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tests.convolutions import Spatial
from tests.laws import draw_inputs, load
from tests.operators import test_conv_2d, test_depthwise_conv_2d, test_fully_connected
from tinygen import api
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array
from tinygen.kernels import kernels_for
from tinygen.kernels.base import PLAIN
from tinygen.ops.convolution import OPERANDS
from tinygen.reference import run
from tinygen.target import load_target
from tinygen.verify.build_dir import read_build
from tinygen.verify.qemu import run_qemu

SCALES = (0.1, -3), [0.01], (1.0, 5)


def layers() -> dict[str, Graph]:
    """One layer of each kind, with the sizes of layers in the MLPerf Tiny networks."""
    files = {
        "convolution 3×3, 16×16×16 → 32": test_conv_2d.build(Spatial((1, 16, 16, 16), (3, 3)), 1, 32, 0, *SCALES),
        "pointwise, 25×5×64 → 64": test_conv_2d.build(Spatial((1, 25, 5, 64), (1, 1)), 1, 64, 0, *SCALES),
        "depthwise 3×3, 25×5×64": test_depthwise_conv_2d.build(Spatial((1, 25, 5, 64), (3, 3)), 1, 0, *SCALES),
        "fully connected, 640 → 128": test_fully_connected.simple((1, 640), (128, 640), 0.01),
    }
    return {name: load(data, "layer") for name, data in files.items()}


@dataclass(frozen=True)
class Case:
    """Weights of a kind: `draw` gives their values for a number of output channels and weights of each."""

    name: str
    form: str
    draw: Callable[[np.random.Generator, tuple[int, int]], Array]


def levels(count: int, step: int = 1) -> Callable[[np.random.Generator, tuple[int, int]], Array]:
    """Draws `count` equidistant values around 0."""
    return lambda rng, shape: (rng.integers(0, count, shape) - count // 2) * step


def values(count: int) -> Callable[[np.random.Generator, tuple[int, int]], Array]:
    """Draws from `count` values without a pattern."""
    return lambda rng, shape: rng.permutation(np.arange(-127, 128))[:count][rng.integers(0, count, shape)]


def normal(kept: float) -> Callable[[np.random.Generator, tuple[int, int]], Array]:
    """Draws from a normal distribution, keeps this share of the largest and shares 16 values, of which one is 0."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
        drawn = rng.normal(size=shape)
        rank = np.abs(drawn) >= np.quantile(np.abs(drawn), 1 - kept)
        centres = np.quantile(drawn[rank], (np.arange(15) + 0.5) / 15)
        nearest = centres[np.abs(drawn[..., None] - centres).argmin(axis=-1)]
        return np.where(rank, (nearest * 40).round(), 0)

    return draw


def pruned(zeros: float, block: int = 1, count: int = 254) -> Callable[[np.random.Generator, tuple[int, int]], Array]:
    """Draws from `count` values other than 0, and sets this share of blocks of neighbours to 0."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
        drawn = rng.permutation(np.setdiff1d(np.arange(-127, 128), [0]))[:count][rng.integers(0, count, shape)]
        blocks = drawn.reshape(-1, block)
        blocks[rng.permutation(len(blocks))[: round(len(blocks) * zeros)]] = 0
        return drawn

    return draw


def tiled(zeros: float) -> Callable[[np.random.Generator, tuple[int, int]], Array]:
    """Draws as `pruned`, blocks of four neighbours in four neighbouring output channels."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
        kept = pruned(zeros)(rng, (shape[0] // 4, shape[1] // 4)) != 0
        return np.where(kept.repeat(4, 0).repeat(4, 1), pruned(0.0)(rng, shape), 0)

    return draw


def n_of_4(n: int, count: int = 254) -> Callable[[np.random.Generator, tuple[int, int]], Array]:
    """Draws as `pruned`, and keeps n of each four neighbours."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
        drawn = pruned(0.0, count=count)(rng, shape)
        ranks = rng.random((drawn.size // 4, 4)).argsort(axis=1).reshape(shape)
        return np.where(ranks < n, drawn, 0)

    return draw


def sparse(form: str, block: int = 1) -> Iterator[Case]:
    """A form at several sparsities."""
    for zeros in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95):
        if form != "gaps" or zeros >= 0.5:
            yield Case(f"{zeros:.0%} {'zeros' if block == 1 else 'zero blocks'}", form, pruned(zeros, block))


CASES = (
    Case("int8", PLAIN, levels(256)),
    Case("codebook of 16", "codebook", values(16)),
    Case("codebook of 8", "codebook", values(8)),
    Case("codebook of 64", "codebook", values(64)),
    Case("4 bits", "packed", levels(16)),
    Case("2 bits", "packed", levels(4, 20)),
    Case("ternary", "packed", levels(3, 50)),
    Case("normal, codebook of 16", "entropy", normal(1.0)),
    Case("90 % zeros, codebook of 16", "entropy", normal(0.1)),
    *sparse("bitmap"),
    Case("50% zeros, codebook of 16", "bitmap", pruned(0.5, count=16)),
    Case("80% zeros, codebook of 16", "bitmap", pruned(0.8, count=16)),
    *sparse("gaps"),
    Case("90% zeros, codebook of 15", "gaps", pruned(0.9, count=15)),
    Case("2:4", "n_of_m", n_of_4(2)),
    Case("1:4", "n_of_m", n_of_4(1)),
    Case("2:4, codebook of 16", "n_of_m", n_of_4(2, 16)),
    *sparse("blocks", 4),
    Case("50% zero blocks, codebook of 16", "blocks", pruned(0.5, 4, 16)),
    Case("50% zero blocks in 4 channels", "blocks", tiled(0.5)),
)


@dataclass(frozen=True)
class Row:
    """What a layer costs with weights of a case; bytes of constants and code are those of the linked firmware."""

    layer: str
    case: Case
    constants: int
    code: int
    scratch: int
    instructions: int


def measured(layer: str, graph: Graph, case: Case, core: str) -> Row:
    """Build and run one layer."""
    (node,) = graph.nodes
    where = OPERANDS[node.op]
    name = node.inputs[where.weights]
    first = np.moveaxis(graph.constants[name], where.channel, 0)
    rows = case.draw(np.random.default_rng(0), (len(first), first[0].size)).reshape(first.shape)
    weights = np.moveaxis(rows, 0, where.channel).astype(np.int8)
    made = replace(graph, constants={**graph.constants, name: weights}, storage={name: case.form})
    inputs = draw_inputs(made, 0, 1)[:1]
    with tempfile.TemporaryDirectory() as folder:
        built = api.build(made, core, optimize="balanced")
        (used,) = {entry["form"] for entry in built.report["layers"]}
        assert used == case.form, f"{layer}: stored as {used}, not {case.form}"
        done = run_qemu(read_build(built.write(Path(folder))), inputs, load_target(core))
    assert np.array_equal(done.outputs[0][0], run(made, inputs[0])[0]), f"{layer}, {case.name}: wrong outputs"
    scratch = sum(buffer.bytes for step in built.program.steps for buffer in step.scratch)
    flash = built.report["flash"]
    return Row(layer, case, built.program.constant_bytes, flash["code"], scratch, done.instructions or 0)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The rows as lines of markdown, each beside the first of its layer."""
    yield "| layer | weights | constants | of int8 | code | scratch | instructions | of int8 |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|"
    for row in rows:
        plain = next(other for other in rows if other.layer == row.layer)
        yield (
            f"| {row.layer} | {row.case.name} | {row.constants:,} | {row.constants / plain.constants:.2f} "
            f"| {row.code:,} | {row.scratch:,} | {row.instructions:,} | {row.instructions / plain.instructions:.2f} |"
        )


#: The most instructions of a case, of those of int8 weights.
GOALS = {"codebook of 16": 1.25, "50% zero blocks": 0.7, "50% zero blocks in 4 channels": 0.7}
#: Cores of the page's tables; the kernels for Cortex-M7 and M33 are those for M4.
CORES = ("cortex-m4", "cortex-m55", "cortex-m0plus")
#: The tables of the page, by what their marks are called: which forms they hold.
TABLES = {"unpacked": ("codebook", "packed", "entropy"), "sparse": ("bitmap", "gaps", "n_of_m", "blocks")}


def rows_for(core: str, wanted: Callable[[Case], bool]) -> list[Row]:
    """Int8 weights and the wanted cases, in every layer that has a kernel for them."""
    return [
        measured(name, graph, case, core)
        for name, graph in layers().items()
        for case in CASES
        if (case.form == PLAIN or wanted(case))
        and any(kernel.form == case.form for kernel in kernels_for(graph.nodes[0].op))
    ]


def ratio(rows: Sequence[Row], row: Row, what: Callable[[Row], int]) -> float:
    """`what` of a row, of that of the same layer with int8 weights."""
    return what(row) / what(next(other for other in rows if other.layer == row.layer))


def goals(cores: Sequence[str]) -> Iterator[str]:
    """For each core, layer and case with a goal, whether it is met."""
    yield "| core | layer | weights | instructions, of int8 | goal | |"
    yield "|---|---|---|--:|--:|---|"
    for core in cores:
        rows = rows_for(core, lambda case: case.name in GOALS)
        for row in (row for row in rows if row.case.name in GOALS):
            found, most = ratio(rows, row, lambda r: r.instructions), GOALS[row.case.name]
            verdict = "met" if found <= most else "missed"
            yield f"| {core} | {row.layer} | {row.case.name} | {found:.2f} | {most:.2f} | {verdict} |"


def beside(by_core: Mapping[str, Sequence[Row]], forms: Sequence[str]) -> Iterator[str]:
    """The cases of some forms, a line each: bytes and, core by core, instructions of each layer, of those of int8."""
    rows = by_core[CORES[0]]
    names = list(dict.fromkeys(row.layer for row in rows if row.case.form in forms))
    short = [name.partition(",")[0] for name in names]
    yield f"| form | weights | bytes: {' | '.join(short)} | instructions: {' | '.join(short)} |"
    yield "|---|---|" + "--:|" * 2 * len(names)
    for case in (case for case in CASES if case.form in forms):
        found = {row.layer: row for row in rows if row.case is case}
        sizes = [f"{ratio(rows, found[n], lambda r: r.constants):.2f}" if n in found else "" for n in names]
        counts = [
            " / ".join(
                f"{ratio(some, row, lambda r: r.instructions):.2f}"
                for some in by_core.values()
                for row in some
                if row.case is case and row.layer == name
            )
            for name in names
        ]
        yield f"| `{case.form}` | {case.name} | {' | '.join([*sizes, *counts])} |"


def remade(page: str, name: str, lines: Iterator[str]) -> str:
    """`page` with other lines between the marks of a table."""
    first, last = f"<!-- {name}: python -m benchmarks.forms --write -->", f"<!-- end of {name} -->"
    before, mark, rest = page.partition(first)
    assert mark and last in rest, f"the page has no marks for the table '{name}'"
    return before + "\n".join((first, *lines, last)) + rest.partition(last)[2]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure the storage forms of weights.")
    parser.add_argument("--core", nargs="*", default=["cortex-m4"], help="where instructions are counted")
    parser.add_argument("--forms", nargs="*", help="only these forms (default: all)")
    parser.add_argument("--goals", action="store_true", help="what shared and sparse weights should cost at most")
    parser.add_argument("--write", type=Path, help="remake the tables of this page")
    options = parser.parse_args(arguments)
    if options.goals:
        print("\n".join(goals(options.core)))
    elif options.write:
        by_core = {core: rows_for(core, lambda case: True) for core in CORES}
        page = options.write.read_text(encoding="utf-8")
        for name, forms in TABLES.items():
            page = remade(page, name, beside(by_core, forms))
        options.write.write_text(page, encoding="utf-8")
    else:
        for core in options.core:
            print("\n".join(table(rows_for(core, lambda case: not options.forms or case.form in options.forms))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
