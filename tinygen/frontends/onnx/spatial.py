# SPDX-License-Identifier: Apache-2.0
"""What ONNX operators on images share: layout, windows, padding. A signal [N, C, L] is an image of height 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinygen.frontends.onnx.build import Builder
from tinygen.frontends.onnx.node import OnnxNode
from tinygen.ops.shapes import same_padding

Pair = tuple[int, int]


def to_nhwc(b: Builder, x: str) -> str:
    """[N, C, H, W] or [N, C, L] as [N, H, W, C]."""
    if b.rank(x) == 4:
        return b.transpose(x, (0, 2, 3, 1))
    moved = b.transpose(x, (0, 2, 1))
    batch, length, channels = b.shape(moved)
    return b.reshape(moved, (batch, 1, length, channels))


def from_nhwc(b: Builder, x: str, rank: int) -> str:
    """[N, H, W, C] as [N, C, H, W] or, for rank 3, as [N, C, L]."""
    if rank == 4:
        return b.transpose(x, (0, 3, 1, 2))
    batch, _, length, channels = b.shape(x)
    return b.transpose(b.reshape(x, (batch, length, channels)), (0, 2, 1))


def image_rank(b: Builder, node: OnnxNode, index: int = 0) -> int:
    """3 or 4: the rank of a signal or an image."""
    rank = b.rank(node.input(index))
    node.need(
        rank in (3, 4), f"its input has {rank - 2} spatial dimensions; 1 and 2 are supported: reshape it to an image"
    )
    return rank


def pair(values: Sequence[int], default: int = 1) -> Pair:
    """One or two sizes as (height, width)."""
    first, second = (default, *values) if len(values) == 1 else values
    return int(first), int(second)


@dataclass(frozen=True)
class Window:
    """A window that slides over an image, in (height, width); padding as (before, after) for each."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    padding: tuple[Pair, Pair]

    @property
    def sides(self) -> tuple[int, int, int, int]:
        """The padding as (top, bottom, left, right)."""
        (top, bottom), (left, right) = self.padding
        return top, bottom, left, right

    def outputs(self, sizes: Pair, ceil: bool = False) -> Pair:
        """How many positions the window has; with `ceil`, also those that only begin inside."""
        first, second = (self._count(sizes, axis, ceil) for axis in (0, 1))
        return first, second

    def _count(self, sizes: Pair, axis: int, ceil: bool) -> int:
        before, after = self.padding[axis]
        room = sizes[axis] + before + after - ((self.kernel[axis] - 1) * self.dilation[axis] + 1)
        count = (-(-room // self.stride[axis]) if ceil else room // self.stride[axis]) + 1
        if ceil and (count - 1) * self.stride[axis] >= sizes[axis] + before:
            count -= 1
        return count

    def after(self, sizes: Pair, counts: Pair) -> tuple[Pair, Pair]:
        """The padding that gives exactly `counts` positions."""
        first, second = (
            (
                self.padding[axis][0],
                max(
                    (counts[axis] - 1) * self.stride[axis]
                    + (self.kernel[axis] - 1) * self.dilation[axis]
                    + 1
                    - sizes[axis]
                    - self.padding[axis][0],
                    0,
                ),
            )
            for axis in (0, 1)
        )
        return first, second


def window_of(b: Builder, node: OnnxNode, sizes: Pair, kernel: Sequence[int]) -> Window:
    """The window that the node's attributes describe over an image of `sizes`; `ValueError` if they contradict."""
    count = len(kernel)
    if list(node.attr("kernel_shape", kernel)) != list(kernel):
        raise ValueError(f"kernel_shape {node.attr('kernel_shape', [])} is not that of the weights, {list(kernel)}")
    stride, dilation = (pair(_each(node, name, count)) for name in ("strides", "dilations"))
    size = pair(kernel)
    node.need(
        min(*size, *stride, *dilation) >= 1, "kernel, strides and dilations must be positive: export the model again"
    )
    padding = _padding(node, sizes, size, stride, dilation, count)
    node.need(min(*padding[0], *padding[1]) >= 0, "negative padding is not supported: use Slice before it")
    return Window(size, stride, dilation, padding)


def _each(node: OnnxNode, name: str, count: int) -> list[int]:
    """The attribute `name`, which has a number for each of `count` dimensions; 1 where it is absent."""
    values: list[int] = node.attr(name, [1] * count)
    if len(values) != count:
        raise ValueError(f"{name} has {len(values)} values, expected {count}")
    return values


def _padding(node: OnnxNode, sizes: Pair, kernel: Pair, stride: Pair, dilation: Pair, count: int) -> tuple[Pair, Pair]:
    kind = node.attr("auto_pad", "NOTSET") or "NOTSET"
    if kind == "VALID":
        return (0, 0), (0, 0)
    if kind in ("SAME_UPPER", "SAME_LOWER"):
        pads = [same_padding(sizes[i], kernel[i], stride[i], dilation[i]) for i in (0, 1)]
        first, second = pads if kind == "SAME_UPPER" else [(after, before) for before, after in pads]
        return first, second
    node.need(kind == "NOTSET", f"auto_pad {kind} is unknown: give pads instead")
    flat = [int(v) for v in node.attr("pads", [0] * 2 * count)]
    if len(flat) != 2 * count:
        raise ValueError(f"pads has {len(flat)} values, expected {2 * count}")
    both = [(flat[i], flat[i + count]) for i in range(count)]
    return ((0, 0), both[0]) if count == 1 else (both[0], both[1])
