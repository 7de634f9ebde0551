# SPDX-License-Identifier: Apache-2.0
"""The text of the generated C: a golden example, and names and numbers that could break it."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import assert_equal, draw_inputs, load, run_c
from tests.strategies import MANY
from tests.tflite_builder import ModelBuilder
from tinygen import api
from tinygen.emit import render
from tinygen.emit.comments import listed, plain
from tinygen.emit.text import WIDTH, constant_text, field_texts, float_literal, literal
from tinygen.errors import UsageError
from tinygen.ir.graph import Attrs, Graph, Node
from tinygen.ir.program import Constant
from tinygen.ir.types import DType, TensorType
from tinygen.lower import lower
from tinygen.ops import Call, all_ops
from tinygen.passes import LOSSLESS, run_passes
from tinygen.plan.arena import plan
from tinygen.reference import run
from tinygen.target import load_target
from tinygen.toolchain import CFLAGS

GOLDEN = Path(__file__).parent / "golden"
WARNED = (*CFLAGS, "-Wtrigraphs", "-Wcomment", "-Werror")
Q = ("int8", 0.1, -5)


def dense() -> Graph:
    """FULLY_CONNECTED from 3 to 2 values, with bias, and RELU."""
    b = ModelBuilder()
    x = b.tensor((1, 3), "int8", 0.5, 1, name="x")
    w = b.tensor((2, 3), "int8", 0.25, 0, [[1, -2, 3], [-128, 0, 127]])
    bias = b.tensor((2,), "int32", 0.125, 0, [100, -(2**20)])
    y, z = b.tensor((1, 2), "int8", 2.0, -3, name="dense"), b.tensor((1, 2), "int8", 2.0, -3, name="y")
    b.op("FULLY_CONNECTED", [x, w, bias], [y], "FullyConnectedOptions")
    b.op("RELU", [y], [z])
    return load(b.finish([x], [z]), "dense")


# --- Golden files -------------------------------------------------------------------------------------------------


def test_golden(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole output for a tiny network, so that a review shows what a change does to generated code.

    If the change is meant: `UPDATE_GOLDEN=1 pytest tests/test_emit.py`, and look at the difference.
    """
    monkeypatch.setattr(render, "VERSION", "1.2.3")
    graph, _ = run_passes(dense(), LOSSLESS)
    program = lower(graph, load_target("cortex-m4"))
    files = render.emit(program, plan(program), ["tinygen build dense.tflite --target cortex-m4"])
    for name, text in files.items():
        if os.environ.get("UPDATE_GOLDEN"):
            (GOLDEN / name).write_text(text, encoding="utf-8")
        assert text == (GOLDEN / name).read_text(encoding="utf-8"), (
            f"tests/golden/{name} is another: UPDATE_GOLDEN=1 pytest {__file__}"
        )


# --- Names --------------------------------------------------------------------------------------------------------

NASTY = (
    "*/ int evil(void) { return 1; } /*",
    "// \\",
    "line\nbreak\r\n#error",
    "什么 \N{BLACK HEART SUIT} é",
    "??/",
    '"%s%n" \' {{ p }} {% raw %}',
    "\\",
    "/*",
    "\x00\x1b[31m",
    "a;b:scratch0",
    "REGEX.*[/x]",
    "",
)


def named(graph: Graph, name: str) -> Graph:
    """`graph` with every tensor and node called `name`, and a number."""
    tensors = {old: f"{name}{i}" for i, old in enumerate(graph.types)}
    nodes = tuple(
        Node(name, n.op, tuple(tensors.get(i, "") for i in n.inputs), tuple(tensors[o] for o in n.outputs), n.attrs)
        for n in graph.nodes
    )
    return Graph(
        graph.name,
        tuple(tensors[n] for n in graph.inputs),
        tuple(tensors[n] for n in graph.outputs),
        nodes,
        {tensors[n]: t for n, t in graph.types.items()},
        {tensors[n]: c for n, c in graph.constants.items()},
    )


