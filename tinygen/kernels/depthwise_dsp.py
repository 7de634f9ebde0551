# SPDX-License-Identifier: Apache-2.0
"""DEPTHWISE_CONV_2D of 3x3 with the DSP extension and without scratch memory: int8 values are widened as they are read.

A tap of four channels takes 8 instructions, where widened rows (dsp.py) take 6, which have to be widened first: this
is for images with few rows or narrow ones, such as those that layers hand each other a few rows at a time. At the edges
of the image, windows are moved inside, and weights the other way, so that there are no windows of another kind. Or, in
images so narrow that most windows are at an edge, four channels of three rows are widened, with padding around them.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.kernels.base import Kernel, Launch, int8, int16
from tinygen.kernels.dsp import depthwise_accepts, down_params
from tinygen.ops.base import Call
from tinygen.ops.convolution import ConvAttrs, input_of

TAPS = 3
Span = tuple[int, ...]


def row_spans(call: Call[ConvAttrs]) -> list[Span]:
    """Output rows whose windows have the same rows inside the image: first, how many, the three rows, bits of those."""
    (_, in_h, *_), (_, out_h, *_), attrs = call.input(0).shape, call.output.shape, call.attrs
    spans: list[Span] = []
    for y in range(out_h):
        rows = [y * attrs.stride[0] - attrs.padding[0] + i * attrs.dilation[0] for i in range(TAPS)]
        inside = sum(1 << i for i, row in enumerate(rows) if 0 <= row < in_h)
        if inside == 7 and spans and spans[-1][-1] == 7:
            spans[-1] = (spans[-1][0], spans[-1][1] + 1, *spans[-1][2:])
        else:
            spans.append((y, 1, *(min(max(row, 0), in_h - 1) for row in rows), inside))
    return spans


def column_spans(call: Call[ConvAttrs]) -> list[Span]:
    """The same for columns: first, how many, the column where the window is read, and which tap of three that is."""
    (_, _, in_w, _), (_, _, out_w, _), attrs = call.input(0).shape, call.output.shape, call.attrs
    spans: list[Span] = []
    for x in range(out_w):
        left = x * attrs.stride[1] - attrs.padding[2]
        read = min(max(left, 0), in_w - TAPS)
        if left == read and spans and spans[-1][-1] == 0:
            spans[-1] = (spans[-1][0], spans[-1][1] + 1, *spans[-1][2:])
        else:
            spans.append((x, 1, read, read - left))
    return spans


def accepts(call: Call[ConvAttrs]) -> bool:
    """Windows of 3x3 neighbours that reach at most one column over the image's edges."""
    small = call.input(1).shape[1:3] == (TAPS, TAPS) and call.input(0).shape[2] >= TAPS
    if not small or call.attrs.dilation[1] != 1 or not depthwise_accepts(call):
        return False
    return max(*call.input(0).shape, *call.output.shape) < 2**15 and all(abs(s[-1]) <= 1 for s in column_spans(call))


def launch(call: Call[ConvAttrs]) -> Sequence[Launch]:
    (batch, in_h, in_w, channels), (_, out_h, out_w, _), attrs = call.input(0).shape, call.output.shape, call.attrs
    rows, columns = row_spans(call), column_spans(call)
    params = {
        "batch": batch, "in_h": in_h, "in_w": in_w, "channels": channels, "out_h": out_h, "out_w": out_w,
        "stride_h": attrs.stride[0], "stride_w": attrs.stride[1], "zero_point": input_of(call).q.zero_point,
        "row_spans": len(rows), "column_spans": len(columns),
        "rows": int16(rows), "columns": int16(columns),
        "weights": int8(call.constant(1)),
        **down_params(call, call.constant(1).reshape(-1, channels).T),
    }  # fmt: skip
    return (Launch((0,), (0,), params),)


def speed(call: Call[ConvAttrs]) -> float:
    """Instructions per MAC: outputs, rows of each span, spans of columns, and what four channels take once."""
    _, out_h, out_w, _ = call.output.shape
    rows, columns = row_spans(call), column_spans(call)
    edges = sum(s[-1] != 0 for s in columns)
    each = 80 + len(rows) * (100 + 60 * len(columns) + 20 * edges) + 12 * out_h * len(columns)
    return (114 + each / (out_h * out_w)) / (4 * TAPS * TAPS)


def padded_accepts(call: Call[ConvAttrs]) -> bool:
    """Windows of 3x3, of neighbours in a row."""
    return call.input(1).shape[1:3] == (TAPS, TAPS) and call.attrs.dilation[1] == 1 and depthwise_accepts(call)


def padded_launch(call: Call[ConvAttrs]) -> Sequence[Launch]:
    (batch, in_h, in_w, channels), (_, out_h, out_w, _), attrs = call.input(0).shape, call.output.shape, call.attrs
    width = max((out_w - 1) * attrs.stride[1] + TAPS, attrs.padding[2] + in_w)
    params = {
        "batch": batch, "in_h": in_h, "in_w": in_w, "channels": channels, "out_h": out_h, "out_w": out_w,
        "stride_h": attrs.stride[0], "stride_w": attrs.stride[1], "dilation_h": attrs.dilation[0],
        "pad_top": attrs.padding[0], "pad_left": attrs.padding[2],
        "zero_point": input_of(call).q.zero_point, "width": width,
        "weights": int8(call.constant(1)),
        **down_params(call, call.constant(1).reshape(-1, channels).T),
    }  # fmt: skip
    return (Launch((0,), (0,), params, scratch=8 * (TAPS + 1) * width),)


def padded_speed(call: Call[ConvAttrs]) -> float:
    """Instructions per MAC: outputs, widened pixels, and what four channels of a row take besides."""
    return (93 + (150 + 16 * call.input(0).shape[2]) / call.output.shape[2]) / (4 * TAPS * TAPS)


#: For those who look for the least memory: others may compute an image in its own place instead.
KERNEL = Kernel(
    op=("DEPTHWISE_CONV_2D",),
    template="depthwise_conv_2d/dsp_direct",
    launch=launch,
    accepts=accepts,
    uses=("common/requantize", "common/dsp", "common/down", "common/dsp_taps", "common/dsp_taps3"),
    requires=frozenset({"dsp"}),
    speed=speed,
)

PADDED = Kernel(
    op=("DEPTHWISE_CONV_2D",),
    template="depthwise_conv_2d/dsp_padded",
    launch=padded_launch,
    accepts=padded_accepts,
    uses=("common/requantize", "common/dsp", "common/down", "common/dsp_taps", "common/dsp_row"),
    requires=frozenset({"dsp"}),
    speed=padded_speed,
)
