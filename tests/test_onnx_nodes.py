# SPDX-License-Identifier: Apache-2.0
"""Single ONNX nodes over drawn shapes, attributes and operator sets: real numbers as onnxruntime computes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.onnx_models import check, graph_of, one_node
from tests.strategies import shapes
from tinygen.errors import UnsupportedError
from tinygen.ir.types import Array

SOME = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
RNG = np.random.default_rng(7)


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def ints(values: Any) -> Array:
    return np.asarray(values, np.int64)


# --- Convolutions and pools ---------------------------------------------------------------------------------------


@st.composite
def windows(draw: st.DrawFn, rank: int) -> dict[str, Any]:
    """Strides, and padding explicit or automatic, for `rank` spatial dimensions."""
    found: dict[str, Any] = {"strides": draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))}
    kind = draw(st.sampled_from(["", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if kind:
        found["auto_pad"] = kind
    if kind in ("", "NOTSET"):
        found["pads"] = draw(st.lists(st.integers(0, 1), min_size=2 * rank, max_size=2 * rank))
    return found


@SOME
@given(st.data(), st.sampled_from([1, 2]), st.sampled_from(["one", "some", "depthwise"]), st.sampled_from([7, 11, 17]))
def test_conv(data: st.DataObject, rank: int, groups: str, opset: int) -> None:
    per_group, group = data.draw(st.integers(1, 3)), {"one": 1, "some": 2, "depthwise": 4}[groups]
    per_group = 1 if groups == "depthwise" else per_group
    kernel = data.draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))
    size = data.draw(st.lists(st.integers(5, 9), min_size=rank, max_size=rank))
    window = data.draw(windows(rank))
    if window.get("auto_pad", "NOTSET") == "NOTSET":
        window["dilations"] = data.draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank))
    filters = group * data.draw(st.integers(1, 3))
    constants = [normal(filters, per_group, *kernel)] + ([normal(filters)] if data.draw(st.booleans()) else [])
    batch = data.draw(st.integers(1, 2))
    check(one_node("Conv", (batch, group * per_group, *size), constants, opset, group=group, **window))


@SOME
@given(st.data(), st.sampled_from([1, 2]), st.integers(1, 2))
def test_conv_transpose(data: st.DataObject, rank: int, group: int) -> None:
    kernel = data.draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))
    size = data.draw(st.lists(st.integers(2, 5), min_size=rank, max_size=rank))
    strides = data.draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))
    attributes: dict[str, Any] = {"strides": strides, "group": group}
    if data.draw(st.booleans()):
        attributes["pads"] = [min(data.draw(st.integers(0, 1)), k - 1) for k in kernel * 2]
        attributes["output_padding"] = [data.draw(st.integers(0, s - 1)) for s in strides]
        attributes["dilations"] = data.draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank))
    constants = [normal(2 * group, 3, *kernel)] + ([normal(3 * group)] if data.draw(st.booleans()) else [])
    check(one_node("ConvTranspose", (1, 2 * group, *size), constants, **attributes))


@SOME
@given(st.data(), st.sampled_from(["MaxPool", "AveragePool"]), st.sampled_from([1, 2]), st.booleans(), st.booleans())
def test_pools(data: st.DataObject, op: str, rank: int, ceil: bool, include: bool) -> None:
    kernel = data.draw(st.lists(st.integers(2, 3), min_size=rank, max_size=rank))
    size = data.draw(st.lists(st.integers(4, 9), min_size=rank, max_size=rank))
    window = data.draw(windows(rank))
    explicit = window.get("auto_pad", "NOTSET") == "NOTSET"
    extra = {"count_include_pad": int(include)} if op == "AveragePool" and explicit else {}
    extra |= {"ceil_mode": int(ceil)} if explicit else {}
    check(one_node(op, (2, 3, *size), opset=19, kernel_shape=kernel, **window, **extra))


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("shape", [(1, 3, 5), (2, 3, 4, 5)])
def test_global_pools(op: str, shape: tuple[int, ...]) -> None:
    check(one_node(op, shape))


# --- Elementwise --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        *((op, {}) for op in ("Relu", "Sigmoid", "Tanh", "HardSwish", "Exp", "Abs", "Neg", "Erf", "Identity", "Gelu")),
        ("LeakyRelu", {}),
        ("LeakyRelu", {"alpha": 0.3}),
        ("Elu", {}),
        ("Elu", {"alpha": 1.5}),
        ("HardSigmoid", {}),
        ("HardSigmoid", {"alpha": 0.5, "beta": 0.1}),
        ("Gelu", {"approximate": "tanh"}),
    ],
)
def test_functions(op: str, attributes: dict[str, Any]) -> None:
    check(one_node(op, (2, 3, 5), opset=20, **attributes))


@pytest.mark.parametrize("op", ["Sqrt", "Log", "Reciprocal"])
def test_functions_of_positive_numbers(op: str) -> None:
    check(one_node(op, (2, 3, 5)), positive=True)


@SOME
@given(st.sampled_from(["Add", "Sub", "Mul", "Div", "Max", "Min"]), st.sampled_from([(), (1,), (3, 1, 1), (1, 1, 5)]))
def test_binary_with_constants(op: str, shape: tuple[int, ...]) -> None:
    check(one_node(op, (2, 3, 4, 5), [np.asarray(normal(*shape) + 3, np.float32)]))


@pytest.mark.parametrize("exponent", [2.0, 0.5, 1.0, -1.0, 3.0, -0.5])
def test_powers(exponent: float) -> None:
    check(one_node("Pow", (2, 5), [np.float32(exponent)]), positive=True)


@pytest.mark.parametrize("limits", [(0, 6), (0, None), (-1, 1), (None, 2), (-0.5, 0.25)])
@pytest.mark.parametrize("opset", [10, 11, 17])
def test_clip(limits: tuple[float | None, float | None], opset: int) -> None:
    if opset < 11:
        given_limits = {name: float(v) for name, v in zip(("min", "max"), limits, strict=True) if v is not None}
        check(one_node("Clip", (3, 7), opset=opset, **given_limits))
    else:
        check(one_node("Clip", (3, 7), [None if v is None else np.float32(v) for v in limits], opset))


@pytest.mark.parametrize("slope", [(3, 1, 1), (1,), (1, 5)])
def test_prelu(slope: tuple[int, ...]) -> None:
    check(one_node("PRelu", (2, 3, 4, 5), [normal(*slope)]))


def test_dropout_and_cast() -> None:
    check(one_node("Dropout", (2, 5)))
    check(one_node("Cast", (2, 5), to=1))


# --- Matrices, normalization, reduction ---------------------------------------------------------------------------


@SOME
@given(st.booleans(), st.booleans(), st.sampled_from([(), (1, 5), (5,), (3, 5), (3, 1), None]), st.booleans())
def test_gemm(trans_a: bool, trans_b: bool, bias: tuple[int, ...] | None, plain: bool) -> None:
    weights = normal(5, 4) if trans_b else normal(4, 5)
    constants = [weights] if bias is None else [weights, np.asarray(normal(*bias), np.float32)]
    options = {} if plain else {"alpha": 0.5, "beta": 3.0}
    options |= {"transA": int(trans_a), "transB": int(trans_b)}
    check(one_node("Gemm", (4, 3) if trans_a else (3, 4), constants, **options))


@pytest.mark.parametrize("left", [(4,), (3, 4), (2, 3, 4), (1, 2, 3, 4)])
@pytest.mark.parametrize("right", [(4,), (4, 5), (2, 4, 5)])
def test_matmul(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    check(one_node("MatMul", left, [normal(*right)]))


@pytest.mark.parametrize("opset", [7, 9, 14, 15, 17])
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5)])
def test_batch_normalization(shape: tuple[int, ...], opset: int) -> None:
    check(one_node("BatchNormalization", shape, [normal(3), normal(3), normal(3), abs(normal(3))], opset, epsilon=1e-3))


@pytest.mark.parametrize("axis", [1, 2, -1])
@pytest.mark.parametrize("with_bias", [True, False])
def test_layer_normalization(axis: int, with_bias: bool) -> None:
    shape = (2, 3, 4)[axis:] if axis > 0 else (4,)
    constants = [normal(*shape), normal(*shape)] if with_bias else [normal(*shape)]
    check(one_node("LayerNormalization", (2, 3, 4), constants, axis=axis))


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("opset", [7, 11, 13, 17])
@pytest.mark.parametrize("axis", [None, 0, 1, 2, -1])
def test_softmax(op: str, opset: int, axis: int | None) -> None:
    if opset < 11 and axis == -1:
        axis = 3
    check(one_node(op, (2, 3, 4, 5), opset=opset, **({} if axis is None else {"axis": axis})))


@SOME
@given(
    st.sampled_from(["Mean", "Sum", "Max", "Min", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"]),
    st.none() | st.lists(st.integers(-4, 3), min_size=1, max_size=3),
    st.booleans(),
    st.sampled_from([11, 18]),
)
def test_reductions(kind: str, axes: list[int] | None, keep: bool, opset: int) -> None:
    assume(axes is None or len({a % 4 for a in axes}) == len(axes))
    as_input = opset >= (13 if kind == "Sum" else 18)
    constants = [ints(axes)] if as_input and axes is not None else []
    attributes = {"axes": axes} if axes is not None and not as_input else {}
    check(one_node(f"Reduce{kind}", (2, 3, 4, 5), constants, opset, keepdims=int(keep), **attributes), positive=True)


# --- Movement -----------------------------------------------------------------------------------------------------


@SOME
@given(st.data(), st.sampled_from(["constant", "reflect", "edge"]), st.sampled_from([10, 13, 18]))
def test_pad(data: st.DataObject, mode: str, opset: int) -> None:
    pads = data.draw(st.lists(st.integers(-1 if mode == "constant" else 0, 2), min_size=8, max_size=8))
    value = data.draw(st.sampled_from([0.0, 1.5]))
    if opset < 11:
        check(one_node("Pad", (2, 3, 4, 5), opset=opset, mode=mode, pads=[*pads[:4], *pads[4:]], value=value)) if (
            mode != "reflect" or max(pads[0], pads[4]) < 2
        ) else None
        return
    assume(mode != "reflect" or max(pads[0], pads[4]) < 2)
    check(one_node("Pad", (2, 3, 4, 5), [ints(pads), np.float32(value)], opset, mode=mode))


@SOME
@given(st.data(), st.sampled_from([9, 13]))
def test_slice(data: st.DataObject, opset: int) -> None:
    axes = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True))
    starts = [data.draw(st.integers(-6, 5)) for _ in axes]
    steps = [data.draw(st.sampled_from([1, 1, 2, -1, -2])) if opset > 9 else 1 for _ in axes]
    ends = [data.draw(st.sampled_from([-(2**31), -2, 2, 3, 2**31 - 1])) for _ in axes]
    shape = (4, 5, 6, 5)
    picked = [len(range(shape[a])[slice(s, e, t)]) for a, s, e, t in zip(axes, starts, ends, steps, strict=True)]
    assume(min(picked) > 0)
    if opset == 9:
        check(one_node("Slice", shape, opset=opset, axes=axes, starts=starts, ends=ends))
    else:
        check(one_node("Slice", shape, [ints(starts), ints(ends), ints(axes), ints(steps)], opset))


@pytest.mark.parametrize("axis", [0, 2, -1])
@pytest.mark.parametrize("indices", [1, -1, [2, 0], [[0, -1], [1, 1]]])
def test_gather(axis: int, indices: Any) -> None:
    check(one_node("Gather", (3, 4, 5), [ints(indices)], axis=axis))


@pytest.mark.parametrize(("sizes", "opset"), [([2, 4], 13), ([3, 3], 13), ([2, 4], 11), (None, 11), (None, 18)])
def test_split(sizes: list[int] | None, opset: int) -> None:
    attributes: dict[str, Any] = {"split": sizes} if sizes and opset < 13 else {}
    attributes |= {"num_outputs": 2} if opset >= 18 else {}
    constants = [ints(sizes)] if sizes and opset >= 13 else []
    check(one_node("Split", (2, 6, 3), constants, opset, outputs=2, axis=1, **attributes))


@pytest.mark.parametrize(
    ("op", "constants", "attributes"),
    [
        ("Reshape", [ints([0, -1, 2])], {}),
        ("Reshape", [ints([4, 6, 5])], {}),
        ("Flatten", [], {}),
        ("Flatten", [], {"axis": 0}),
        ("Flatten", [], {"axis": -1}),
        ("Squeeze", [ints([0])], {}),
        ("Squeeze", [], {}),
        ("Unsqueeze", [ints([0, -1])], {}),
        ("Transpose", [], {}),
        ("Transpose", [], {"perm": [2, 0, 3, 1]}),
        ("Expand", [ints([3, 1, 4, 1, 1])], {}),
        ("Tile", [ints([2, 1, 3, 1])], {}),
    ],
)
def test_shapes(op: str, constants: list[Array], attributes: dict[str, Any]) -> None:
    check(one_node(op, (1, 4, 6, 5), constants, **attributes))


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_blocks(mode: str) -> None:
    check(one_node("DepthToSpace", (2, 12, 3, 4), blocksize=2, mode=mode))
    check(one_node("SpaceToDepth", (2, 3, 4, 6), blocksize=2))


# --- Resize -------------------------------------------------------------------------------------------------------

COORDINATES = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]


@SOME
@given(
    st.sampled_from(COORDINATES),
    st.sampled_from(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]),
    st.sampled_from([(2.0, 2.0), (1.5, 3.0), (0.5, 0.75)]),
    st.booleans(),
)
def test_resize_nearest(kind: str, rounding: str, scales: tuple[float, float], by_size: bool) -> None:
    shape = (1, 3, 4, 6)
    sizes = [1, 3, *(int(n * s) for n, s in zip(shape[2:], scales, strict=True))]
    attributes = {"coordinate_transformation_mode": kind, "nearest_mode": rounding, "mode": "nearest"}
    assume(by_size or kind != "align_corners" or scales[1] != 0.75)
    if by_size:
        check(one_node("Resize", shape, [None, None, ints(sizes)], 13, **attributes))
    else:
        check(one_node("Resize", shape, [None, np.array([1, 1, *scales], np.float32)], 13, **attributes))


@pytest.mark.parametrize("kind", COORDINATES)
@pytest.mark.parametrize("sizes", [(8, 12), (2, 3), (7, 5), (1, 6)])
def test_resize_linear(kind: str, sizes: tuple[int, int]) -> None:
    options = {"coordinate_transformation_mode": kind, "mode": "linear"}
    check(one_node("Resize", (1, 3, 4, 6), [None, None, ints([1, 3, *sizes])], 13, **options))


@pytest.mark.parametrize("opset", [9, 10])
def test_old_resize(opset: int) -> None:
    op = "Upsample" if opset == 9 else "Resize"
    check(one_node(op, (1, 2, 3, 4), [np.array([1, 1, 2, 3], np.float32)], opset, mode="nearest"))
    check(one_node(op, (1, 2, 3, 4), [np.array([1, 1, 2, 3], np.float32)], opset, mode="linear"))


def test_refused_resize() -> None:
    options = {"coordinate_transformation_mode": "pytorch_half_pixel", "mode": "linear"}
    with pytest.raises(UnsupportedError, match=r"'the_node' \(ONNX Resize\): its sizes and coordinates"):
        graph_of(one_node("Resize", (1, 3, 4, 6), [None, None, ints([1, 3, 1, 12])], 13, **options))
    options = {"coordinate_transformation_mode": "align_corners", "mode": "nearest"}
    with pytest.raises(UnsupportedError, match="align_corners with a scale that gives no whole size is ambiguous"):
        graph_of(one_node("Resize", (1, 3, 4, 6), [None, np.array([1, 1, 0.5, 0.75], np.float32)], 13, **options))


@SOME
@given(shapes(min_rank=2, max_rank=4), st.permutations(range(4)))
def test_transpose(shape: tuple[int, ...], order: list[int]) -> None:
    check(one_node("Transpose", shape, perm=[i for i in order if i < len(shape)]))
