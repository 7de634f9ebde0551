# SPDX-License-Identifier: Apache-2.0
"""Samples of a model's inputs, to calibrate or evaluate it with: from files, folders, or Python.

What may be a source:

- an .npz file: one array for each input, called by the tensor's name or in0, in1, … (a single input also x), N samples
  stacked along the first axis; labels, if any, under y or labels,
- an .npy file: the samples of the only input, likewise; a folder of .npy files: a sample or a stack in each,
- a folder of pictures (png, jpg, bmp) or of wave files: a sample in each, in the order of their names,
- ``random``: seeded noise, which says nothing about a model's accuracy,
- in Python also: an array, a mapping like an .npz file, an iterable of samples, or a function that returns one.

Dimensions of one do not count: 28×28 fits [1,28,28,1].
"""

from __future__ import annotations

import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.data import media
from tinygen.data.preprocessing import Preprocessing, described, fits, fitted
from tinygen.errors import UsageError
from tinygen.ir.types import Array, DType, TensorType

Inputs = Sequence[tuple[str, TensorType]]
Source = str | Path | Array | Mapping[str, Array] | Iterable[Any] | Callable[[], Iterable[Any]]

RANDOM = "random"
#: Random samples unless the caller says how many.
RANDOM_COUNT = 32
#: Random integers that are not quantized lie in 0 … SMALL - 1: they are mostly indices.
SMALL = 8
#: Keys under which an archive may keep labels, the first that is there.
LABELS = ("y", "labels")


@dataclass(frozen=True)
class Samples:
    """Input sets in the model's order, and the labels [N, …] that came with them, if any."""

    sets: list[list[Array]]
    labels: Array | None = None


def load_samples(
    source: Source,
    inputs: Inputs,
    *,
    limit: int | None = None,
    preprocessing: Preprocessing | None = None,
) -> list[list[Array]]:
    """The first `limit` (default: all) input sets in `source`, each with one array for each of `inputs` (name, type).

    Arrays have the input's shape. Float inputs get float32; quantized ones their own integers as they are, and float32
    real numbers where the source holds any other type; other integers their own type. `UsageError`, a sentence that
    names file and key, what was expected and what was found, for anything else.
    """
    return load_labelled(source, inputs, limit=limit, preprocessing=preprocessing).sets


def load_labelled(
    source: Source,
    inputs: Inputs,
    *,
    limit: int | None = None,
    preprocessing: Preprocessing | None = None,
) -> Samples:
    """As `load_samples`, with labels where `source` is an archive or a mapping that holds them."""
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit}: expected at least one sample")
    reader = _Reader(inputs, limit, preprocessing or Preprocessing())
    if isinstance(source, str) and source == RANDOM:
        return Samples(_random(inputs, limit or RANDOM_COUNT))
    found = reader.path(Path(source)) if isinstance(source, str | Path) else reader.objects(source)
    if not found.sets:
        raise UsageError(f"{_called(source)}: expected at least one sample, got none")
    return found


def _called(source: Source) -> str:
    return str(source) if isinstance(source, str | Path) else "the samples"


def _random(inputs: Inputs, count: int) -> list[list[Array]]:
    warnings.warn(
        "random noise stands for the data: neither ranges nor accuracy found with it are those of real data; "
        "pass real samples",
        stacklevel=4,
    )
    rng = np.random.default_rng(0)
    return [[_noise(rng, tensor) for _, tensor in inputs] for _ in range(count)]


def _noise(rng: np.random.Generator, tensor: TensorType) -> Array:
    if tensor.dtype is DType.FLOAT32 or tensor.quant is not None:
        return rng.standard_normal(tensor.shape).astype(np.float32)
    return rng.integers(0, 2 if tensor.dtype is DType.BOOL else SMALL, tensor.shape).astype(tensor.dtype.numpy)