def test_no_name_breaks_the_code() -> None:
    graphs = [named(dense(), name) for name in NASTY]
    sets = [draw_inputs(graph, seed=0, count=1) for graph in graphs]
    for graph, inputs, answers in zip(graphs, sets, run_c(graphs, sets), strict=True):
        assert_equal(graph.outputs[0], answers[0], run(graph, inputs[0]))


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_no_name_makes_a_warning(compiler: str, tmp_path: Path) -> None:
    for index, name in enumerate(NASTY):
        graph = replace(named(dense(), name), name=f"m{index}")
        program = lower(graph, load_target("host"))
        for file, text in render.emit(program, plan(program), [name, f"tinygen build {name}"]).items():
            assert text.isascii() and "??" not in text and not any(line.endswith("\\") for line in text.splitlines())
            (tmp_path / file).write_text(text, encoding="utf-8")
    sources = sorted(str(p) for p in tmp_path.glob("*.c"))
    subprocess.run([compiler, *WARNED, "-fsyntax-only", *sources], check=True)


@MANY
@given(st.text())
def test_comments_stay_comments(text: str) -> None:
    shown = plain(text)
    assert shown.isascii() and shown.isprintable() and len(shown) <= 2 * len(text)
    assert not any(bad in shown for bad in ("*", "\\", "?", '"'))


def test_a_file_name_may_be_nasty(tmp_path: Path) -> None:
    b = ModelBuilder()
    x, y = b.tensor((1, 4), *Q), b.tensor((1, 4), *Q)
    b.op("ELU", [x], [y])
    path = tmp_path / "*!2nd model's {{ copy }}.tflite"
    path.write_bytes(b.finish([x], [y]))
    made = api.build(path, "host")
    assert made.name == "model_2nd_model_s_copy"
    folder = made.write(tmp_path / "out")
    subprocess.run(["gcc", *WARNED, "-fsyntax-only", f"{folder}/{made.name}.c"], check=True)


@pytest.mark.parametrize(
    "stem, name",
    [
        ("kws", "kws"),
        ("KWS-v2.1", "kws_v2_1"),
        ("2nd", "model_2nd"),
        ("", "model"),
        ("*", "model"),
        ("_x_", "x"),
        ("string", "model_string"),
        ("STDINT", "model_stdint"),
        ("x" * 90, "x" * 40),
        ("7" * 90, "model_" + "7" * 35),
        ("int", "int"),
    ],
)
def test_names_are_made_from_file_names(stem: str, name: str) -> None:
    assert api.symbol(stem, given=False) == name
    assert api.symbol(name, given=True) == name


@pytest.mark.parametrize("name", ["2nd", "a-b", "", "a b", "é", "x" * 42, "_x", "string", "Math", "a.b", "a/b", "a\n"])
def test_names_that_are_given_must_be_good(name: str) -> None:
    with pytest.raises(UsageError, match="--name"):
        api.symbol(name, given=True)


def test_c_keywords_are_good_prefixes(tmp_path: Path) -> None:
    for name in ("int", "for", "main", "run", "a", "k", "r0", "register", "class", "uint8", "INT", "size_t", "memcpy"):
        folder = api.build(dense(), "host", name=name).write(tmp_path / name)
        subprocess.run(["gcc", *WARNED, "-fsyntax-only", f"{folder}/{name}.c"], check=True)


# --- Numbers ------------------------------------------------------------------------------------------------------


def bits_of(floats: np.ndarray[tuple[int], np.dtype[np.float32]]) -> list[int]:
    return [int(v) for v in floats.view(np.uint32)]


