# SPDX-License-Identifier: Apache-2.0
"""Storage forms: what lies in flash read back independently, which form is chosen, and all of them on Cortex-M."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.convolutions import Spatial
from tests.forms import DRAWS, network, stored
from tests.laws import assert_equal, draw_inputs, load
from tests.operators import test_conv_2d, test_fully_connected
from tests.strategies import MANY
from tests.tflite_builder import ModelBuilder
from tinygen import api
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array
from tinygen.kernels import codebook, entropy, huffman, indices, packed
from tinygen.kernels.base import FORMS as ALL_FORMS
from tinygen.kernels.base import PLAIN, SMALLEST
from tinygen.lower import lower
from tinygen.plan.arena import plan
from tinygen.reference import run
from tinygen.selection import Optimize, select
from tinygen.target import load_target
from tinygen.verify.build_dir import read_build
from tinygen.verify.qemu import run_qemu

M4 = load_target("cortex-m4")
FORMS = {"codebook": codebook.FORM, "packed": packed.FORM, "entropy": entropy.FORM}


# --- What lies in flash, read by decoders that share nothing with the packing ---------------------------------------


def numbers(fields: Mapping[str, Any], count: int) -> Iterator[int]:
    """Numbers of a fixed width, or digits in bytes, out of ``indices_t``."""
    data = fields["indices.bytes"].tobytes()
    if fields["indices.digits"]:
        base, digits = fields["indices.base"], fields["indices.digits"]
        yield from [byte // base**i % base for byte in data for i in range(digits)][:count]
    else:
        width, whole = fields["indices.bits"], int.from_bytes(data, "little")
        yield from (whole >> i * width & (1 << width) - 1 for i in range(count))


def read_codebook(fields: Mapping[str, Any], shape: tuple[int, int]) -> list[int]:
    channels = [i // shape[1] for i in range(shape[0] * shape[1])]
    tables = fields["tables"].reshape(-1, fields["levels"])
    return [int(tables[c // fields["group"]][n]) for c, n in zip(channels, numbers(fields, len(channels)), strict=True)]


def read_packed(fields: Mapping[str, Any], shape: tuple[int, int]) -> list[int]:
    groups = [i // shape[1] // fields["group"] for i in range(shape[0] * shape[1])]
    low, step = fields["low"].tolist(), fields["step"].tolist()
    return [low[g] + n * step[g] for g, n in zip(groups, numbers(fields, len(groups)), strict=True)]


def dictionary(counts: Array, symbols: Array, shortest: int) -> dict[str, int]:
    """The words of a canonical code, as strings of bits: of each length the words after those that are taken."""
    words, word, order = {}, 0, iter(symbols.tolist())
    for length, count in enumerate(counts.tolist(), start=shortest):
        word <<= 1
        for _ in range(count):
            words[f"{word:0{length}b}"] = next(order)
            word += 1
    return words


def read_entropy(fields: Mapping[str, Any], shape: tuple[int, int]) -> list[int]:
    bits = "".join(f"{byte:08b}" for byte in fields["bytes"].tolist())
    place = 0

    def symbol(which: str) -> int:
        nonlocal place
        words, end = dictionary(*(fields[f"{which}.{name}"] for name in ("counts", "symbols", "shortest"))), place + 1
        while bits[place:end] not in words:
            end += 1
            assert end <= len(bits), "no such word"
        found, place = words[bits[place:end]], end
        return found

    weights = list[int]()
    while len(weights) < shape[0] * shape[1]:
        if fields["longest"]:
            length = symbol("runs")
            weights += [fields["common"]] * length
            if length == fields["longest"]:
                continue
        weights.append(symbol("values"))
    assert len(bits) - place < 8 * (entropy.TAIL + 1), "nothing is left but the tail"
    return weights[: shape[0] * shape[1]]  # the last run may go on behind the end


READERS: dict[str, Callable[[Mapping[str, Any], tuple[int, int]], list[int]]] = {
    "codebook": read_codebook,
    "packed": read_packed,
    "entropy": read_entropy,
}


@pytest.mark.parametrize("form", FORMS)
@MANY
@given(shape=st.tuples(st.integers(1, 20), st.integers(1, 40)), seed=st.integers(0, 2**32))
def test_packing_loses_nothing(form: str, shape: tuple[int, int], seed: int) -> None:
    rows = DRAWS[form](np.random.default_rng(seed), shape)
    fields = FORMS[form].pack(rows)
    assert fields is not None
    assert READERS[form](fields, shape) == rows.ravel().tolist()


def size(fields: Any) -> int:
    return sum(value.nbytes for value in fields.values() if isinstance(value, np.ndarray))


def test_bytes_are_those_of_the_formulas() -> None:
    """4 bits and a table; 1.6 bits for ternary weights; tables for groups of channels where those have their own."""
    rng = np.random.default_rng(0)
    sixteen = rng.permutation(np.arange(-128, 128))[:16][rng.integers(0, 16, (32, 90))].astype(np.int8)
    assert size(codebook.pack(sixteen)) == 32 * 90 // 2 + 16
    ternary = rng.integers(-1, 2, (32, 90)).astype(np.int8) * np.int8(9)
    assert size(packed.pack(ternary)) == 32 * 90 // 5 + 2
    grouped = np.concatenate([rng.permutation(np.arange(-128, 128))[:4][rng.integers(0, 4, (8, 90))] for _ in range(4)])
    assert size(codebook.pack(grouped.astype(np.int8))) == 32 * 90 // 4 + 4 * 4
    per_channel = (rng.integers(-8, 8, (32, 90)) * rng.permutation(np.arange(1, 33) % 15 + 1)[:, None]).astype(np.int8)
    assert size(packed.pack(per_channel)) == 32 * 90 // 2 + 2 * 32


def test_what_does_not_fit_is_not_packed() -> None:
    rows = np.arange(-128, 128).astype(np.int8)[None]
    assert codebook.pack(rows) is None and packed.pack(rows) is None and entropy.pack(rows) is None
    assert codebook.pack(rows[:, :64]) and not codebook.pack(rows[:, :65])
    assert packed.pack(rows[:, :32]) and not packed.pack(rows[:, :33])


@pytest.mark.parametrize("levels", range(1, 65))
def test_numbers_take_the_least_of_bits_and_digits(levels: int) -> None:
    drawn = np.random.default_rng(levels).integers(0, levels, 1000)
    made = {f"indices.{name}": value for name, value in indices.pack(drawn, levels).items()}
    assert list(numbers(made, 1000)) == drawn.tolist()
    digits = next(d for d in range(8, 0, -1) if levels**d <= 256)
    bits = -(-1000 * max(1, (levels - 1).bit_length()) // 8)
    assert made["indices.bytes"].nbytes == indices.stream_bytes(levels, 1000) == min(-(-1000 // digits), bits)


# --- Huffman codes --------------------------------------------------------------------------------------------------


def huffman_bits(counts: list[int]) -> int:
    """Bits of the best code without a limit: each merge of the two rarest costs a bit for all that is under it."""
    heap, total = sorted(counts), 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total


@MANY
@given(st.lists(st.integers(1, 5000), min_size=2, max_size=200))
def test_codes_are_the_shortest(counts: list[int]) -> None:
    code = huffman.code_of(np.arange(len(counts)), np.array(counts))
    assert sum(2.0**-n for n in code.lengths) == 1
    spent = sum(counts[s] * n for s, n in zip(code.symbols, code.lengths, strict=True))
    assert spent == huffman_bits(counts) if code.lengths.max() < huffman.LIMIT else spent >= huffman_bits(counts)


def test_no_word_is_longer_than_the_limit() -> None:
    """Counts like Fibonacci's numbers would give words of up to 29 bits."""
    counts = [1, 1]
    while len(counts) < 30:
        counts.append(counts[-1] + counts[-2])
    lengths = huffman.lengths_of(np.array(counts))
    assert lengths.max() == huffman.LIMIT and sum(2.0**-n for n in lengths.tolist()) == 1


