"""A graph as bytes and back: what `tinygen verify` runs, on any machine, without the model file.

A zip (numpy's .npz) of the constants and one JSON text. The same graph gives the same bytes.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from typing import Any, get_type_hints

import numpy as np

from tinygen.errors import ModelError
from tinygen.ir.graph import Attrs, Graph, Node
from tinygen.ir.types import DType, Quant, TensorType

FORMAT = 1


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
    }
    text = json.dumps(description, default=_plain, ensure_ascii=False).encode()
    arrays = {f"constant{i}": value for i, value in enumerate(graph.constants.values())}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, graph=np.frombuffer(text, np.uint8), **arrays)
    return buffer.getvalue()


def loads(data: bytes, attrs_of: dict[str, type[Attrs]]) -> Graph:
    """The graph in `data`; `attrs_of` gives the attribute class of each operator. Raises `ModelError` if damaged."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            described = json.loads(archive["graph"].tobytes())
            constants = {name: archive[f"constant{i}"] for i, name in enumerate(described["constants"])}
        if described["format"] != FORMAT:
            raise ModelError(f"the stored graph has format {described['format']}, expected {FORMAT}: build it again")
        return Graph(
            name=described["name"],
            inputs=tuple(described["inputs"]),
            outputs=tuple(described["outputs"]),
            nodes=tuple(_node_in(node, attrs_of) for node in described["nodes"]),
            types={name: _type_in(t) for name, t in described["types"].items()},
            constants=constants,
        )
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError) as error:
        raise ModelError(f"the stored graph is damaged ({error}): build it again") from error


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


def _node_in(stored: dict[str, Any], attrs_of: dict[str, type[Attrs]]) -> Node:
    if stored["op"] not in attrs_of:
        raise ModelError(f"the stored graph has operator {stored['op']}, which this version does not know")
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