@dataclass(frozen=True)
class _Reader:
    """Reads samples for `inputs`. `where` in its methods names the file, and the key if there is one."""

    inputs: Inputs
    limit: int | None
    preprocessing: Preprocessing

    def path(self, path: Path) -> Samples:
        if path.is_dir():
            return Samples(self.folder(path))
        content = load_arrays(path)
        if isinstance(content, dict):
            return self.archive(str(path), content)
        return Samples([[value] for value in self.stack(str(path), content, self.only(str(path)))])

    def only(self, where: str) -> TensorType:
        """The type of the model's only input."""
        if len(self.inputs) != 1:
            raise UsageError(f"{where}: the model has {len(self.inputs)} inputs: pass an .npz file with {self.names()}")
        return self.inputs[0][1]

    def names(self) -> str:
        return ", ".join(f"'{name}' (or 'in{index}')" for index, (name, _) in enumerate(self.inputs))

    def archive(self, where: str, arrays: Mapping[str, Array]) -> Samples:
        keys = [self.key(where, arrays, index) for index in range(len(self.inputs))]
        stacks = [
            self.stack(f"{where}: key '{key}'", np.asarray(arrays[key]), tensor)
            for key, (_, tensor) in zip(keys, self.inputs, strict=True)
        ]
        for key, stack in zip(keys, stacks, strict=True):
            if len(stack) != len(stacks[0]):
                raise UsageError(
                    f"{where}: key '{key}': expected {len(stacks[0])} samples as in '{keys[0]}', got {len(stack)}"
                )
        sets = [list(values) for values in zip(*stacks, strict=True)]
        return Samples(sets, self.labels(where, arrays, [k for k in LABELS if k not in keys], len(sets)))

    def key(self, where: str, arrays: Mapping[str, Array], index: int) -> str:
        """The key of input `index`."""
        others = ("x",) if len(self.inputs) == 1 else ()
        found = [key for key in dict.fromkeys((self.inputs[index][0], f"in{index}", *others)) if key in arrays]
        if len(found) != 1:
            got = " and ".join(f"'{key}'" for key in found or arrays) or "no key"
            raise UsageError(f"{where}: expected a key for input {index} of {self.names()}, got {got}")
        return str(found[0])

    def labels(self, where: str, arrays: Mapping[str, Array], keys: Sequence[str], count: int) -> Array | None:
        key = next((k for k in keys if k in arrays), None)
        if key is None:
            return None
        labels = np.asarray(arrays[key])
        if labels.dtype.kind not in "biuf" or not labels.ndim:
            raise UsageError(f"{where}: key '{key}': expected numbers, one for each sample, got {described(labels)}")
        if len(labels) < count or (self.limit is None and len(labels) != count):
            raise UsageError(f"{where}: key '{key}': expected {count} labels, got {len(labels)}")
        return labels[:count]

    def folder(self, path: Path) -> list[list[Array]]:
        tensor = self.only(str(path))
        files = sorted(f for f in path.iterdir() if f.is_file() and not f.name.startswith("."))
        endings = sorted({f.suffix.lower() for f in files})
        known = ({".npy"}, set(media.IMAGES), set(media.SOUNDS))
        if not files or not any(kind.issuperset(endings) for kind in known):
            got = ", ".join(ending or "files without an ending" for ending in endings) or "no files"
            raise UsageError(
                f"{path}: expected a folder of .npy files, of pictures (png, jpg, bmp) or of .wav files, got {got}"
            )
        values = (value for file in files for value in self.file(file, tensor))
        return [[value] for value in islice(values, self.limit)]

    def file(self, file: Path, tensor: TensorType) -> list[Array]:
        """The samples in one file of a folder."""
        ending = file.suffix.lower()
        if ending == ".npy":
            array = load_arrays(file)
            if isinstance(array, dict):
                raise UsageError(f"{file}: expected an .npy file with one array, got an .npz archive")
            return self.stack(str(file), array, tensor)
        if ending in media.SOUNDS:
            return [self.one(str(file), media.read_sound(file), tensor)]
        first = self.channels_first(tensor)
        picture = media.read_image(file, tensor.shape[-3] if first else tensor.shape[-1])
        shape = picture.transpose(2, 0, 1).shape if first else picture.shape
        if shape != tensor.shape[-3:]:
            height, width = tensor.shape[-2:] if first else tensor.shape[-3:-1]
            raise UsageError(
                f"{file}: expected {height}×{width} pixels (height first), got {picture.shape[0]}×{picture.shape[1]}; "
                "resize the pictures as in training (it is not done here: every way of resizing gives other pixels)"
            )
        turned = Preprocessing(self.preprocessing.mean, self.preprocessing.scale, "nchw" if first else None)
        return [fitted(str(file), picture[None], tensor, turned)[0]]

    def channels_first(self, tensor: TensorType) -> bool:
        """Whether a picture must become [channels, height, width] for `tensor`."""
        if len(tensor.shape) < 3 or tensor.shape[:-3] not in ((), (1,)):
            raise UsageError(f"pictures do not fit the model's input {tensor}: expected [1,height,width,channels]")
        if self.preprocessing.layout is not None:
            return self.preprocessing.layout == "nchw"
        return tensor.shape[-1] not in (1, 3, 4) and tensor.shape[-3] in (1, 3, 4)

    def stack(self, where: str, array: Array, tensor: TensorType) -> list[Array]:
        """The samples in `array`: one, or several along the first axis."""
        how = self.preprocessing
        stacked = array.ndim and fits(array.shape[1:], tensor, how)
        single = not stacked and (array.ndim == 0 or fits(array.shape, tensor, how))
        return fitted(where, array[None] if single else array[: self.limit], tensor, how)

    def one(self, where: str, array: Array, tensor: TensorType) -> Array:
        return fitted(where, array[None], tensor, self.preprocessing)[0]

    def objects(self, source: Any) -> Samples:
        """Samples that Python code gives."""
        if callable(source):
            source = source()
        if isinstance(source, Mapping):
            return self.archive("the samples", source)
        if isinstance(source, np.ndarray):
            return Samples([[v] for v in self.stack("the samples", source, self.only("the samples"))])
        try:
            items: Iterator[Any] = iter(source)
        except TypeError:
            raise UsageError(f"samples: expected an iterable or a file, got {type(source).__name__}") from None
        return Samples([self.item(i, item) for i, item in enumerate(islice(items, self.limit))])

    def item(self, index: int, item: Any) -> list[Array]:
        """One sample: a mapping by input name, a sequence of arrays, or an array for the only input."""
        where = f"sample {index}"
        if isinstance(item, Mapping):
            item = [item[self.key(where, item, i)] for i in range(len(self.inputs))]
        elif not isinstance(item, list | tuple):
            item = [item]
        if len(item) != len(self.inputs):
            raise UsageError(f"{where}: expected {len(self.inputs)} arrays ({self.names()}), got {len(item)}")
        return [
            self.one(f"{where}, input '{name}'", np.asarray(value), tensor)
            for value, (name, tensor) in zip(item, self.inputs, strict=True)
        ]


def load_arrays(path: Path) -> Array | dict[str, Array]:
    """The array in an .npy file, or those in an .npz archive by key; `UsageError` if it is neither."""
    loaded = _loaded(path)
    if loaded is None:
        raise UsageError(
            f"{path}: expected an .npz archive or .npy file of plain arrays, made with numpy.savez or numpy.save"
        )
    return loaded


def load_archive(path: Path) -> dict[str, Array]:
    """The arrays in an .npz archive by key; `UsageError` if it is none."""
    loaded = _loaded(path)
    if not isinstance(loaded, dict):
        raise UsageError(f"{path}: expected an .npz archive of plain arrays, made with numpy.savez")
    return loaded


def _loaded(path: Path) -> Array | dict[str, Array] | None:
    """What an .npy file or an .npz archive holds; None if it is neither. Raises `UsageError` if it cannot be read."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded as archive:
            return {key: archive[key] for key in archive.files}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise UsageError(f"{path}: too large for this computer's memory: pass fewer samples") from None
    # RuntimeError: an archive with a password, or (NotImplementedError) compressed in a way that Python does not know
    except (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return None