def test_sparse_weights_come_near_their_entropy() -> None:
    """Of zero-order entropy; zeros, which are nine in ten, cost far less than a bit."""
    rng = np.random.default_rng(0)
    values = rng.normal(0, 30, (64, 576)).round().clip(-60, 60) // 8 * 8
    rows = np.where(rng.random(values.shape) < 0.9, 0, values).astype(np.int8)
    _, counts = np.unique(rows, return_counts=True)
    share = counts / rows.size
    least = -(counts * np.log2(share)).sum() / 8
    assert least < size(entropy.pack(rows)) < 1.03 * least + 64 < 0.16 * rows.size


# --- Which is chosen ------------------------------------------------------------------------------------------------


def dense(weights: Array, storage: str | None = None) -> Graph:
    """FULLY_CONNECTED of one row with these weights [units, depth]."""
    graph = load(test_fully_connected.simple((1, weights.shape[1]), weights.shape, value=1))
    name = graph.nodes[0].inputs[1]
    storing = {name: storage} if storage else {}
    return replace(graph, constants={**graph.constants, name: weights.astype(np.int8)}, storage=storing)


def chosen(graph: Graph, optimize: Optimize = "balanced", core: str = "cortex-m3") -> str:
    (choice,) = select(graph, load_target(core), optimize).values()
    return choice.kernel.form