def test_numbers_come_back_from_the_compiler(tmp_path: Path) -> None:
    """Every literal, compiled and read back, has the bits it was made from."""
    rng = np.random.default_rng(0)
    floats = rng.integers(0, 2**32, 3000, dtype=np.uint32).view(np.float32)
    extremes = [0.0, -0.0, 1.0, 1e-45, -1e-45, 1.1754944e-38, 3.4028235e38, np.inf, -np.inf, 16777216.0, 0.1, 1e10]
    floats = np.concatenate([floats[~np.isnan(floats)], np.array(extremes, np.float32)])
    arrays = {
        "f": floats,
        "d": np.array([0.1, -1e-300, 5e-324, 1.7976931348623157e308, -0.0]),
        "b": np.array([-128, 127, 0], np.int8),
        "u": np.array([0, 255], np.uint8),
        "h": np.array([-(2**15), 2**15 - 1], np.int16),
        "i": np.array([-(2**31), 2**31 - 1, -1, 0], np.int32),
        "l": np.array([-(2**63), 2**63 - 1, -(2**31) - 1, 2**31, -(2**31)], np.int64),
        "t": np.array([True, False]),
    }
    texts = [constant_text(Constant(name, values)) for name, values in arrays.items()]
    assert all(len(line) <= WIDTH + 2 for t in texts for line in t.text.splitlines())
    lines = ["#include <stdint.h>", "#include <stdio.h>"]
    lines += [f"static const {t.ctype} {t.name}[{t.length}] = {{\n{t.text}\n}};" for t in texts]
    lines += ["int main(void) {", *(f"fwrite({t.name}, sizeof {t.name}, 1, stdout);" for t in texts), "return 0; }\n"]
    (tmp_path / "t.c").write_text("\n".join(lines))
    subprocess.run(["gcc", *WARNED, "t.c", "-o", "t"], cwd=tmp_path, check=True)
    printed = subprocess.run([tmp_path / "t"], check=True, capture_output=True).stdout
    assert printed == b"".join(values.tobytes() for values in arrays.values())
    subprocess.run(["clang", *WARNED, "-fsyntax-only", "t.c"], cwd=tmp_path, check=True)


def test_literals() -> None:
    assert [literal(v) for v in (0, -1, 2**31 - 1, -(2**31))] == ["0", "-1", "2147483647", "INT32_MIN"]
    assert [literal(v) for v in (2**31, -(2**63))] == ["INT64_C(2147483648)", "INT64_MIN"]
    assert [float_literal(v) for v in (1, 0.1, 1e-45, -0.0, 1e16)] == ["1.0f", "0.1f", "1e-45f", "-0.0f", "1e+16f"]


def test_fields_of_every_kind() -> None:
    fields = {"n": 3, "m": np.int64(-5), "x": 0.5, "y": np.float32(0.1), "yes": True, "w": "c7"}
    values = {f.name: f.value for f in field_texts("kws_", fields)}
    assert values == {"n": "3", "m": "-5", "x": "0.5f", "y": "0.1f", "yes": "1", "w": "kws_c7"}


def test_comments_tell_which_steps_need_what() -> None:
    b = ModelBuilder()
    first, middle, last, result = (b.tensor((2, 3), "int8", 0.1, -7) for _ in range(4))
    b.op("ELU", [first], [middle])
    b.op("MAXIMUM", [middle, b.tensor((3,), "int8", 0.1, -7, np.array([1, 2, 3]))], [last])
    b.op("ELU", [last], [result])
    text = api.build(load(b.finish([first], [result])), "host", name="m").files["m.c"].decode()
    assert re.findall(r"m_c\d+\[\d+\].*/\* (.*) \*/", text) == ["table of step 0, step 2", "input of step 1"]
    assert re.findall(r"m_p\d+ = .*/\* (.*) \*/", text) == ["step 0", "step 1", "step 2"]
    assert re.findall(r"/\* Step (\d), (\w+)", text) == [("0", "ELU"), ("1", "MAXIMUM"), ("2", "ELU")]


def test_long_lists_are_cut() -> None:
    assert listed(["a", "b", "a"]) == "a, b"
    assert listed(list("abcdef")) == "a, b, c, d and 2 more"


# --- The header ---------------------------------------------------------------------------------------------------


