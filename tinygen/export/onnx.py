# SPDX-License-Identifier: Apache-2.0
"""Graph → ONNX file in QDQ form: float operators between QuantizeLinear and DequantizeLinear, per-channel weights.

Inputs and outputs are float32 in the graph's own layout. Operators on images are NCHW, as ONNX wants them; a tensor
stays in the order it was computed in until something needs another. `frontends/onnx` reads the same integers back, and
onnxruntime computes them within a step at each layer (it rounds halves to even, in float).
"""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from tinygen.errors import UnsupportedError
from tinygen.export import onnx_movement, onnx_operators  # noqa: F401  # they fill the registry
from tinygen.export.onnx_registry import emitters
from tinygen.export.onnx_writer import OPSET, Writer
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import DType

#: The version of the file format that belongs to the operator set.
IR_VERSION = 8
#: Operators that convert between float32 and integers; all others compute with int8 tensors.
_CONVERSIONS = frozenset({"DEQUANTIZE", "QUANTIZE"})
#: What to do instead of what has no ONNX form.
_ADVICE = {
    "ARG_MAX": "give out the scores, and compare them in your own code",
    "ARG_MIN": "give out the scores, and compare them in your own code",
    "LOOKUP": "export the model before its functions are folded to tables",
}


def dumps(graph: Graph) -> bytes:
    """`graph` (int8, before functions are folded to tables) as the content of an .onnx file.

    Raises `UnsupportedError`, naming the node, for what ONNX cannot say.
    """
    writer = Writer(graph)
    for node in graph.nodes:
        _check(graph, node)
        emitters()[node.op](writer, node)
    for name in graph.outputs:
        writer.finish(name)
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, graph.types[n].shape) for n in graph.inputs]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, graph.types[n].shape) for n in graph.outputs]
    made = helper.make_graph(writer.nodes, graph.name, inputs, outputs, writer.initializers)
    model = helper.make_model(
        made, producer_name="tinygen", ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _check(graph: Graph, node: Node) -> None:
    """Raise unless `node` can be written."""
    if node.op not in emitters():
        advice = _ADVICE.get(node.op, "export the model as .tflite, which has it")
        raise UnsupportedError(f"{node.op} '{node.name}' has no form among ONNX's quantized operators: {advice}")
    for name in (*node.inputs, *node.outputs):
        if not name or name in graph.constants:
            continue
        tensor = graph.types[name]
        quantized = tensor.dtype in (DType.INT8, DType.UINT8) and tensor.quant is not None
        if not quantized and not (tensor.dtype is DType.FLOAT32 and node.op in _CONVERSIONS):
            raise UnsupportedError(
                f"{node.op} '{node.name}' computes with {tensor} '{name}'; expected quantized int8, all that ONNX's "
                "QDQ form can say here: export the model as .tflite"
            )
