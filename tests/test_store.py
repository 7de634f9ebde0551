# SPDX-License-Identifier: Apache-2.0
"""The .tgm file: every operator comes back as it was, and a damaged file is refused in one sentence."""

from __future__ import annotations

import io
import json
import random
import zipfile
from dataclasses import fields
from enum import Enum
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from tests import odd_models
from tests.laws import load
from tinygen.errors import ModelError
from tinygen.ir import store
from tinygen.ir.graph import Attrs, Graph, Node
from tinygen.ir.types import DType, Quant, TensorType
from tinygen.ops import all_ops

ATTRS = {name: op.attrs for name, op in all_ops().items()}
INT8 = TensorType((2, 3), DType.INT8, Quant.per_tensor(0.1, -3))


def unusual(hint: Any, index: int) -> Any:
    """A value of an attribute's type that is not its default."""
    if isinstance(hint, type) and issubclass(hint, Enum):
        return list(hint)[-1]
    if hint in (bool, int, float):
        return {bool: True, int: 7 + index, float: 0.1 + index}[hint]
    assert hint.__origin__ is tuple, hint
    sizes = [a for a in get_args(hint) if a is not Ellipsis]
    return tuple(unusual(part, index + i) for i, part in enumerate(sizes))


def graph_of(op: str, attrs: Attrs) -> Graph:
    """A graph of one node; no constraint is asked."""
    return Graph("m", ("x",), ("y",), (Node("n", op, ("x", "", "c"), ("y",), attrs),), TYPES, CONSTANTS)


PER_CHANNEL = TensorType((2, 1), DType.INT8, Quant((0.1, 1e-20), (0, 5), 0))
TYPES = {"x": INT8, "y": TensorType((), DType.FLOAT32), "c": PER_CHANNEL}
CONSTANTS = {"c": np.array([[1], [-128]], np.int8)}


def back(graph: Graph) -> Graph:
    return store.loads(store.dumps(graph), ATTRS)


@pytest.mark.parametrize("op", all_ops())
def test_every_operator_comes_back(op: str) -> None:
    hints = get_type_hints(ATTRS[op])
    attrs = ATTRS[op](**{f.name: unusual(hints[f.name], i) for i, f in enumerate(fields(ATTRS[op]))})
    graph = graph_of(op, attrs)
    (node,) = back(graph).nodes
    assert node == graph.nodes[0]
    for field in fields(attrs):
        assert type(getattr(node.attrs, field.name)) is type(getattr(attrs, field.name))


@pytest.mark.parametrize("name", odd_models.all_models())
def test_graphs_come_back(name: str) -> None:
    graph = load(odd_models.all_models()[name])
    again = back(graph)
    assert (again.name, again.inputs, again.outputs) == (graph.name, graph.inputs, graph.outputs)
    assert again.nodes == graph.nodes
    assert dict(again.types) == dict(graph.types)
    assert {n: v.tolist() for n, v in again.constants.items()} == {n: v.tolist() for n, v in graph.constants.items()}


def test_every_element_type_comes_back() -> None:
    for dtype in DType:
        value = np.array([0, 1], dtype.numpy)
        graph = Graph("m", (), ("c",), (), {"c": TensorType((2,), dtype)}, {"c": value})
        assert back(graph).constants["c"].tobytes() == value.tobytes()
        assert back(graph).constants["c"].dtype == value.dtype


def test_the_same_graph_gives_the_same_bytes() -> None:
    graph = load(odd_models.convolutions())
    assert store.dumps(graph) == store.dumps(load(odd_models.convolutions()))


def test_damaged_bytes() -> None:
    """Flipped bytes, cut ends: refused, or (where the zip format has slack) the same graph."""
    graph = graph_of("ELU", Attrs())
    data, rng = store.dumps(graph), random.Random(0)
    refused = 0
    for _ in range(400):
        broken = bytearray(data)
        broken[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        end = len(data) if rng.random() < 0.7 else rng.randrange(len(data))
        try:
            assert store.loads(bytes(broken[:end]), ATTRS).nodes == graph.nodes
        except ModelError as error:
            refused += 1
            assert "build it again" in str(error)
            assert str(error).isprintable()
    assert refused > 300


def described(**changes: Any) -> bytes:
    """A .tgm file whose JSON text has `changes`."""
    with np.load(io.BytesIO(store.dumps(graph_of("CONV_2D", ATTRS["CONV_2D"]())))) as archive:
        text = json.loads(archive["graph"].tobytes()) | changes
        arrays = {name: archive[name] for name in archive.files if name != "graph"}
    buffer = io.BytesIO()
    np.savez(buffer, graph=np.frombuffer(json.dumps(text).encode(), np.uint8), **arrays)
    return buffer.getvalue()


NODE = {"name": "n", "op": "CONV_2D", "inputs": ["x"], "outputs": ["y"], "attrs": {}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 99}, "format 99, expected 2"),
        ({"nodes": [NODE | {"op": "TELEPORT"}]}, "operator TELEPORT, which is unknown here"),
        ({"nodes": [NODE]}, "damaged"),
        ({"nodes": [{}]}, "damaged"),
        ({"nodes": 3}, "damaged"),
        ({"types": {}}, "has no type"),
        ({"types": {"x": [[1], "int7", None]}}, "damaged"),
        ({"types": {"x": [[1], "int8", [[], [], 0]]}}, "damaged"),
        ({"constants": ["c", "d"]}, "damaged"),
        ({"constants": ["x"]}, "constant 'x' is int8"),
        ({"outputs": ["z"]}, "has no type"),
    ],
)
def test_damaged_description(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        store.loads(described(**changes), ATTRS)


def test_not_an_archive() -> None:
    bare = io.BytesIO()
    np.save(bare, np.zeros(3))
    for data in (b"", b"PK", b"not a zip", bare.getvalue()):
        with pytest.raises(ModelError, match=r"damaged.*build it again"):
            store.loads(data, ATTRS)


def test_small_archive_that_unpacks_to_much() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(5):
            archive.writestr(f"constant{i}.npy", bytes(1 << 26))
    assert len(buffer.getvalue()) < 1 << 20
    with pytest.raises(ModelError, match="unpacks to more than"):
        store.loads(buffer.getvalue(), ATTRS)


def test_no_pickle() -> None:
    """A .tgm is data: objects, which numpy would unpickle, are refused."""
    buffer = io.BytesIO()
    np.savez(buffer, graph=np.array([{"format": 2}], object))
    with pytest.raises(ModelError, match="damaged"):
        store.loads(buffer.getvalue(), ATTRS)
