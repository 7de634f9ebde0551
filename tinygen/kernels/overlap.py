# SPDX-License-Identifier: Apache-2.0
"""How far a kernel's output may lie over its input: from what each output reads, and the order in which outputs come.

All kernels here write outputs from the first byte to the last, in groups of units: a unit is an output pixel with all
its channels, a row of a matrix product, or one element. After a group, input bytes below the lowest one that any later
group reads are dead. So the output may begin at any distance d (bytes, from the input's beginning) with

    d + bytes written after group g  <=  lowest byte that a group after g reads,    for every group g,

and, where a kernel reads for a group again after it wrote some of it, with the same inequality there.
"""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np

from tinygen.ir.types import Array, TensorType
from tinygen.kernels.base import Launch, Room, Rooms
from tinygen.ops.base import Call

#: More than any address: where nothing is read any more.
_FAR = 2**62
ANYWHERE = Room(None)


def field(launch: Launch, name: str) -> int:
    """The integer parameter `name` of a launch, also where a kernel for a form of weights holds it as ``plain``."""
    params = launch.params
    value = params[name] if name in params else params[f"plain.{name}"]
    assert isinstance(value, int), "a parameter that counts"
    return value


def swept(low: Array, size: int, at_once: int = 1, image: int = 0, again: int | None = None) -> Room:
    """The room of a kernel that computes units in order, `at_once` at a time within each `image` units (0: all).

    `low[i]` is the lowest input byte that unit i reads (`_FAR`: none), `size` the bytes that it writes. `again`: None
    if a group's reads all come before its first write; else the least of (byte read, from the group's lowest one) less
    (bytes of the group written before), over all reads that follow a write of the same group.
    """
    after = np.append(np.minimum.accumulate(low[::-1])[::-1], _FAR)
    units = np.arange(len(low))
    within = units % image if image else units
    starts = np.append(units[within % at_once == 0], len(low))
    distances = after[starts[1:]] - starts[1:] * size
    if again is not None:
        distances = np.append(distances, after[starts[:-1]] - starts[:-1] * size + again)
    least = int(distances.min(initial=_FAR))
    return ANYWHERE if least > _FAR // 2 else Room(min(least, 0))


def window_lows(call: Call[Any]) -> Array:
    """For each output pixel of a convolution or a pool, the lowest byte of the image that it reads."""
    window = call.attrs.window if hasattr(call.attrs, "window") else call.input(1).shape[1:3]
    (batch, in_h, in_w, channels), (_, out_h, out_w, _) = call.input(0).shape, call.output.shape
    attrs, pixel = call.attrs, channels * call.input(0).dtype.bytes
    dilation = getattr(attrs, "dilation", (1, 1))
    rows = _first_inside(out_h, attrs.stride[0], dilation[0], attrs.padding[0], window[0], in_h)
    columns = _first_inside(out_w, attrs.stride[1], dilation[1], attrs.padding[2], window[1], in_w)
    images = np.arange(batch)[:, None, None] * in_h
    return np.minimum(((images + rows[:, None]) * in_w + columns) * pixel, _FAR).ravel()


