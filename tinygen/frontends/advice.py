# SPDX-License-Identifier: Apache-2.0
"""What works in place of a TFLite operator that is not supported."""

from __future__ import annotations

_RECURRENT = "unroll its steps before the conversion, or use convolutions over time (TCN)"
_CONTROL = "convert the model with fixed sizes and without loops and conditions"
_STATE = "make the state an input and an output, which the caller hands on"
_OWN_CODE = "end the model before it, and do that in your own code"

_ADVICE = {
    **dict.fromkeys(("LSTM", "RNN", "SVDF", "UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_RNN"), _RECURRENT),
    **dict.fromkeys(("UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM"), _RECURRENT),
    **dict.fromkeys(("WHILE", "IF", "CALL"), _CONTROL),
    **dict.fromkeys(("CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"), _STATE),
    **dict.fromkeys(("TOPK_V2", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "UNIQUE", "WHERE"), _OWN_CODE),
    **dict.fromkeys(("SELECT", "SELECT_V2"), "use MAXIMUM and MINIMUM, or a product with a mask"),
    "SQUARE": "use MUL of the tensor with itself",
    "DIV": "use MUL with the reciprocal",
    "REDUCE_PROD": "use LOG, SUM and EXP",
    "TILE": "use CONCATENATION of the tensor with itself",
    "BROADCAST_TO": "leave it out, since operators broadcast, or use CONCATENATION",
    "CONV_3D": "use CONV_2D on the dimensions one after the other",
    "LOCAL_RESPONSE_NORMALIZATION": "use batch normalization, which is folded into convolutions",
    "CUSTOM": "convert the model with TFLite's builtin operators only (TFLITE_BUILTINS, no SELECT_TF_OPS)",
}


def advice_for(op: str) -> str:
    """What to do instead of `op` (``CUSTOM(Name)`` for those without a builtin)."""
    return _ADVICE.get(op.partition("(")[0], "express it with the operators of that page before the conversion")