def test_the_header_tells_ports_and_sizes(tmp_path: Path) -> None:
    b = ModelBuilder()
    x, u = b.tensor((2, 3), "int8", 0.1, -7), b.tensor((4,), "float32")
    y, v = b.tensor((2, 3), "int8", 1e-3, 5), b.tensor((4,), "int8", 0.3, 0)
    b.op("ELU", [x], [y])
    b.op("QUANTIZE", [u], [v])
    api.build(load(b.finish([x, u], [y, v])), "host", name="two").write(tmp_path)
    (tmp_path / "use.c").write_text("""
#include "two.h"
#include "two.h"
#define CHECK(name, condition) typedef char name[(condition) ? 1 : -1]
CHECK(counts, TWO_INPUT_COUNT == 2 && TWO_OUTPUT_COUNT == 2);
CHECK(sizes, TWO_INPUT_SIZE == 6 && TWO_INPUT_0_SIZE == 6 && TWO_INPUT_1_SIZE == 4 && TWO_OUTPUT_1_SIZE == 4);
CHECK(bytes, TWO_INPUT_0_BYTES == 6 && TWO_INPUT_1_BYTES == 16 && TWO_OUTPUT_BYTES == 6 && TWO_OUTPUT_1_BYTES == 4);
CHECK(zeros, TWO_INPUT_ZERO_POINT == -7 && TWO_OUTPUT_0_ZERO_POINT == 5 && TWO_OUTPUT_1_ZERO_POINT == 0);
CHECK(arena_size, sizeof(two_arena_t) == TWO_ARENA_BYTES);
#ifdef TWO_INPUT_1_SCALE
#error "floats have no scale"
#endif
int main(void)
{
    static two_arena_t arena;
    int8_t *in = two_input(&arena);
    float *floats = two_input_1(&arena);
    in[5] = 1;
    floats[3] = 1.0f;
    two_run(&arena);
    const int8_t *out = two_output(&arena), *second = two_output_1(&arena);
    return 1 -TWO_INPUT_ZERO_POINT == 8 && in == two_input_0(&arena) && out == two_output_0(&arena) && second[3] == 3
        && TWO_INPUT_SCALE == 0.1f && TWO_OUTPUT_0_SCALE == 1e-3f ? 0 : 1;
}
""")
    subprocess.run(["gcc", *WARNED, "use.c", "two.c", "-o", "use"], cwd=tmp_path, check=True)
    subprocess.run([tmp_path / "use"], check=True)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("scale, zero_point", [(0.1, -7), (1e-3, 127), (3.7, -128), (1e-20, 0)])
def test_the_header_converts_as_the_operators_do(tmp_path: Path, scale: float, zero_point: int, compiler: str) -> None:
    b = ModelBuilder()
    x, y = b.tensor((4,), "int8", scale, zero_point), b.tensor((4,), "int8", scale, zero_point)
    b.op("ELU", [x], [y])
    graph = load(b.finish([x], [y]))
    api.build(graph, "host", name="net").write(tmp_path)
    (tmp_path / "use.c").write_text("""
#include "net.h"
#include <stdio.h>
int main(void)
{
    float x;
    while (fread(&x, sizeof x, 1, stdin) == 1) {
        const int8_t q = net_input_quantize(x);
        const float back = net_output_0_dequantize(net_input_0_quantize(x));
        fwrite(&q, 1, 1, stdout);
        fwrite(&back, sizeof back, 1, stdout);
    }
    return 0;
}
""")
    sanitize = ["-fsanitize=undefined", "-fno-sanitize-recover=all"] if compiler == "gcc" else []
    command = [compiler, *WARNED, *sanitize, "use.c", "net.c", "-o", "use"]
    subprocess.run(command, cwd=tmp_path, check=True)
    halves = (np.arange(-300, 300) / 2).astype(np.float32) * np.float32(scale)
    odd = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0, -0.0], np.float32)
    values = np.concatenate(
        [halves, np.nextafter(halves, np.float32(np.inf)), np.nextafter(halves, -np.float32(1)), odd]
    )
    printed = subprocess.run([tmp_path / "use"], input=values.tobytes(), check=True, capture_output=True).stdout
    got = np.frombuffer(printed, np.dtype([("q", np.int8), ("back", np.float32)]))
    source, target = TensorType(values.shape, DType.FLOAT32), TensorType(values.shape, DType.INT8, graph.types["t0"].q)
    quantize, dequantize = (
        Call("n", op, Attrs(), (a,), (b,), (None,))
        for op, a, b in (("QUANTIZE", source, target), ("DEQUANTIZE", target, source))
    )
    (q,) = all_ops()["QUANTIZE"].reference(quantize, [values])
    assert np.array_equal(got["q"], q)
    assert np.array_equal(got["back"], all_ops()["DEQUANTIZE"].reference(dequantize, [q])[0])
