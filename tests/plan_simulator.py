# SPDX-License-Identifier: Apache-2.0
"""A second opinion on plans: a program runs on an arena whose bytes are only names, in the order of its kernels.

Shares nothing with the planner, nor with what kernels say of their overlaps: which bytes a kernel reads and writes, and
when, stands here a second time, written from the C templates. `simulate` raises `AssertionError` where a byte that is
read does not hold what its producer wrote; `dead_bytes` says which bytes hold nothing any more after each step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count, product
from typing import Any

import numpy as np

from tests.rows_simulator import Together
from tinygen.ir.graph import Graph, Node
from tinygen.ir.program import Invocation, Program, Step
from tinygen.ir.types import Array
from tinygen.ops import call_of
from tinygen.ops.base import Call
from tinygen.plan.arena import Plan
from tinygen.stripes.segment import Segment

#: Elements of each input that are read, then elements of the output that are written after that.
Event = tuple[Mapping[int, Array], Array]
Params = Mapping[str, Any]


def simulate(graph: Graph, program: Program, plan: Plan, segments: Sequence[Segment] = ()) -> None:
    """Run `program`, lowered from `graph` with `segments`, on names of bytes."""
    arena = np.full(plan.bytes, -1, np.int64)
    held: dict[str, Array] = {}
    sizes = {b.name: b.bytes for b in program.buffers} | {b.name: b.bytes for s in program.steps for b in s.scratch}
    first, fresh = {name: number << 32 for number, name in enumerate(sizes)}, count(len(sizes))
    nodes = {node.outputs[0]: node for node in graph.nodes}

    def at(buffer: str, some: Array | slice = slice(None)) -> Array:
        return (plan.offsets[buffer] + np.arange(sizes[buffer]))[some]

    def hold(buffer: str) -> None:
        held[buffer] = first[buffer] + np.arange(sizes[buffer])

    def read(step: Step, buffer: str, some: Array | slice = slice(None)) -> None:
        wrong = arena[at(buffer, some)] != held[buffer][some]
        assert not wrong.any(), f"step '{step.name}' reads {wrong.sum()} bytes of '{buffer}' that are not there"

    for buffer in dict.fromkeys(program.tensors[name] for name in program.inputs if name in program.tensors):
        hold(buffer)
        arena[at(buffer)] = held[buffer]
    for step in program.steps:
        for buffer in step.reads:
            read(step, buffer)
        for scratch in step.scratch:
            arena[at(scratch.name)] = first[scratch.name]
        if step.kernel == "copy/rows":
            for call in step.invocations:
                _copy(call, arena, held, plan, sizes)
            continue
        if step.loop is not None:
            segment = next(s for s in segments if s.chain.target == step.outputs[0])
            Together(program, step, segment, plan, arena, held, fresh).run()
            continue
        for buffer in step.writes:
            hold(buffer)
        for taken, made in _events(graph, program, step, nodes):
            for buffer, some in taken:
                read(step, buffer, some)
            for buffer in step.writes:
                arena[at(buffer, made)] = held[buffer][made]
            for scratch in step.scratch:
                assert (arena[at(scratch.name)] == first[scratch.name]).all(), f"'{step.name}' overwrites its scratch"
        for buffer in step.writes:
            read(step, buffer)
    for name in program.outputs:
        buffer = program.tensors[name]
        wrong = arena[at(buffer)] != held[buffer]
        assert not wrong.any(), f"output '{name}' does not last"


def dead_bytes(program: Program, plan: Plan) -> list[list[tuple[int, int]]]:
    """After each step, the intervals of the arena that no later step reads, and that are in no output."""
    sizes = {b.name: b.bytes for b in program.buffers}
    result = []
    for number in range(len(program.steps)):
        written = {program.tensors[name] for name in program.inputs if name in program.tensors}
        written |= {buffer for step in program.steps[: number + 1] for buffer in step.writes}
        wanted = {buffer for step in program.steps[number + 1 :] for buffer in step.reads}
        wanted |= {program.tensors[name] for name in (*program.outputs, *program.steps[number].outputs)}
        dead = np.ones(plan.bytes + 2, bool)
        dead[[0, -1]] = False
        for buffer in written & wanted:
            dead[1 + plan.offsets[buffer] : 1 + plan.offsets[buffer] + sizes[buffer]] = False
        edges = np.flatnonzero(dead[1:] != dead[:-1])
        result.append([(int(a), int(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True)])
    return result


def _copy(call: Invocation, arena: Array, held: dict[str, Array], plan: Plan, sizes: Mapping[str, int]) -> None:
    """A copy moves names; what it writes over the same names is no harm."""
    source, target, p = call.reads[0], call.writes[0], {k: int(v) for k, v in call.params.items()}
    fresh = held.setdefault(target.name, np.full(sizes[target.name], -2, np.int64))
    for row in range(p["rows"]):
        begin, end = p["in_offset"] + row * p["in_stride"], p["out_offset"] + row * p["out_stride"]
        if source.constant:
            names = np.full(p["run"], -3, np.int64)
        else:
            names = held[source.name][begin : begin + p["run"]]
            there = plan.offsets[source.name] + begin
            assert (arena[there : there + p["run"]] == names).all(), (
                f"a copy reads of '{source.name}' what is not there"
            )
        fresh[end : end + p["run"]] = names
        there = plan.offsets[target.name] + end
        arena[there : there + p["run"]] = names


def _events(
    graph: Graph, program: Program, step: Step, nodes: Mapping[str, Node]
) -> Iterator[tuple[list[tuple[str, Array]], Array]]:
    """The reads (buffer, bytes) and writes (bytes) of a step; one not traced reads all before and after it writes."""
    sizes = {b.name: b.bytes for b in program.buffers}
    trace = TRACES.get(step.kernel.partition("/")[0])
    everything = [(buffer, np.arange(sizes[buffer])) for buffer in step.reads]
    if trace is None or not step.overlays:
        for buffer in step.writes:
            yield everything, np.arange(sizes[buffer])
        yield everything, np.arange(0)
        return
    node = nodes[step.outputs[0]]
    call = call_of(graph, node)
    for taken, made in trace(call, step.kernel, _plain(step.invocations[0].params)):
        reads = [
            (program.tensors[node.inputs[i]], _bytes(some, call.input(i).dtype.bytes)) for i, some in taken.items()
        ]
        yield reads, _bytes(made, call.output.dtype.bytes)


def _plain(params: Mapping[str, Any]) -> Params:
    """Parameters, also of kernels for stored weights, by the names that the plain kernels have."""
    return {name.removeprefix("plain.").removeprefix("matrix."): value for name, value in params.items()}


def _bytes(elements: Array, size: int) -> Array:
    return np.asarray((np.asarray(elements, np.int64).ravel()[:, None] * size + np.arange(size)).ravel())


# --- What is read and written, element by element ---------------------------------------------------------------------


def _windows(call: Call[Any]) -> Iterator[list[int]]:
    """For each output pixel the first elements of the pixels that its window covers, by definition of a window."""
    (batch, height, width, channels), (_, out_h, out_w, _) = call.input(0).shape, call.output.shape
    taps = getattr(call.attrs, "window", None) or call.input(1).shape[1:3]
    dilation = getattr(call.attrs, "dilation", (1, 1))
    top, left = call.attrs.padding[0], call.attrs.padding[2]
    for n, y, x in product(range(batch), range(out_h), range(out_w)):
        rows = [y * call.attrs.stride[0] - top + i * dilation[0] for i in range(taps[0])]
        columns = [x * call.attrs.stride[1] - left + i * dilation[1] for i in range(taps[1])]
        inside = [(r, c) for r in rows for c in columns if 0 <= r < height and 0 <= c < width]
        yield [((n * height + r) * width + c) * channels for r, c in inside]


def _channels(pixels: Sequence[int], first: int, end: int) -> Array:
    return (np.asarray(pixels, np.int64)[:, None] + np.arange(first, end)).ravel()


def _convolution(call: Call[Any], kernel: str, params: Params) -> Iterator[Event]:
    depth, filters = call.input(0).shape[3], call.output.shape[3]
    pixels = call.output.shape[1] * call.output.shape[2]
    windows = list(_windows(call))
    variant = kernel.partition("/")[2].partition("_")[0]
    if variant in ("dsp", "mve", "v6m"):  # windows are copied
        band = params["band"] if variant != "v6m" else 2
        starts = [n * pixels + i for n in range(call.output.shape[0]) for i in range(0, pixels, band)]
        for start, end in zip(starts, [*starts[1:], len(windows)], strict=True):
            covered = [tap for window in windows[start:end] for tap in window]
            yield {0: _channels(covered, 0, depth)}, np.arange(start * filters, end * filters)
        return
    for number, window in enumerate(windows):  # filter by filter
        read, first = _channels(window, 0, depth), number * filters
        yield {0: read}, np.arange(first, first + filters - 1)
        yield {0: read}, np.arange(first + filters - 1, first + filters)


def _depthwise(call: Call[Any], kernel: str, params: Params) -> Iterator[Event]:
    (batch, height, width, channels), (_, out_h, out_w, _) = call.input(0).shape, call.output.shape
    variant = kernel.partition("/")[2].partition("_")[0]
    if variant not in ("dsp", "mve", "v6m"):
        for number, window in enumerate(_windows(call)):
            for c in range(0, channels, 4):
                first = min(c, channels - 4)
                at = number * channels + first
                yield {0: _channels(window, first, first + 4)}, np.arange(at, at + 4)
        return
    block = {"dsp": 4 * params.get("groups", 0), "v6m": 1}.get(variant, channels)
    span = (call.input(1).shape[1] - 1) * call.attrs.dilation[0] + 1
    for n, c in product(range(batch), range(0, channels, block)):
        end, known = min(c + block, channels), -1  # rows are copied once, those of a window before its outputs
        c = min(c, channels - 4) if variant != "v6m" else c
        for y in range(out_h):
            top = y * call.attrs.stride[0] - call.attrs.padding[0]
            rows = [r for r in range(max(top, known + 1), top + span) if 0 <= r < height]
            known = max(known, top + span - 1)
            pixels = [((n * height + r) * width + x) * channels for r in rows for x in range(width)]
            made = [((n * out_h + y) * out_w + x) * channels for x in range(out_w)]
            yield {0: _channels(pixels, c, end)}, _channels(made, c, end)


def _pool(call: Call[Any], kernel: str, params: Params) -> Iterator[Event]:
    """So many channels of a pixel at a time, the last ones from the end."""
    channels = call.output.shape[3]
    at_once = 1 if kernel == "max_pool_2d/mve" else {"four": 4, "mve": 8, "dsp": 8}.get(kernel.partition("/")[2], 1)
    for number, window in enumerate(_windows(call)):
        for c in range(0, channels, at_once):
            first = min(c, channels - at_once)
            at = number * channels + first
            yield {0: _channels(window, first, first + at_once)}, np.arange(at, at + at_once)


def _product(call: Call[Any], kernel: str, params: Params) -> Iterator[Event]:
    """Rows times a matrix; kernels that copy a row read it once."""
    depth, units = call.input(1).shape[-1], call.input(1).shape[0]
    copies = kernel.startswith(("fully_connected/v6m", "fully_connected/dsp")) and "raw" not in kernel
    for row in range(call.input(0).elements // depth):
        read, first = np.arange(row * depth, (row + 1) * depth), row * units
        if copies and (depth % 8 == 0 or "v6m" in kernel):
            yield {0: read}, np.arange(first, first + units)
            continue
        last = 4 * (-(-units // 4) - 1) if copies or "mve" in kernel or "raw" in kernel else units - 1
        yield {0: read}, np.arange(first, first + last)
        yield {0: read[depth // 8 * 8 :] if copies else read}, np.arange(first + last, first + units)


def _sparse(call: Call[Any], kernel: str, params: Params) -> Iterator[Event]:
    filters, tile, depth = params["filters"], params["tile"], params["depth"]
    windows = list(_windows(call)) if params["gathered"] else []
    for start in range(0, params["pixels"], tile):
        end = min(start + tile, params["pixels"])
        made = np.arange(start * filters, end * filters)
        if windows:
            covered = [tap for window in windows[start:end] for tap in window]
            yield {0: _channels(covered, 0, call.input(0).shape[3])}, made
        else:
            read = np.arange(start * depth, end * depth)
            yield {0: read}, made[:-1]
            yield {0: read}, made[-1:]


def _elements(call: Call[Any], kernel: str, params: Params) -> Iterator[Event]:
    variable = [i for i in range(len(call.inputs)) if call.constants[i] is None]
    numbers = {i: np.arange(call.input(i).elements).reshape(call.input(i).shape) for i in variable}
    spread = {i: np.broadcast_to(n, call.output.shape).ravel() if n.size > 1 else None for i, n in numbers.items()}
    for number in range(call.output.elements):
        yield {i: some[number : number + 1] for i, some in spread.items() if some is not None}, np.array([number])


def _rows(call: Call[Any], kernel: str, params: Params) -> Iterator[Event]:
    """A row is read whole, and then again, element by element."""
    depth = call.input(0).shape[-1]
    for first in range(0, call.output.elements, depth):
        yield {0: np.arange(first, first + depth)}, np.arange(first, first)
        for number in range(first, first + depth):
            yield {0: np.array([number])}, np.array([number])


#: By the folder of a kernel's template.
TRACES: Mapping[str, Callable[[Call[Any], str, Params], Iterator[Event]]] = {
    "conv_2d": _convolution,
    "depthwise_conv_2d": _depthwise,
    "max_pool_2d": _pool,
    "average_pool_2d": _pool,
    "fully_connected": _product,
    "sparse": _sparse,
    **dict.fromkeys(("lookup", "add", "sub", "mul", "maximum", "minimum", "squared_difference", "prelu"), _elements),
    **dict.fromkeys(("quantize", "cast", "dequantize", "sigmoid"), _elements),
    **dict.fromkeys(("softmax", "log_softmax", "l2_normalization"), _rows),
}
