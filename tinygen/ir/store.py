# SPDX-License-Identifier: Apache-2.0
"""A graph as bytes and back: what `tinygen verify` runs, on any machine, without the model file.

A zip (numpy's .npz) of the constants and one JSON text. The same graph gives the same bytes.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from typing import Any, get_type_hints

import numpy as np

from tinygen.errors import ModelError, TinygenError
from tinygen.ir.graph import Attrs, Graph, Node
from tinygen.ir.types import Array, DType, Quant, TensorType

FORMAT = 2
#: More than all constants of any model for a microcontroller, in bytes: a small archive can unpack to anything.
MAX_BYTES = 1 << 28


def dumps(graph: Graph) -> bytes:
    """`graph` as the content of a ``.tgm`` file."""
    description = {
        "format": FORMAT,
        "name": graph.name,
        "inputs": graph.inputs,
        "outputs": graph.outputs,
        "nodes": [_node_out(node) for node in graph.nodes],
        "types": {name: _type_out(t) for name, t in graph.types.items()},
        "constants": list(graph.constants),
        "storage": dict(graph.storage),
    }
    text = json.dumps(description, default=_plain, ensure_ascii=False).encode()
    arrays: dict[str, Any] = {f"constant{i}": value for i, value in enumerate(graph.constants.values())}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, graph=np.frombuffer(text, np.uint8), **arrays)
    return buffer.getvalue()


def loads(data: bytes, attrs_of: Mapping[str, type[Attrs]]) -> Graph:
    """The graph in `data`; `attrs_of` gives the attribute class of each operator. Raises `ModelError` if damaged."""
    try:
        described, constants = _unpacked(data)
        return Graph(
            name=described["name"],
            inputs=tuple(described["inputs"]),
            outputs=tuple(described["outputs"]),
            nodes=tuple(_node_in(node, attrs_of) for node in described["nodes"]),
            types={name: _type_in(t) for name, t in described["types"].items()},
            constants=constants,
            storage=described["storage"],
        )
    except TinygenError:
        raise
    except Exception as error:  # zipfile, zlib, numpy and json each have their own
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(f"the stored graph is damaged ({detail}): build it again") from error


def _unpacked(data: bytes) -> tuple[dict[str, Any], dict[str, Array]]:
    """The JSON text's content, and the constants by tensor name."""
    with zipfile.ZipFile(io.BytesIO(data)) as files:
        if sum(file.file_size for file in files.infolist()) > MAX_BYTES:
            raise ModelError(f"the stored graph unpacks to more than {MAX_BYTES} bytes: build it again")
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        described = json.loads(archive["graph"].tobytes())
        if described["format"] != FORMAT:
            raise ModelError(f"the stored graph has format {described['format']}, expected {FORMAT}: build it again")
        return described, {name: archive[f"constant{i}"] for i, name in enumerate(described["constants"])}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _node_out(node: Node) -> dict[str, Any]:
    assert is_dataclass(node.attrs)
    return {
        "name": node.name,
        "op": node.op,
        "inputs": node.inputs,
        "outputs": node.outputs,
        "attrs": asdict(node.attrs),
    }


def _node_in(stored: dict[str, Any], attrs_of: Mapping[str, type[Attrs]]) -> Node:
    if stored["op"] not in attrs_of:
        raise ModelError(f"the stored graph has operator {stored['op']}, which is unknown here: build it again")
    kind = attrs_of[stored["op"]]
    hints = get_type_hints(kind)
    values = {f.name: _value_in(hints[f.name], stored["attrs"][f.name]) for f in fields(kind)}
    return Node(stored["name"], stored["op"], tuple(stored["inputs"]), tuple(stored["outputs"]), kind(**values))


def _value_in(hint: Any, value: Any) -> Any:
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    return tuple(value) if isinstance(value, list) else value


def _type_out(t: TensorType) -> list[Any]:
    quant = [t.quant.scales, t.quant.zero_points, t.quant.axis] if t.quant else None
    return [t.shape, t.dtype.value, quant]


def _type_in(stored: list[Any]) -> TensorType:
    shape, dtype, quant = stored
    return TensorType(tuple(shape), DType(dtype), Quant(tuple(quant[0]), tuple(quant[1]), quant[2]) if quant else None)
