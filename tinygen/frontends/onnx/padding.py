# SPDX-License-Identifier: Apache-2.0
"""Pad."""

from __future__ import annotations

import numpy as np

from tinygen.frontends.onnx.build import Builder
from tinygen.frontends.onnx.movement import gather, parameter, pick
from tinygen.frontends.onnx.node import OnnxNode
from tinygen.frontends.onnx.registry import handles
from tinygen.ops.mirror_pad import MirrorMode, MirrorPadAttrs
from tinygen.ops.movement import normal_axis


@handles("Pad")
def pad(b: Builder, node: OnnxNode) -> str:
    """Negative amounts cut off first."""
    amounts = _amounts(b, node)
    cuts = [
        range(max(-before, 0), n - max(-after, 0))
        for n, (before, after) in zip(b.shape(node.input(0)), amounts, strict=True)
    ]
    x = pick(b, node, node.input(0), cuts)
    amounts = [(max(before, 0), max(after, 0)) for before, after in amounts]
    if not any(n for pair in amounts for n in pair):
        return x
    mode = node.attr("mode", "constant")
    if mode == "constant":
        return _constant(b, node, x, amounts)
    if mode == "reflect":
        fits = all(max(p) < n for p, n in zip(amounts, b.shape(x), strict=True))
        node.need(fits, "reflected padding must be smaller than the dimension: use mode edge, or pad less")
        return b.emit("MIRROR_PAD", [x, b.integers(np.array(amounts))], MirrorPadAttrs(MirrorMode.REFLECT))
    node.need(mode in ("edge", "wrap"), f"mode {mode} is unknown: use constant, reflect, edge or wrap")
    return _repeated(b, x, amounts, mode)


def _amounts(b: Builder, node: OnnxNode) -> list[tuple[int, int]]:
    """(before, after) for each dimension."""
    flat, rank = parameter(b, node, 1, "pads"), b.rank(node.input(0))
    node.need(flat is not None, "its pads must be constant: export the model with fixed sizes")
    axes = parameter(b, node, 3, "axes") if node.has(3) else None
    listed = list(range(rank)) if axes is None else [normal_axis(axis, rank) for axis in axes]
    assert flat is not None
    if len(flat) != 2 * len(listed):
        raise ValueError(f"{len(flat)} pads for {len(listed)} dimensions")
    amounts = [(0, 0)] * rank
    for i, axis in enumerate(listed):
        amounts[axis] = flat[i], flat[i + len(listed)]
    return amounts


def _constant(b: Builder, node: OnnxNode, x: str, amounts: list[tuple[int, int]]) -> str:
    value = float(node.attr("value", 0.0))
    if node.has(2):
        node.need(node.input(2) in b.known, "its value must be constant: store it in the model")
        value = float(b.known[node.input(2)].reshape(()))
    if value == 0:
        return b.emit("PAD", [x, b.integers(np.array(amounts))])
    return b.emit("PADV2", [x, b.integers(np.array(amounts)), b.floats([value])])


def _repeated(b: Builder, x: str, amounts: list[tuple[int, int]], mode: str) -> str:
    """The edge again and again, or the opposite side."""
    for axis, (before, after) in enumerate(amounts):
        if before or after:
            size = b.shape(x)[axis]
            indices = np.arange(-before, size + after)
            x = gather(b, x, np.clip(indices, 0, size - 1) if mode == "edge" else indices % size, axis)
    return x
