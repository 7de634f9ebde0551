# SPDX-License-Identifier: Apache-2.0
"""The laws every operator obeys, as functions for tests.

`check_laws(models)` takes TFLite files (bytes) and holds, on random and corner inputs:
  0. tinygen's reference == TFLM's reference kernels, bit for bit (where TFLM has the operator),
  1. the generated C (ASan + UBSan) == tinygen's reference, bit for bit,
  2. tinygen's reference lies within the operator's bound of its real-number meaning.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from tflite_micro.python.tflite_micro import runtime

from tinygen.emit.render import emit
from tinygen.frontends import tflite
from tinygen.ir.graph import Graph
from tinygen.ir.program import Program
from tinygen.ir.types import Array, DType
from tinygen.lower import Optimize, lower
from tinygen.ops import call_of, op_of
from tinygen.plan.arena import Plan, plan
from tinygen.reference import run
from tinygen.target import load_target
from tinygen.toolchain import CFLAGS

Inputs = Sequence[Array]

SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
FLAGS = ("-O1", "-g", *CFLAGS, "-Werror", *SANITIZE)


def load(data: bytes, name: str = "m") -> Graph:
    """The graph of a TFLite file in memory."""
    return tflite.read(Path(f"{name}.tflite"), data)


def draw_inputs(graph: Graph, seed: int, count: int = 3) -> list[list[Array]]:
    """`count` random input sets, then all-minimum and all-maximum ones."""
    rng = np.random.default_rng(seed)
    types = [graph.types[n] for n in graph.inputs]
    sets: list[list[Array]] = []
    for _ in range(count):
        sets.append([_random(rng, t.dtype, t.shape) for t in types])
    if all(t.dtype in (DType.INT8, DType.INT16) for t in types):
        sets += [[np.full(t.shape, t.dtype.limits[end], t.dtype.numpy) for t in types] for end in (0, 1)]
    return sets


def _random(rng: np.random.Generator, dtype: DType, shape: tuple[int, ...]) -> Array:
    if dtype is DType.FLOAT32:
        return rng.normal(size=shape).astype(np.float32) * np.float32(4)
    low, high = dtype.limits if dtype in (DType.INT8, DType.UINT8, DType.INT16) else (-1000, 1000)
    return rng.integers(low, high, size=shape, endpoint=True).astype(dtype.numpy)


def tflm(data: bytes, sets: Sequence[Inputs]) -> list[list[Array]]:
    """What TFLM's interpreter answers for each input set."""
    interpreter = runtime.Interpreter.from_bytes(data, arena_size=1 << 22)
    graph = load(data)
    answers = []
    for inputs in sets:
        for index, value in enumerate(inputs):
            interpreter.set_input(value, index)
        interpreter.invoke()
        answers.append([interpreter.get_output(i).copy() for i in range(len(graph.outputs))])
    return answers


def sources(
    graph: Graph,
    optimize: Optimize = "balanced",
    features: frozenset[str] = frozenset(),
    planned: Callable[[Program], Plan] = plan,
) -> dict[str, str]:
    """The generated C of a graph for the host, also with kernels for cores that have `features`, in portable form."""
    program = lower(graph, replace(load_target("host"), features=features), optimize)
    return emit(program, planned(program), ["test"])


def run_c(
    graphs: Sequence[Graph],
    sets: Sequence[Sequence[Inputs]],
    cc: str = "gcc",
    features: frozenset[str] = frozenset(),
    planned: Callable[[Program], Plan] | None = None,
) -> list[list[list[Array]]]:
    """Outputs of the generated C for each graph and each of its input sets: one compilation, one process.

    The driver is this function's own: it shares nothing with the harness that `tinygen verify` uses. Without `planned`,
    outputs lie over inputs in every other graph, and no buffers over each other in the rest.
    """
    texts = []
    for index, graph in enumerate(graphs):
        optimize: Optimize = ("balanced", "size", "speed")[index % 3]  # type: ignore[assignment]
        own = partial(plan, overlap=index % 2 == 0)
        texts.append(sources(replace(graph, name=f"m{index}"), optimize, features, planned or own))
    return run_texts(graphs, texts, sets, cc)


