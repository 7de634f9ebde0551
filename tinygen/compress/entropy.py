# SPDX-License-Identifier: Apache-2.0
"""Entropy coding: asks for Huffman codes (D. Huffman, 1952) for the weights of layers where nothing else is as small.

The last step of Deep Compression (S. Han et al., 2016). No bit of any output changes, but unpacking takes time: so it
is asked for, layer by layer. What it saves depends on how unevenly values are distributed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from tinygen.compress.base import Evidence, Stage
from tinygen.compress.fitting.layerwise import layers_of
from tinygen.ir.graph import Graph, Node
from tinygen.kernels import kernels_for
from tinygen.kernels.base import AT_ANY_SPEED
from tinygen.ops import call_of
from tinygen.passes.base import Result, label
from tinygen.selection import Choice

FORM = "entropy"


@dataclass(frozen=True)
class Entropy:
    """Ask for the smallest form, slow or not, for layers where Huffman codes take less flash than every other form.

    Which kernels there are, and what else they cost, depends on the core: so `tinygen.selection` has the last word.
    """

    name: ClassVar[str] = "entropy"
    stage: ClassVar[Stage] = Stage.STORAGE

    def run(self, graph: Graph, evidence: Evidence) -> Result:
        """See `Technique`."""
        best = {node: _best(graph, node) for node in layers_of(graph)}
        worth = {node: (coded, plain) for node, (coded, plain) in best.items() if coded and coded.bytes < plain.bytes}
        declined = [f"{label(node)}: {_why(*pair)}" for node, pair in best.items() if node not in worth]
        saved = sum(plain.bytes - coded.bytes for coded, plain in worth.values())
        code = sum({coded.kernel.template: coded.kernel.code for coded, _ in worth.values()}.values())
        if worth and saved <= code:
            return Result(
                graph, (), (*declined, f"other layers would save {saved} bytes, less than the {code} of code")
            )
        done = [
            f"{label(node)}: {coded.bytes} bytes instead of {_words(plain)}" for node, (coded, plain) in worth.items()
        ]
        storage = {**graph.storage, **{node.inputs[1]: AT_ANY_SPEED for node in worth}}
        return Result(replace(graph, storage=storage), tuple(done), tuple(declined))


def _best(graph: Graph, node: Node) -> tuple[Choice | None, Choice]:
    """The smallest kernels for any core with weights of `node` coded, if there is one, and in another form."""
    call = call_of(graph, node)
    choices = sorted((Choice(k, call) for k in kernels_for(node.op) if not k.requires and k.takes(call)), key=_bytes)
    coded = next((c for c in choices if c.kernel.form == FORM), None)
    return coded, next(c for c in choices if c.kernel.form != FORM)


def _bytes(choice: Choice) -> int:
    return choice.bytes


def _words(choice: Choice) -> str:
    return f"{choice.bytes} ({choice.kernel.form})"


def _why(coded: Choice | None, plain: Choice) -> str:
    return f"{_words(plain)} is less than {coded.bytes} bytes coded" if coded else "its weights cannot be coded"


TECHNIQUE = Entropy
