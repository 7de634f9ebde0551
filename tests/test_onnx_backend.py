# SPDX-License-Identifier: Apache-2.0
"""ONNX's own node tests: what the frontend claims passes, but for what is listed here with the reason it gives."""

from __future__ import annotations

from tests import onnx_backend
from tinygen.frontends.onnx.registry import handlers

#: Tests of claimed operators that are refused, by words of the refusal.
REFUSED = {
    "spatial dimensions; 1 and 2 are supported": """
        averagepool_3d_default averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_False
        averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_True
        averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_False
        averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True averagepool_3d_dilations_small
        convtranspose_3d maxpool_3d_default maxpool_3d_dilations maxpool_3d_dilations_use_ref_impl
        maxpool_3d_dilations_use_ref_impl_large
    """,
    "dilations other than 1": """
        averagepool_2d_dilations maxpool_2d_dilations
    """,
    "only its first output is supported": """
        batchnorm_epsilon_training_mode batchnorm_example_training_mode
    """,
    "training mode": """
        training_dropout training_dropout_default training_dropout_zero_ratio
    """,
    "exponent must be a constant, the same": """
        pow pow_bcast_array pow_example pow_types_float32_int32 pow_types_float32_int64
    """,
    "element type uint": """
        pow_types_float32_uint32 pow_types_float32_uint64
    """,
    "its sizes and coordinates are not TFLite's": """
        resize_downsample_scales_linear
        resize_downsample_scales_linear_half_pixel_symmetric resize_downsample_sizes_linear_pytorch_half_pixel
        resize_upsample_scales_linear_half_pixel_symmetric
    """,
    "align_corners with a scale": """
        resize_downsample_scales_linear_align_corners
    """,
    "mode cubic is not supported": """
        resize_downsample_scales_cubic resize_downsample_scales_cubic_A_n0p5_exclude_outside
        resize_downsample_scales_cubic_align_corners resize_downsample_scales_cubic_antialias
        resize_downsample_sizes_cubic resize_downsample_sizes_cubic_antialias resize_upsample_scales_cubic
        resize_upsample_scales_cubic_A_n0p5_exclude_outside resize_upsample_scales_cubic_align_corners
        resize_upsample_scales_cubic_asymmetric resize_upsample_sizes_cubic
    """,
    "tf_crop_and_resize is not supported": """
        resize_tf_crop_and_resize resize_tf_crop_and_resize_axes_2_3 resize_tf_crop_and_resize_axes_3_2
        resize_tf_crop_and_resize_extrapolation_value
    """,
    "antialias is not supported": """
        resize_downsample_scales_linear_antialias resize_downsample_sizes_linear_antialias
    """,
    "keep_aspect_ratio_policy": """
        resize_downsample_sizes_nearest_not_larger resize_downsample_sizes_nearest_not_smaller
        resize_upsample_sizes_nearest_not_larger resize_upsample_sizes_nearest_not_smaller
    """,
}

#: How many of ONNX's tests are for operators and element types that the frontend claims; new versions may add some.
CLAIMED = 411

#: The operators that the frontend claims.
OPERATORS = """
Abs Add AveragePool BatchNormalization Cast CastLike Clip Concat Conv ConvTranspose DepthToSpace DequantizeLinear Div
Dropout Elu Erf Exp Expand Flatten Gather Gelu Gemm GlobalAveragePool GlobalMaxPool HardSigmoid HardSwish Identity
LayerNormalization LeakyRelu Log LogSoftmax MatMul Max MaxPool Mean Min Mul Neg PRelu Pad Pow QLinearConv
QLinearMatMul QuantizeLinear Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin
ReduceSum ReduceSumSquare Relu Reshape Resize Shape Sigmoid Size Slice Softmax SpaceToDepth Split Sqrt Squeeze Sub Sum
Tanh Tile Transpose Unsqueeze Upsample com.microsoft.QGemm com.microsoft.QLinearAdd com.microsoft.QLinearAveragePool
com.microsoft.QLinearGlobalAveragePool com.microsoft.QLinearLeakyRelu com.microsoft.QLinearMul
com.microsoft.QLinearSigmoid
"""


def test_operators() -> None:
    assert sorted(OPERATORS.split()) == list(handlers())


def test_node_tests() -> None:
    """Every claimed test passes, or is refused for the reason listed; the listed ones are refused still."""
    outcomes = {case.name.removeprefix("test_"): onnx_backend.outcome(case) for case in onnx_backend.claimed()}
    reasons = {name: words for words, names in REFUSED.items() for name in names.split()}
    passed = sum(outcome == "passed" for outcome in outcomes.values())
    print(f"ONNX node tests: {passed} passed of {len(outcomes)} claimed of {len(onnx_backend.cases())} in total")
    unexpected = {n: o for n, o in outcomes.items() if o != "passed" and reasons.get(n, "nothing listed") not in o}
    assert not unexpected
    assert {n for n in reasons if outcomes.get(n, "gone") == "passed"} == set()
    assert len(outcomes) >= CLAIMED
