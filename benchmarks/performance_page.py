# SPDX-License-Identifier: Apache-2.0
"""docs/performance.md: what kernels do and cost, every figure measured when the page is made."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path

from benchmarks import bench, speed
from benchmarks.bench import tomllib
from benchmarks.speed import CORES, FAMILIES, MODELS, Code, Speed
from tests import zoo
from tinygen import clang
from tinygen.target import Timing, load_target
from tinygen.verify.blocks import Block, Blocks
from tinygen.verify.cycles import CAVEAT, estimated, timing_of
from tinygen.verify.instructions import CLASSES, Instruction, executed, histograms, inside
from tinygen.verify.qemu import blocks_qemu

#: The four networks that both sides and the boards have.
FOUR = ("KWS", "IC", "AD", "VWW")
#: Products of int8 that an instruction makes, by the beginning of its name.
PRODUCTS = {
    "smlal": 0,
    "smull": 0,
    "smlad": 2,
    "smuad": 2,
    "smla": 1,
    "smul": 1,
    "mla": 1,
    "mul": 1,
    "vmladava": 16,
    "vmlava": 16,
    "vmull": 8,
}
#: Kernels in which a MULS makes two, as operands are packed.
PACKED = ("conv_2d/v6m", "depthwise_conv_2d/v6m", "fully_connected/v6m_four")
TEXT = Path(__file__).with_name("performance.md")


@dataclass(frozen=True)
class Traced:
    """A model's layers on a core: what the report says of them, and which instructions they execute."""

    model: str
    core: str
    layers: Sequence[Mapping[str, object]]
    blocks: Blocks
    program: Mapping[int, Instruction]

    @property
    def classes(self) -> Counter[str]:
        """The instructions of the whole by class."""
        return sum(histograms(self.blocks, self.program), Counter())


@dataclass(frozen=True)
class Loop:
    """The block of a layer in which most instructions are executed."""

    kernel: str
    shape: str
    length: int
    macs: int
    share: float
    whole: float

    @property
    def per_mac(self) -> float:
        """The loop's instructions for each product."""
        return self.length / max(1, self.macs)


@cache
def traced(model: str, core: str) -> Traced:
    """Build and run `model` on its first golden input."""
    with tempfile.TemporaryDirectory() as folder:
        built = zoo.build(MODELS[model], Path(folder), core, "balanced", speed.without(model))
        blocks, program = blocks_qemu(built, zoo.golden(MODELS[model])[0].inputs, load_target(core))
        return Traced(model, core, built.report["layers"], blocks, program)


def loops(core: str) -> list[Loop]:
    """The hottest loop of each kernel on `core`, in the layer of the four networks with most products."""
    best: dict[str, tuple[int, Loop]] = {}
    for model in FOUR:
        run = traced(model, core)
        for index, layer in enumerate(run.layers):
            macs, kernel = int(str(layer["macs"])), str(layer["kernel"])
            if macs > best.get(kernel, (0, None))[0]:
                best[kernel] = macs, hottest(run, index)
    return [loop for _, loop in sorted(best.values(), key=lambda pair: pair[1].kernel)]


def hottest(run: Traced, index: int) -> Loop:
    """The block of layer `index` that makes products in which most instructions are executed."""
    layer, times = run.layers[index], Counter[Block]()
    for (block, _), count in run.blocks.layers[index].items():
        times[block] += count
    work = {block: count * len(inside(block, run.program)) for block, count in times.items()}
    kernel, macs = str(layer["kernel"]), int(str(layer["macs"]))
    best = max(work, key=lambda block: work[block] * (products(inside(block, run.program), kernel) > 0))
    shape = "×".join(map(str, layer["output_shape"]))  # type: ignore[call-overload]  # a list, as the schema says
    blocks = whole_loop(best, times, run.program)
    loop, whole = [i for block in blocks for i in inside(block, run.program)], sum(work.values())
    share = sum(work[block] for block in blocks) / whole
    return Loop(kernel, f"{run.model}, {shape}", len(loop), products(loop, kernel), share, whole / macs)


def whole_loop(best: Block, times: Mapping[Block, int], program: Mapping[int, Instruction]) -> list[Block]:
    """`best` with what comes right before and after it: QEMU ends blocks where pages of memory end, too."""

    def runs_on(block: Block) -> bool:
        return inside(block, program)[-1].kind not in ("taken", "loop")

    often = [block for block in times if times[block] >= times[best] / 2]
    blocks = [best]
    while runs_on(blocks[-1]) and (after := [block for block in often if block.start == blocks[-1].end]):
        blocks.append(after[0])
    while before := [block for block in often if block.end == blocks[0].start and runs_on(block)]:
        blocks.insert(0, before[0])
    return blocks


def products(loop: Sequence[Instruction], kernel: str) -> int:
    """Products of int8 that instructions make."""
    each = (next((n for begin, n in PRODUCTS.items() if i.name.startswith(begin)), 0) for i in loop)
    return sum(each) * (2 if kernel in PACKED else 1)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """A Markdown table whose columns after the first `left` are numbers."""
    rule = ["---"] * left + ["--:"] * (len(head) - left)
    return (
        ["| " + " | ".join(cells) + " |" for cells in (head, *rows)][:1]
        + ["|" + "|".join(rule) + "|"]
        + ["| " + " | ".join(cells) + " |" for cells in rows]
    )