def drawn(levels: list[int], shape: tuple[int, int] = (64, 64)) -> Array:
    return np.random.default_rng(0).choice(levels, shape)


ODD = [-100, -97, -50, -31, 0, 2, 3, 40, 41, 77, 90, 99, 101, 102, 120, 127]


def test_a_form_is_chosen_where_it_pays() -> None:
    rng = np.random.default_rng(0)
    assert chosen(dense(drawn(ODD))) == "codebook"
    assert chosen(dense(drawn(list(range(-8, 8))) * rng.integers(1, 15, (64, 1)))) == "packed"
    assert chosen(dense(rng.integers(-128, 128, (64, 64)))) == PLAIN, "there is no structure"
    small = dense(drawn(ODD[:4], (2, 60)))
    assert chosen(small) == chosen(small, "size") == PLAIN, "the code is larger than what it saves"
    assert chosen(dense(drawn(ODD[:4], (6, 100)))) == "codebook"


def test_whoever_asks_for_the_smallest_gets_it() -> None:
    """Also where little is saved."""
    many = drawn([*range(0, 126, 3), *range(-127, -64, 3)])
    assert chosen(dense(many)) == chosen(dense(many, SMALLEST), "speed") == PLAIN
    assert chosen(dense(many, SMALLEST)) == chosen(dense(many), "size") == "codebook"
    assert chosen(dense(np.random.default_rng(0).integers(-128, 128, (64, 64)), SMALLEST)) == PLAIN


def test_entropy_is_chosen_only_for_size_or_where_it_is_asked_for() -> None:
    peaked = np.random.default_rng(0).normal(0, 0.5, (64, 64)).round() * 7
    assert chosen(dense(peaked)) != "entropy" and chosen(dense(peaked), "speed") != "entropy"
    assert chosen(dense(peaked), "size") == chosen(dense(peaked, "entropy")) == "entropy"


@pytest.mark.parametrize("optimize", ["speed", "size", "ram", "balanced"])
@pytest.mark.parametrize("form", [*FORMS, PLAIN])
def test_storage_decides(form: str, optimize: Optimize) -> None:
    """Even where it does not pay; where the form cannot hold the weights, as if nothing were asked for."""
    assert chosen(dense(drawn([0, 1, 2], (3, 8)), form), optimize) == form
    assert chosen(dense(np.arange(-128, 128)[None].repeat(9, axis=0), form), optimize) == PLAIN


def test_speed_prefers_plain() -> None:
    assert chosen(dense(drawn(ODD)), "speed") == PLAIN
    assert chosen(dense(drawn(ODD, (8, 64))), "speed") == PLAIN