def run_texts(
    graphs: Sequence[Graph], texts: Sequence[Mapping[str, str]], sets: Sequence[Sequence[Inputs]], cc: str = "gcc"
) -> list[list[list[Array]]]:
    """As `run_c`, for C that is there already: files of a model named m0, those of m1, …"""
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        names = [f"m{index}" for index in range(len(graphs))]
        for files in texts:
            for file, text in files.items():
                (where / file).write_text(text)
        (where / "main.c").write_text(_driver(graphs, [len(s) for s in sets]))
        (where / "in.bin").write_bytes(b"".join(v.tobytes() for s in sets for inputs in s for v in inputs))
        command = [cc, *FLAGS, "main.c", *(f"{n}.c" for n in names), "-o", "run"]
        subprocess.run(command, cwd=where, check=True, timeout=300)
        done = subprocess.run(["./run"], cwd=where, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        return _outputs(graphs, [len(s) for s in sets], (where / "out.bin").read_bytes())


def _driver(graphs: Sequence[Graph], counts: Sequence[int]) -> str:
    lines = ["#include <stdio.h>", "#include <stdlib.h>", "#include <string.h>"]
    lines += [f'#include "m{i}.h"' for i in range(len(graphs))]
    lines += ["int main(void) {", 'FILE *f = fopen("in.bin", "rb"), *g = fopen("out.bin", "wb");']
    lines += ["if (!f || !g) return 1;"]
    for i, (graph, count) in enumerate(zip(graphs, counts, strict=True)):
        # on the heap, so that the sanitizer sees every access outside the arena
        lines.append(f"{{ m{i}_arena_t *a = malloc(sizeof *a); memset(a, 0xA5, sizeof *a);")
        lines.append(f"for (int n = 0; n < {count}; n++) {{")
        for j, name in enumerate(graph.inputs):
            lines.append(f"if (fread(m{i}_input_{j}(a), {graph.types[name].bytes}, 1, f) != 1) return 1;")
        lines.append(f"m{i}_run(a);")
        for j, name in enumerate(graph.outputs):
            lines.append(f"fwrite(m{i}_output_{j}(a), {graph.types[name].bytes}, 1, g);")
        lines.append("} free(a); }")
    return "\n".join([*lines, "return fclose(f) || fclose(g); }", ""])


def _outputs(graphs: Sequence[Graph], counts: Sequence[int], data: bytes) -> list[list[list[Array]]]:
    at, result = 0, []
    for graph, count in zip(graphs, counts, strict=True):
        answers = []
        for _ in range(count):
            outputs = []
            for name in graph.outputs:
                t = graph.types[name]
                outputs.append(np.frombuffer(data, t.dtype.numpy, t.elements, at).reshape(t.shape))
                at += t.bytes
            answers.append(outputs)
        result.append(answers)
    assert at == len(data)
    return result


def assert_equal(name: str, got: Sequence[Array], expected: Sequence[Array]) -> None:
    """Fail with the first element that differs."""
    for index, (a, b) in enumerate(zip(got, expected, strict=True)):
        b = np.asarray(b).reshape(a.shape)
        same = a.tobytes() == np.ascontiguousarray(b, a.dtype).tobytes()
        assert same, f"{name}: output {index} differs: {_first(a, b)}"


def _first(a: Array, b: Array) -> str:
    where = np.argwhere(np.asarray(a != b))
    if not len(where):
        return "in bits only"
    at = tuple(int(i) for i in where[0])
    return f"{len(where)} of {a.size}, first at {at}: {a[at]} instead of {b[at]}"


def check_reference(data: bytes, seed: int = 0, with_tflm: bool = True) -> tuple[Graph, list[list[Array]]]:
    """Laws 0 and 2 for one file; returns its graph and the input sets that were tried."""
    graph = load(data)
    sets = draw_inputs(graph, seed)
    mine = [run(graph, inputs) for inputs in sets]
    if with_tflm:
        for got, expected in zip(mine, tflm(data, sets), strict=True):
            assert_equal("reference against TFLM", got, expected)
    for inputs, outputs in zip(sets, mine, strict=True):
        check_real(graph, inputs, outputs)
    return graph, sets


def check_real(graph: Graph, inputs: Inputs, outputs: Sequence[Array]) -> None:
    """Law 2, for a graph of one node: the reference lies within the operator's bound of the real result."""
    (node,) = graph.nodes
    values = {**graph.constants, **dict(zip(graph.inputs, inputs, strict=True))}
    call = call_of(graph, node)
    reals = [graph.types[n].dequantize(values[n]) if n else None for n in node.inputs]
    for exact, got, name in zip(op_of(node).real(call, reals), outputs, graph.outputs, strict=True):
        t = graph.types[name]
        if t.quant is None:
            close = np.allclose(np.asarray(exact).reshape(t.shape), got, rtol=1e-5, atol=1e-6)
            assert close, f"{node.op} is off its meaning"
            continue
        steps = np.clip(np.asarray(exact).reshape(t.shape) / t.q.scale + t.q.zero_point, *t.dtype.limits)
        worst = float(np.max(np.abs(steps - got)))
        assert worst <= op_of(node).bound(call), f"{node.op}: {worst} steps off, {op_of(node).bound(call)} allowed"


def check_laws(models: Sequence[bytes], seed: int = 0, with_tflm: bool = True, cc: str = "gcc") -> None:
    """All laws for every file; the C of all of them is compiled and run together."""
    tried = [check_reference(data, seed, with_tflm) for data in models]
    answers = run_c([g for g, _ in tried], [s for _, s in tried], cc)
    for (graph, sets), outputs in zip(tried, answers, strict=True):
        for inputs, got in zip(sets, outputs, strict=True):
            assert_equal(f"C of {graph.nodes[0].op} against reference", got, run(graph, inputs))
