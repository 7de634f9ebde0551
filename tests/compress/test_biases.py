# SPDX-License-Identifier: Apache-2.0
"""Biases that are rounded: by less than half a unit, in a form that kernels find to fit few bits."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compress.networks import network, samples
from tinygen.compress import Evidence, Setting
from tinygen.compress.biases import Biases
from tinygen.compress.recipe import of_content
from tinygen.errors import UsageError
from tinygen.kernels.base import NARROW
from tinygen.lower import lower
from tinygen.measure import weight_bytes
from tinygen.ops import call_of
from tinygen.ops.convolution import OPERANDS, bias_of
from tinygen.quantize.layers import is_layer
from tinygen.target import load_target

EVIDENCE = Evidence(samples(10))


@pytest.mark.parametrize(
    ("bits", "core", "kinds"),
    [
        (8, "cortex-m4", {"down": "int8"}),
        (8, "cortex-m55", {"mve_output": "int8"}),
        (16, "cortex-m4", {"down": "int16"}),
    ],
)
def test_what_is_stored(bits: int, core: str, kinds: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every bias takes so many bits, is off by at most half a unit, and nothing else changes."""
    monkeypatch.setattr("tinygen.narrow.CODE", 0)
    before, target = network(), load_target(core)
    result = Biases(Setting(bits)).run(before, EVIDENCE)
    layers = [node for node in before.nodes if is_layer(before, node)]
    assert len(result.done) == len(layers)
    for said, old, new in zip(
        result.done, layers, [n for n in result.graph.nodes if is_layer(result.graph, n)], strict=True
    ):
        assert result.graph.storage[new.inputs[OPERANDS[new.op].bias]] == NARROW
        off = np.abs(bias_of(call_of(before, old)) - bias_of(call_of(result.graph, new))).max()
        unit = int(said.split("units of ")[1].split(",")[0])
        assert off <= unit / 2 and np.array_equal(
            before.constants[old.inputs[1]], result.graph.constants[new.inputs[1]]
        )
    program, plain = lower(result.graph, target), lower(before, target)
    assert kinds.items() <= program.narrow.items()
    channels = sum(before.types[node.outputs[0]].shape[-1] for node in layers)
    assert weight_bytes(plain) - weight_bytes(program) <= channels * (4 - bits // 8)
    assert weight_bytes(plain) - weight_bytes(program) >= 0.8 * channels * (4 - bits // 8)


def test_layers_that_are_left_out_and_recipes() -> None:
    before = network()
    (technique,) = of_content({"technique": [{"name": "biases", "bits": 16, "layers": {"*": "none"}}]}, "x")
    assert technique.run(before, EVIDENCE).graph is before
    with pytest.raises(UsageError, match="biases of 12 bits are unknown; give 8 or 16"):
        Biases(Setting(12))
    with pytest.raises(UsageError, match="would undo what 'biases' did"):
        of_content({"technique": [{"name": "biases"}, {"name": "recover"}]}, "x")
