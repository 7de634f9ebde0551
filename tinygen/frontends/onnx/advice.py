# SPDX-License-Identifier: Apache-2.0
"""What works in place of an ONNX operator that is not supported."""

from __future__ import annotations

_QUANTIZED = "the model is quantized already: pass the float model, or an int8 .tflite file"
_RECURRENT = "recurrent layers are not supported: use convolutions over time (TCN), or unroll the steps before export"

#: By ONNX operator.
ADVICE: dict[str, str] = {
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _RECURRENT),
    **dict.fromkeys(("If", "Loop", "Scan"), "control flow is not supported: export the model with fixed sizes"),
    "NonMaxSuppression": "give out boxes and scores, and select among them in your own code",
    "TopK": "give out the scores, and select among them in your own code",
    "ArgMax": "give out the scores, and compare them in your own code",
    "InstanceNormalization": "use BatchNormalization",
    "GroupNormalization": "use BatchNormalization or LayerNormalization",
    "Where": "conditions are not supported at run time",
    "Selu": "use Elu",
    "Celu": "use Elu",
    "Softplus": "use Relu or Gelu",
    "Mish": "use HardSwish",
    "Softsign": "use Tanh",
    "LpPool": "use AveragePool or MaxPool",
    "GridSample": "use Resize",
}


def is_quantized(op: str) -> bool:
    """Whether the operator belongs to a quantized model."""
    name = op.rpartition(".")[2]
    return name.startswith(("QLinear", "QGemm", "Quantize", "Dequantize", "DynamicQuantize")) or name.endswith(
        "Integer"
    )


def advice_for(op: str) -> str:
    """`: ` and what to do instead of `op`."""
    if is_quantized(op):
        return f": {_QUANTIZED}"
    if op in ADVICE:
        return f": {ADVICE[op]}"
    if "." in op:
        return ": export the model with operators of the default ONNX domain only"
    return ": say it with those of docs/operators.md"
