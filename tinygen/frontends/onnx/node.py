# SPDX-License-Identifier: Apache-2.0
"""One ONNX node as the modules of this package see it, and how they refuse it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinygen.errors import UnsupportedError
from tinygen.ir.graph import ABSENT


@dataclass(frozen=True)
class OnnxNode:
    """`op` and `attributes` are ONNX's, `version` its operator set; inputs are tensors of the graph being built.

    Attributes are Python values: int, float, str, lists of them, numpy arrays for tensors.
    """

    name: str
    op: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def has(self, index: int) -> bool:
        """Whether optional input `index` is given."""
        return index < len(self.inputs) and self.inputs[index] != ABSENT

    def input(self, index: int) -> str:
        """Input `index`, which must be given."""
        if not self.has(index):
            raise ValueError(f"input {index} is absent")
        return self.inputs[index]

    def attr(self, name: str, default: Any) -> Any:
        """The attribute `name`, or `default` where it is not given."""
        return self.attributes.get(name, default)

    def refusal(self, reason: str) -> UnsupportedError:
        """The error that says why this node is refused, and what works."""
        return UnsupportedError(f"node '{self.name}' (ONNX {self.op}): {reason}")

    def need(self, condition: bool, reason: str) -> None:
        """Refuse the node for `reason` unless `condition` holds."""
        if not condition:
            raise self.refusal(reason)

    def single_output(self) -> None:
        """Refuse the node if any but its first output is used."""
        self.need(not any(self.outputs[1:]), "only its first output is supported: export it without the others")
