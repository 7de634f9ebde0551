# SPDX-License-Identifier: Apache-2.0
"""A layer's weights as products of smaller ones: which forms there are, and what each would cost and lose.

- ``svd``: the layer with r filters, then a 1×1 (or dense) layer that mixes them (E. Denton et al., Exploiting Linear
  Structure Within Convolutional Networks, 2014);
- ``columns`` and ``rows``: a k×1 convolution with r filters, then a 1×k one; or the other way round (M. Jaderberg et
  al., Speeding up Convolutional Neural Networks with Low Rank Expansions, 2014);
- ``tucker``: 1×1 to p channels, k×k from p to q, 1×1 from q (Y.-D. Kim et al., Compression of Deep Convolutional Neural
  Networks for Fast and Low Power Mobile Applications, 2016).

What is lost is measured on the layer's outputs, not on its weights: with inputs of covariance C, weights V in place of
W cost tr (W - V) C (W - V)'. Inputs are in the order of `tinygen.quantize.layers.rows`: [kernel_h, kernel_w, channels].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinygen.ir.types import Real

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Form:
    """One way to write a layer: its kind and ranks, and the share of the outputs' variance that it loses."""

    kind: str
    ranks: tuple[int, ...]
    error: float


@dataclass(frozen=True)
class Layer:
    """What the forms of a layer follow from: weights [filters, depth], the covariance of inputs [depth, depth], damped,
    and the kernel's shape (filters, kernel_h, kernel_w, channels)."""

    weights: Real
    covariance: Real
    shape: Shape

    @property
    def power(self) -> float:
        """The variance of the outputs, summed."""
        return max(float(np.einsum("fd,de,fe->", self.weights, self.covariance, self.weights, optimize=True)), 1e-30)


def forms(layer: Layer, multiple: int) -> Iterator[Form]:
    """Every form of `layer` with ranks that are multiples of `multiple`, and what it loses."""
    filters, height, width, channels = layer.shape
    lost = _lost(layer.weights, layer.covariance)
    for rank in range(multiple, min(len(lost), filters + 1), multiple):
        yield Form("svd", (rank,), lost[rank] / layer.power)
    if height > 1 and width > 1:
        yield from _spatial(layer, "columns", multiple)
        yield from _spatial(layer, "rows", multiple)
    if height * width > 1 and channels > multiple:
        yield from _tucker(layer, multiple)


def _lost(weights: Real, covariance: Real) -> Real:
    """What the best weights of rank 0, 1, 2 … lose: [rank + 1]."""
    values = np.linalg.svd(weights @ np.linalg.cholesky(covariance), compute_uv=False) ** 2
    return np.concatenate([np.cumsum(values[::-1])[::-1], [0.0]])


def _spatial(layer: Layer, kind: str, multiple: int) -> Iterator[Form]:
    filters, height, width, channels = layer.shape
    near, far = (height, width) if kind == "columns" else (width, height)
    basis = spatial_basis(layer, kind)
    limit = layer.weights.size // (near * channels + far * filters)
    for rank in range(multiple, min(len(basis), limit) + 1, multiple):
        maps = spread(basis[:rank], kind, layer.shape)
        error = layer.power - _held(layer, maps)
        yield Form(kind, (rank,), max(error, 0.0) / layer.power)


def _tucker(layer: Layer, multiple: int) -> Iterator[Form]:
    filters, _, _, channels = layer.shape
    basis = channel_basis(layer)
    for first in range(multiple, min(len(basis), channels - 1) + 1, multiple):
        maps = spread(basis[:first], "channels", layer.shape)
        inner = maps @ layer.covariance @ maps.T
        core = restricted(layer, maps)
        lost = layer.power - _held(layer, maps) + _lost(core, inner)
        for second in (*range(multiple, min(len(lost) - 1, filters), multiple), filters):
            yield Form("tucker", (first, second), max(float(lost[min(second, len(lost) - 1)]), 0.0) / layer.power)


def restricted(layer: Layer, maps: Real) -> Real:
    """The weights [filters, n] that do with inputs mapped by `maps` [n, depth] nearest to what the layer does."""
    inner = maps @ layer.covariance @ maps.T
    jitter = np.eye(len(inner)) * (1e-9 * np.trace(inner) / len(inner) + 1e-30)
    return np.asarray(np.linalg.solve(inner + jitter, maps @ layer.covariance @ layer.weights.T).T)


def _held(layer: Layer, maps: Real) -> float:
    """The variance of the outputs that is kept when the inputs are mapped by `maps`."""
    return float(
        np.einsum("fn,nd,fd->", restricted(layer, maps), maps @ layer.covariance, layer.weights, optimize=True)
    )


def output_basis(layer: Layer, rank: int) -> tuple[Real, Real]:
    """The best weights of `rank`: filters [rank, depth], the most useful first, and their mixture [filters, rank]."""
    left, _, _ = np.linalg.svd(layer.weights @ np.linalg.cholesky(layer.covariance), full_matrices=False)
    return left[:, :rank].T @ layer.weights, left[:, :rank]


def spatial_basis(layer: Layer, kind: str) -> Real:
    """Filters along one dimension of the kernel, the most useful first: [ranks, kernel_h or kernel_w, channels]."""
    filters, height, width, channels = layer.shape
    weights = layer.weights.reshape(filters, height, width, channels)
    blocks = layer.covariance.reshape(height, width, channels, height, width, channels)
    if kind == "columns":
        inputs = np.einsum("axbcxd->abcd", blocks).reshape(height * channels, -1) / width
        unfolded = weights.transpose(0, 2, 1, 3).reshape(filters * width, -1)
        return _basis(unfolded, inputs).reshape(-1, height, channels)
    inputs = np.einsum("xabxcd->abcd", blocks).reshape(width * channels, -1) / height
    return _basis(weights.reshape(filters * height, -1), inputs).reshape(-1, width, channels)


def channel_basis(layer: Layer) -> Real:
    """Mixtures of channels, the most useful first: [ranks, channels]."""
    _, height, width, channels = layer.shape
    taps = layer.covariance.reshape(height * width, channels, height * width, channels)
    return _basis(layer.weights.reshape(-1, channels), np.einsum("tctd->cd", taps) / (height * width))


def _basis(unfolded: Real, covariance: Real) -> Real:
    """Directions [ranks, depth] of the inputs that matter most to `unfolded` [any, depth], in its own units."""
    damped = covariance + np.eye(len(covariance)) * (1e-6 * np.trace(covariance) / len(covariance) + 1e-30)
    left, _, _ = np.linalg.svd(unfolded @ np.linalg.cholesky(damped), full_matrices=False)
    return np.asarray(left.T @ unfolded)


def spread(basis: Real, kind: str, shape: Shape) -> Real:
    """What a first layer with filters `basis` makes of the inputs of the whole kernel: [latents, depth].

    Latents are in the order in which the second layer reads them.
    """
    _, height, width, channels = shape
    if kind == "channels":
        return np.asarray(np.kron(np.eye(height * width), basis))
    if kind == "columns":
        parts = np.einsum("xw,rhc->xrhwc", np.eye(width), basis)
    else:
        parts = np.einsum("xh,rwc->xrhwc", np.eye(height), basis)
    return np.asarray(parts.reshape(-1, height * width * channels))
