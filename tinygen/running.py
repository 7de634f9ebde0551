# SPDX-License-Identifier: Apache-2.0
"""Running what was built: on the host, under QEMU, in the reference; and verifying that all agree."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tinygen import reference
from tinygen.errors import TinygenError, UsageError
from tinygen.files import check_folder, write_files
from tinygen.ir import store
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array
from tinygen.ops import all_ops
from tinygen.ops.limits import check_graph
from tinygen.target import Target, load_target
from tinygen.verify.build_dir import BuildDir, read_any, read_build
from tinygen.verify.check import Verification, check_on
from tinygen.verify.harness import check_vectors
from tinygen.verify.host import run_host
from tinygen.verify.profile import Profile, profile_on
from tinygen.verify.qemu import run_qemu
from tinygen.verify.turns import in_turn, joined
from tinygen.verify.vectors import load_vectors, make_vectors

#: Corner input sets that `verify` tries besides the random ones: all minimum, all maximum, all zero point.
CORNERS = 3


def read_report(folder: str | Path) -> Mapping[str, Any]:
    """The report of the build in `folder`; its schema is in docs/report-schema.md."""
    return read_build(folder).report


def verify(
    folder: str | Path,
    *,
    on: str = "all",
    vectors: int = 8,
    seed: int = 0,
    inputs: str | Path | None = None,
) -> Verification:
    """Run the C that lies in `folder` and compare every output byte with the numpy reference.

    `on` is ``host`` (sanitizers on), ``qemu`` (the target's machine) or ``all``. Tried are `vectors` seeded random
    input sets and three corners (all minimum, all maximum, all zero point), or the user's own from the .npz file
    `inputs`.
    The result tells whether all is equal; `raise_if_wrong()` raises if not. Several models in one C file take turns in
    the arena that they share.
    """
    found = read_any(folder)
    if isinstance(found, BuildDir):
        return _verified(found, read_graph(folder), on, vectors, seed, inputs)
    graphs = [_graph_of(found.path, model.name) for model in found.models]
    with tempfile.TemporaryDirectory(prefix="tinygen-") as temporary:
        made = in_turn(found, Path(temporary))
        verified = _verified(made, joined(graphs), on, vectors, seed, inputs)
        return replace(verified, name=found.name)


def _verified(
    made: BuildDir, graph: Graph, on: str, vectors: int, seed: int, inputs: str | Path | None
) -> Verification:
    sets = (
        load_vectors(inputs, made.inputs)
        if inputs is not None
        else make_vectors(made.inputs, vectors + CORNERS, seed, spreads(graph))
    )
    checked = tuple(check_on(made, graph, sets, machine) for machine in machines(made.report["target"]["name"], on))
    return Verification(made.name, checked, made.modified)


def profile(folder: str | Path, *, seed: int = 0, cycles: bool = False, compiler: str = "gcc") -> Profile:
    """The instructions of each layer of the C that lies in `folder`, on its target's machine under QEMU.

    The input is a seeded random one. `cycles` adds an estimate, which takes QEMU longer;
    `compiler` is gcc or clang.
    Raises `UsageError` if the build is for the host or its machine counts nothing.
    """
    made = read_build(folder)
    target = load_target(made.report["target"]["name"])
    (vector,) = make_vectors(made.inputs, 1, seed, spreads(read_graph(folder)))
    return profile_on(made, vector, target, cycles, compiler)


def read_graph(folder: str | Path) -> Graph:
    """The graph that the build in `folder` was made from, after all passes."""
    made = read_build(folder)
    return _graph_of(made.path, made.name)


def _graph_of(folder: Path, name: str) -> Graph:
    path = folder / f"{name}.tgm"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror}; build again") from None
    try:
        graph = store.loads(data, {name: op.attrs for name, op in all_ops().items()})
        check_graph(graph)
    except TinygenError as error:
        raise type(error)(f"{path.name}: {error}") from error
    return graph


def machines(target: str, on: str) -> list[Target | None]:
    """Where to run: None is the host. A host build runs on the host only."""
    goal = load_target(target)
    if on == "qemu" and goal.is_host:
        raise UsageError("--on qemu: the program was built for the host; build it with --target cortex-m4")
    chosen: dict[str, list[Target | None]] = {"host": [None], "qemu": [goal], "all": [None, goal]}
    if on not in chosen:
        raise UsageError(f"--on {on}: expected host, qemu or all")
    return [machine for machine in chosen[on] if machine is None or not goal.is_host]


def spreads(graph: Graph) -> dict[str, float]:
    """For each float input that is quantized at once: half the range that the quantization covers."""
    found = {}
    for node in graph.nodes:
        target = graph.types[node.outputs[0]]
        if node.op == "QUANTIZE" and node.inputs[0] in graph.inputs and target.quant is not None:
            found[node.inputs[0]] = 64.0 * target.quant.scale
    return found


def run_on(folder: str | Path, inputs: Sequence[Sequence[Array]], on: str = "host") -> tuple[tuple[Array, ...], ...]:
    """The outputs of the program in `folder` for each input set.

    `on` is ``reference`` (numpy), ``host`` or ``qemu``. Shapes and dtypes are the model's own (see `read_report`).
    """
    if on not in ("reference", "host", "qemu"):
        raise UsageError(f"on '{on}': expected reference, host or qemu")
    made = read_build(folder)
    if on == "reference":
        check_vectors(made, inputs)
        graph = read_graph(folder)
        return tuple(reference.run(graph, values) for values in inputs)
    (machine,) = machines(made.report["target"]["name"], on)
    return (run_host(made, inputs) if machine is None else run_qemu(made, inputs, machine)).outputs


def run(folder: str | Path, inputs: str | Path, outputs: str | Path, *, on: str = "host") -> int:
    """Run the program in `folder` on the input sets in the .npz file `inputs`, and write .npz `outputs`.

    Inputs are named as tensors or in0, in1, …; outputs out0, out1, …, stacked along a new first dimension (dropped when
    there is one set). Returns the number of sets.
    """
    made, path = read_build(folder), Path(outputs)
    check_folder(path.parent)
    sets = load_vectors(inputs, made.inputs)
    results = run_on(folder, sets, on)
    stacks = [np.stack([result[i] for result in results]) for i in range(len(made.outputs))]
    buffer = io.BytesIO()
    named: dict[str, Any] = {f"out{i}": stack[0] if len(sets) == 1 else stack for i, stack in enumerate(stacks)}
    np.savez(buffer, **named)
    write_files(path.parent, {path.name: buffer.getvalue()})
    return len(sets)