def speeds_table(speeds: Sequence[Speed]) -> Iterator[str]:
    for core in CORES:
        rows = [s for s in speeds if s.core == core]
        yield f"\n### {core}\n"
        yield from table(
            ("model", "MACs", "instructions", "per MAC", "TFLM + CMSIS-NN", "per MAC", "ratio"),
            [*map(speed.cells, rows)],
        )
        mean = speed.mean_ratio(rows)
        if mean:
            yield f"\nGeometric mean of the ratios, dead channels kept: {mean:.2f}."


def goals_table(speeds: Sequence[Speed], sizes: Sequence[Code]) -> Iterator[str]:
    rows = [
        (v.what, v.core, v.model, f"{v.limit:,}", f"{v.reached:,}", "yes" if v.ok else "**no**")
        for v in speed.verdicts(speeds, sizes)
    ]
    yield from table(("what", "core", "model", "limit", "reached", "kept"), rows, 3)


def loops_table() -> Iterator[str]:
    rows = [
        (
            f"`{loop.kernel}`", loop.shape, str(loop.length), str(loop.macs), f"{loop.per_mac:.2f}",
            f"{load_target(core).floor:g}", f"{loop.share:.0%}", f"{loop.whole:.2f}",
        )
        for core in FAMILIES
        for loop in loops(core)
        if loop.share > 0.25
    ]  # fmt: skip
    head = ("kernel", "layer", "instructions", "products", "per product", "floor", "of the layer", "layer, per MAC")
    yield from table(head, rows, 2)


def others_table() -> Iterator[str]:
    """Of each kernel without products, on each core, the layer of the four networks with most outputs."""
    rows = []
    for core in FAMILIES:
        best: dict[str, tuple[int, int, str]] = {}
        for run in (traced(model, core) for model in FOUR):
            for layer, blocks in zip(run.layers, run.blocks.layers, strict=True):
                shape, kernel = [int(n) for n in layer["output_shape"]], str(layer["kernel"])  # type: ignore[attr-defined]  # a list, as the schema says
                if layer["macs"] == 0 and prod(shape) > best.get(kernel, (0,))[0]:
                    spent = sum(count * len(inside(block, run.program)) for (block, _), count in blocks.items())
                    best[kernel] = prod(shape), spent, f"{run.model}, {'×'.join(map(str, shape))}"
        rows += [(core, f"`{k}`", at, f"{n:,}", f"{n / size:.1f}") for k, (size, n, at) in sorted(best.items())]
    yield from table(("core", "kernel", "layer", "instructions", "per output"), rows, 3)


def estimates_table() -> Iterator[str]:
    boards = tomllib.loads(Path(__file__).with_name("boards.toml").read_text(encoding="utf-8"))["boards"]
    rows = []
    for core, board in boards.items():
        timing = timing_of(load_target(core))
        for model in FOUR:
            classes = traced(model, core).classes
            cycles, count, theirs = estimated(classes, timing), executed(classes), board["cycles"][model]
            ours = f"{count / 1e6:.2f} M", f"{cycles / 1e6:.2f} M", f"{cycles / count:.2f}"
            by = f"{board['by'][model]}, {board['board']}"
            rows.append((core, model, *ours, f"{theirs:g} M", by, f"{cycles / 1e6 / theirs - 1:+.0%}"))
    head = ("core", "model", "instructions", "≈ cycles", "per instruction", "published", "by, on", "deviation")
    yield from table(head, rows, 2)


def timings_table() -> Iterator[str]:
    timings: dict[str, Timing] = {core: timing_of(load_target(core)) for core in CORES}
    rows = [
        (f"`{kind}`", *(f"{t.cycles[kind]:g}" if kind in t.cycles else "" for t in timings.values()), meaning)
        for kind, meaning in CLASSES.items()
    ]
    yield from table(("class", *timings, "instructions"), rows)
    yield ""
    for core, timing in timings.items():
        yield f"- {core}: {timing.source}."


def compilers_table() -> Iterator[str]:
    rows = []
    for core in FAMILIES:
        for model in FOUR:
            by = {name: speed.measure(model, core, name) for name in clang.COMPILERS}
            code = {name: speed.measure_code(model, core, "balanced", name).bytes for name in clang.COMPILERS}
            gcc, other = (by[name].instructions or 0 for name in clang.COMPILERS)
            ratio = f"{other / gcc:.2f}" if gcc else "—"
            rows.append((core, model, f"{gcc:,}", f"{other:,}", ratio, *(f"{size:,}" for size in code.values())))
    head = ("core", "model", "gcc", "clang", "ratio", "code: gcc", "clang")
    yield from table(head, rows, 2)


def page(speeds: Sequence[Speed], sizes: Sequence[Code]) -> str:
    """The page: benchmarks/performance.md with tables for its marks."""
    provenance, _ = bench.read_peers()
    text = TEXT.read_text(encoding="utf-8")
    holes = {
        "goals": goals_table(speeds, sizes),
        "speeds": speeds_table(speeds),
        "loops": loops_table(),
        "others": others_table(),
        "timings": timings_table(),
        "estimates": estimates_table(),
        "compilers": compilers_table(),
    }
    for name, lines in holes.items():
        text = text.replace(f"@{name}@", "\n".join(lines).strip())
    words = {"gcc": clang.version_of("gcc"), "clang": clang.version_of("clang"), "caveat": CAVEAT, **provenance}
    for name, word in words.items():
        text = text.replace(f"@{name}@", word)
    return text
