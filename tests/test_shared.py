"""Several models in one firmware: one arena, one copy of what they have in common, and the outputs of each by itself."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.laws import assert_equal, draw_inputs, run_texts
from tests.stripe_models import network
from tinygen.emit.shared import emit_shared
from tinygen.layout import laid_out
from tinygen.lower import Optimize
from tinygen.reference import run
from tinygen.target import load_target

HOST = load_target("host")


@pytest.mark.parametrize("optimize", ["balanced", "ram"])
def test_shared_models_compute_what_they_compute_alone(optimize: Optimize) -> None:
    """Each pair is one C file, whose models run one after the other in one process; also layers that run by rows."""
    graphs = [replace(network(seed), name=f"m{seed}") for seed in range(8)]
    texts = []
    for first in range(0, len(graphs), 2):
        parts = [laid_out(graph, HOST, optimize)[1:] for graph in graphs[first : first + 2]]
        files = dict(emit_shared(f"pair{first}", parts, ["test"]))
        files[f"m{first}.c"] = files.pop(f"pair{first}.c")
        texts += [files, {f"m{first + 1}.c": ""}]
    sets = [draw_inputs(graph, 0) for graph in graphs]
    texts = [{name: text or "typedef int nothing;\n" for name, text in files.items()} for files in texts]
    for graph, some, answers in zip(graphs, sets, run_texts(graphs, texts, sets), strict=True):
        for inputs, got in zip(some, answers, strict=True):
            assert_equal("in one firmware", got, run(graph, inputs))


def test_nothing_is_there_twice() -> None:
    """A model beside itself adds a function and no constants, no kernel and no bytes of arena."""
    graph = network(3)
    parts = [laid_out(replace(graph, name=name), HOST, "balanced")[1:] for name in ("one", "two")]
    alone, both = emit_shared("x", parts[:1], []), emit_shared("x", parts, [])
    definitions = r"^static const \w+ x_c\d+|^typedef struct|^static X_NOINLINE void x_call_\d+"
    assert re.findall(definitions, both["x.c"], re.M) == re.findall(definitions, alone["x.c"], re.M)
    assert re.findall("ARENA_BYTES (.*)", both["x.h"]) == [str(max(plan.bytes for _, plan in parts))]
    assert {"one.h", "two.h"} <= both.keys()