def three(small: Array, *large: Array) -> Graph:
    """Dense layers in a row with these weights."""
    b = ModelBuilder()
    x = at = b.tensor((1, large[0].shape[1]), "int8", 0.1, 0)
    for weights in (*large, small):
        w, y = b.tensor(weights.shape, "int8", 0.01, 0, weights), b.tensor((1, weights.shape[0]), "int8", 0.1, 0)
        b.op("FULLY_CONNECTED", [at, w, -1], [y], "FullyConnectedOptions")
        at = y
    return load(b.finish([x], [at]))


def test_layers_share_a_kernel_and_its_code() -> None:
    """A layer too small to pay for a kernel of its own takes one that is there, rather than one a little smaller."""
    grid, odd = drawn(list(range(-8, 8)), (24, 64)), drawn(ODD)
    forms = [c.kernel.form for c in select(three(grid, odd, odd.copy()), load_target("cortex-m3"), "balanced").values()]
    assert forms == ["codebook"] * 3
    alone = dense(drawn(list(range(-8, 8)), (4, 64)))
    assert chosen(alone) == PLAIN


def test_the_schema_of_the_report_names_every_form() -> None:
    schema = json.loads(Path(__file__).with_name("report.schema.json").read_text(encoding="utf-8"))
    assert set(schema["properties"]["layers"]["items"]["properties"]["form"]["enum"]) == set(ALL_FORMS)


# --- Cortex-M -------------------------------------------------------------------------------------------------------


@pytest.mark.qemu
@pytest.mark.parametrize("target", ["cortex-m0", "cortex-m4", "cortex-m55"])
@pytest.mark.parametrize("form", FORMS)
def test_on_cores(form: str, target: str, tmp_path: Path) -> None:
    """Every form on a core; of these M0 refuses access that is not aligned."""
    graph = stored(network(), form, np.random.default_rng(3))
    built = api.build(graph, target, optimize="size" if target == "cortex-m0" else "balanced")
    assert [layer["form"] for layer in built.report["layers"]] == [form] * 5
    sets = draw_inputs(graph, 0)
    done = run_qemu(read_build(built.write(tmp_path)), sets, load_target(target))
    for values, got in zip(sets, done.outputs, strict=True):
        assert_equal(f"{form} on {target}", got, run(graph, values))


def test_scratch_is_a_few_filters() -> None:
    """1 KiB of unpacked filters, or one, without DSP; two filters and the windows that they pass over with it."""
    graph = load(test_conv_2d.build(Spatial((1, 4, 4, 40), (3, 3)), 1, 16, 0, (0.1, 0), [0.01], (1.0, 0)))
    graph = stored(graph, "packed", np.random.default_rng(0))
    (choice,) = select(graph, load_target("cortex-m3"), "balanced").values()
    assert choice.scratch == 1024 // 360 * 360
    (widened,) = select(graph, M4, "balanced").values()
    plain = 4 * (360 // 2) * (2 + 18) + 4 * 30
    assert widened.scratch == plain + 2 * 360


def test_forms_take_no_more_memory_than_plain_weights() -> None:
    b, rng = ModelBuilder(), np.random.default_rng(0)
    x = at = b.tensor((1, 20, 10, 32), "int8", 0.1, 0)
    for _ in range(2):
        w, y = (
            b.tensor((32, 3, 3, 32), "int8", 0.01, 0, rng.choice(ODD, (32, 3, 3, 32))),
            b.tensor((1, 20, 10, 32), "int8", 0.1, 0),
        )
        b.op("CONV_2D", [at, w, -1], [y], "Conv2DOptions", strideH=1, strideW=1)
        at = y
    graph = load(b.finish([x], [at]))
    asked = replace(graph, storage={node.inputs[1]: SMALLEST for node in graph.nodes})
    chosen = select(asked, M4, "balanced").values()
    assert [choice.kernel.template for choice in chosen] == ["conv_2d/dsp_pairs"] * 2
    plain = replace(graph, storage={node.inputs[1]: PLAIN for node in graph.nodes})
    arenas = [plan(lower(some, M4, "balanced")).bytes for some in (plain, asked)]
    assert arenas[1] <= arenas[0]
