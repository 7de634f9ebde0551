"""What the storage forms of weights cost and save, layer by layer, beside int8 weights.

    python -m benchmarks.forms [--core cortex-m4] [--forms codebook packed …]

Each layer is a model of its own, built for the core and run under QEMU: see
docs/compression/storage_forms.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tests.convolutions import Spatial
from tests.laws import draw_inputs, load
from tests.operators import test_conv_2d, test_depthwise_conv_2d, test_fully_connected
from tinygen import api
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array
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


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure the storage forms of weights.")
    parser.add_argument("--core", default="cortex-m4", help="where instructions are counted")
    parser.add_argument("--forms", nargs="*", help="only these forms (default: all)")
    options = parser.parse_args(arguments)
    cases = [case for case in CASES if not options.forms or case.form in (PLAIN, *options.forms)]
    rows = [measured(name, graph, case, options.core) for name, graph in layers().items() for case in cases]
    print("\n".join(table(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