def _first_inside(count: int, stride: int, dilation: int, padding: int, taps: int, size: int) -> Array:
    """For each of `count` windows along an axis, the first position inside; far away where there is none."""
    first = np.arange(count, dtype=np.int64) * stride - padding
    skipped = np.maximum(0, -(first // dilation))
    first += skipped * dilation
    return np.where((skipped < taps) & (first < size), first, _FAR // 2**31)


def windows(call: Call[Any], at_once: int = 1, again: int | None = None) -> Rooms:
    """A convolution or a pool that computes `at_once` pixels at a time; `again` as for `swept`, in bytes."""
    _, out_h, out_w, channels = call.output.shape
    size = channels * call.output.dtype.bytes
    return {0: swept(window_lows(call), size, at_once, out_h * out_w, again)}


def filter_by_filter(call: Call[Any], launch: Launch) -> Rooms:
    """A convolution that reads the window of a pixel again for each of its channels."""
    return windows(call, again=-(call.output.shape[3] - 1) * call.output.dtype.bytes)


def four_by_four(call: Call[Any], launch: Launch) -> Rooms:
    """A depthwise convolution that takes four channels of a pixel at a time, the last four from the end."""
    return windows(call, again=-(-call.output.shape[3] % 4) * call.output.dtype.bytes)


def channel_by_channel(call: Call[Any], launch: Launch) -> Rooms:
    """A pool: each channel of a pixel reads that channel of its window."""
    return windows(call, again=0)


def in_bands(call: Call[Any], launch: Launch) -> Rooms:
    """A convolution that copies the windows of `band` pixels, and then computes them."""
    return windows(call, field(launch, "band"))


def in_twos(call: Call[Any], launch: Launch) -> Rooms:
    """A convolution that copies the windows of two pixels, and then computes them."""
    return windows(call, 2)


def ring_rows(call: Call[Any], step: int = 1) -> Rooms:
    """A depthwise convolution that copies each row of the image into a ring once, before the outputs that need it."""
    (batch, in_h, in_w, channels), (_, out_h, out_w, _), attrs = call.input(0).shape, call.output.shape, call.attrs
    rows = (call.input(1).shape[1] - 1) * attrs.dilation[0] + 1
    top = np.arange(out_h) * attrs.stride[0]
    copied = np.append(0, top[:-1] + rows)
    first = np.maximum(np.maximum(top, copied) - attrs.padding[0], 0)
    first = np.where(first < in_h, first, _FAR // 2**31)
    low = (np.arange(batch)[:, None] * in_h + first) * in_w * channels
    return {0: Room(swept(np.minimum(low, _FAR).ravel(), out_w * channels).below, step)}


def blocks_of_channels(call: Call[Any], launch: Launch) -> Rooms:
    """`ring_rows` for four times `groups` channels of the whole image, then for the next ones.

    Channels stay apart where inputs and outputs are a number of pixels apart. Where the last four channels are not all
    new ones, some are read again after they were written.
    """
    channels, at_once = call.output.shape[3], 4 * field(launch, "groups")
    if channels <= at_once:
        return ring_rows(call)
    return ring_rows(call, step=channels) if channels % 4 == 0 else {}


def whole_rows(call: Call[Any], launch: Launch) -> Rooms:
    """`ring_rows` for all channels of a row."""
    return ring_rows(call)


def matrix_rows(call: Call[Any], depth: int, again: int | None) -> Rooms:
    """A matrix product, row by row of `depth` elements; `again` as for `swept`, in bytes."""
    rows = call.input(0).elements // depth
    low = np.arange(rows, dtype=np.int64) * depth * call.input(0).dtype.bytes
    return {0: swept(low, call.output.elements // rows * call.output.dtype.bytes, again=again)}


def unit_by_unit(call: Call[Any], launch: Launch) -> Rooms:
    """A matrix product that reads a row again for each unit."""
    depth = field(launch, "depth")
    units = call.output.elements * depth // call.input(0).elements
    return matrix_rows(call, depth, again=-(units - 1) * call.output.dtype.bytes)


def rows_copied(call: Call[Any], launch: Launch) -> Rooms:
    """A matrix product that copies a row before it computes its units."""
    return matrix_rows(call, field(launch, "depth"), again=None)


def four_units(call: Call[Any], launch: Launch) -> Rooms:
    """A matrix product that reads a row again for every four units."""
    before_last = 4 * (ceil(field(launch, "units") / 4) - 1)
    return matrix_rows(call, field(launch, "depth"), again=-before_last)


def rows_of_vectors(call: Call[Any], launch: Launch) -> Rooms:
    """A matrix product of one row, four units at a time; of more, two units at a time for all rows."""
    units, depth = field(launch, "matrix.filters"), field(launch, "matrix.size")
    if field(launch, "rows") > 1:
        return {}
    return matrix_rows(call, depth, again=-4 * (ceil(units / 4) - 1) if units > 4 else None)


def units_of_blocks(call: Call[Any], launch: Launch) -> Rooms:
    """`four_units`, by other names."""
    before_last = 4 * (ceil(field(launch, "matrix.filters") / 4) - 1)
    return matrix_rows(call, field(launch, "matrix.size"), again=-before_last)


def tile_by_tile(call: Call[Any], launch: Launch) -> Rooms:
    """A sparse product for `tile` pixels at a time, filter by filter: from the input, or from copies of windows."""
    tile, filters = field(launch, "tile"), field(launch, "filters")
    if field(launch, "gathered"):
        return {0: swept(window_lows(call), filters, tile)}
    low = np.arange(field(launch, "pixels"), dtype=np.int64) * field(launch, "depth")
    return {0: swept(low, filters, tile, again=1 - tile * filters)}


def rows_copied_but_rest(call: Call[Any], launch: Launch) -> Rooms:
    """`rows_copied`, but for single elements that are read again, if the list of them holds more than its end."""
    return unit_by_unit(call, launch) if np.size(launch.params["rest_units"]) > 1 else rows_copied(call, launch)


def rows_widened(call: Call[Any], launch: Launch) -> Rooms:
    """A matrix product that copies eights of a row, and reads the rest again for every four units."""
    depth, units = field(launch, "depth"), field(launch, "units")
    before_last = 4 * (ceil(units / 4) - 1)
    return matrix_rows(call, depth, again=depth // 8 * 8 - before_last if depth % 8 else None)


def elementwise(call: Call[Any], launch: Launch) -> Rooms:
    """Each output element is computed from the element of the input that has its number.

    Elements of different types may lie over each other only where one of them is a byte, as C's rules of aliasing say.
    """
    (i,), output = launch.reads, call.output
    source = call.input(i)
    if source.elements != output.elements or (source.dtype is not output.dtype and not _has_bytes(source, output)):
        return {}
    low = np.arange(output.elements, dtype=np.int64) * source.dtype.bytes
    return {i: swept(low, output.dtype.bytes)}


def _has_bytes(*types: TensorType) -> bool:
    return any(t.dtype.bytes == 1 for t in types)


def broadcast(call: Call[Any], launch: Launch) -> Rooms:
    """Each output element is computed from an element of each input, which repeats where it is broadcast."""
    output, rooms = call.output, {}
    for i in launch.reads:
        numbers = np.arange(call.input(i).elements, dtype=np.int64).reshape(call.input(i).shape)
        low = np.broadcast_to(numbers, output.shape).ravel() * output.dtype.bytes
        rooms[i] = swept(low, output.dtype.bytes)
    return rooms


def row_by_row(call: Call[Any], launch: Launch) -> Rooms:
    """Each row along the last axis is read before it is overwritten, element by element in the end."""
    return {launch.reads[0]: Room(0)}
