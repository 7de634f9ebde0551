# SPDX-License-Identifier: Apache-2.0
"""Curves in files beside a study: a search that goes on need not measure them again."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.errors import ModelError
from tinygen.files import write_files
from tinygen.ir import store
from tinygen.ir.graph import Graph
from tinygen.ops import all_ops
from tinygen.search.curves import Curves, Option, combined
from tinygen.search.ways import Way

#: What reading a file that is not there, or not whole, raises.
ABSENT = (OSError, ModelError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


def remembered(study: Path | None, graph: Graph, about: str, measure: Callable[[], Curves]) -> Curves:
    """The curves of `graph` out of the folder beside `study`, or what `measure` gives, which is kept there.

    `about` says what else than the graph and the study they depend on. A file that is damaged counts for nothing.
    """
    if study is None:
        return measure()
    key = hashlib.sha256(store.dumps(graph) + about.encode()).hexdigest()[:32]
    folder = beside(study)
    with suppress(*ABSENT):
        return loads((folder / f"{key}.npz").read_bytes(), graph)
    curves = measure()
    folder.mkdir(exist_ok=True)
    write_files(folder, {f"{key}.npz": dumps(graph, curves)})
    return curves


def beside(study: Path) -> Path:
    """The folder for the curves of the study in the file `study`."""
    return study.with_name(f"{study.name}.curves")


def dumps(graph: Graph, curves: Curves) -> bytes:
    """`curves` of `graph`: their numbers as JSON, and their weights as one graph of first options, one of second …."""
    said = {name: [[asdict(o.way), int(o.bytes), float(o.noise)] for o in some] for name, some in curves.items()}
    deepest = max(map(len, curves.values()), default=1)
    graphs = [combined(graph, [some[i] for some in curves.values() if i < len(some)]) for i in range(1, deepest)]
    arrays: dict[str, Any] = {str(i): np.frombuffer(store.dumps(g), np.uint8) for i, g in enumerate(graphs, start=1)}
    buffer = io.BytesIO()
    np.savez(buffer, curves=np.frombuffer(json.dumps(said).encode(), np.uint8), **arrays)
    return buffer.getvalue()


def loads(data: bytes, graph: Graph) -> Curves:
    """The curves of `graph` in `data`. Raises one of `ABSENT` if these are damaged."""
    attrs = {name: op.attrs for name, op in all_ops().items()}
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        said = json.loads(archive["curves"].tobytes())
        graphs = [graph, *(store.loads(archive[str(i)].tobytes(), attrs) for i in range(1, len(archive.files)))]
    outputs = {node.name: node.outputs for node in graph.nodes}
    return {
        name: [_option(graphs[i], outputs[name], *one) for i, one in enumerate(some)] for name, some in said.items()
    }


def _option(graph: Graph, outputs: tuple[str, ...], way: Mapping[str, Any], bytes_: int, noise: float) -> Option:
    """That of the layer with these `outputs` in `graph`."""
    node = next(node for node in graph.nodes if node.outputs == outputs)
    return Option.of(graph, node, Way(**way), bytes_, noise)
