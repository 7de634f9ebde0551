# SPDX-License-Identifier: Apache-2.0
"""The handwritten digits that ship inside scikit-learn, split the same way everywhere.

    python examples/digits/data.py

writes them as train.npz and test.npz into the current folder: samples x and labels y, as `tinygen` takes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn import datasets


@dataclass(frozen=True)
class Digits:
    """`images` float32 [N, 8, 8, 1] in 0..1, `labels` [N] in 0..9."""

    images: np.ndarray
    labels: np.ndarray


def load_digits() -> tuple[Digits, Digits]:
    """(train, test): 1 437 and 360 images, shuffled with a fixed seed."""
    bunch = datasets.load_digits()
    images = (bunch.images / 16).astype(np.float32)[..., None]
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:1437], order[1437:]
    return Digits(images[train], bunch.target[train]), Digits(images[test], bunch.target[test])


def write(folder: Path) -> None:
    """train.npz and test.npz in `folder`."""
    for name, digits in zip(("train", "test"), load_digits(), strict=True):
        np.savez(folder / f"{name}.npz", x=digits.images, y=digits.labels)


if __name__ == "__main__":
    write(Path())
