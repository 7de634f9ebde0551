# SPDX-License-Identifier: Apache-2.0
"""Model file → files of C, with everything that is known about them."""

from __future__ import annotations

import hashlib
import shlex
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from tinygen import frontends, inspection
from tinygen.assembly import Build, Order
from tinygen.compress import Bought
from tinygen.compress.recipe import Recipe, fits_all
from tinygen.compress.recipe import read as read_recipe
from tinygen.data.calibration import Source, load_samples
from tinygen.data.preprocessing import Preprocessing
from tinygen.errors import BudgetError, TinygenError, UsageError
from tinygen.export import tflite
from tinygen.files import check_folder, write_files
from tinygen.inspection import Inspection
from tinygen.ir import store
from tinygen.ir.graph import Graph
from tinygen.ops.limits import check_model
from tinygen.packages import check_kinds
from tinygen.passes import lossless
from tinygen.plan.budget import Budget
from tinygen.provenance import Shapes, command_line, shape_words, symbol
from tinygen.quantize import Options, Quantized, Wide, quantize
from tinygen.report import ModelInfo
from tinygen.search.base import Problem
from tinygen.search.request import NOTHING, OutOfReach, SearchOptions, check_latency, find, is_limited
from tinygen.selection import Optimize
from tinygen.shrink import Compression, Shrunk, integers, needs_quantization, shrink
from tinygen.target import Target, load_target

#: Where constants go: into the code as arrays, or together into one block.
Weights = Literal["code", "blob"]

__all__ = ["Build", "Shapes", "build", "compress_model", "inspect", "integers", "load", "quantize_model", "save"]


def load(path: str | Path, shapes: Shapes | None = None) -> Graph:
    """The graph of a model file. `shapes` fixes the dynamic dimensions of an ONNX model's inputs, by name.

    Raises `ModelError` if it is malformed, `UnsupportedError` if it uses what tinygen does not have. Warns of what was
    decided for the user (a dynamic batch is 1).
    """
    loaded = frontends.load_with_notes(Path(path), shapes)
    for note in loaded.notes:
        warnings.warn(f"{Path(path).name}: {note}", stacklevel=2)
    graph = loaded.graph
    try:
        check_model(graph)
    except TinygenError as error:
        raise type(error)(f"{Path(path).name}: {error}") from error
    return graph


def build(
    model: str | Path | Graph,
    target: str | Target = "cortex-m4",
    *,
    name: str | None = None,
    optimize: Optimize = "balanced",
    ram: int | None = None,
    flash: int | None = None,
    calibration: Source | None = None,
    float_io: bool = False,
    preprocessing: Preprocessing | None = None,
    shapes: Shapes | None = None,
    recipe: Recipe | None = None,
    data: Source | None = None,
    mixed: Wide = "none",
    heard: Callable[[Bought], None] = lambda bought: None,
    without: Collection[str] = (),
    packages: Collection[str] = (),
    weights: Weights = "code",
    push_rows: bool = False,
    sections: Mapping[str, str] | None = None,
    cache_weights: int | Literal["auto", "none"] = "none",
    search: SearchOptions | None = None,
) -> Build:
    """Compile `model` (a file or a graph) for `target` (a core or board, or its name).

    `name` prefixes every C symbol (default: from the file name). `ram` and `flash` are budgets in bytes (default:
    the board's). A float model is quantized to int8 by what its tensors hold on the samples in `calibration` (a file, a
    folder, ``random`` or Python objects: see `tinygen.data.calibration`), after `preprocessing`. `float_io` makes the
    program's inputs and outputs float32 where they would be int8. `mixed` says which activations of a float model get
    16 bits (see `tinygen.quantize.Options.wide`). `shapes` is as for `load`. `without` names lossless passes (see
    `tinygen.passes.LOSSLESS`) that shall not run. `packages` are kinds of libraries (see `tinygen.packages`) whose
    files are to stand beside the C. `weights`: ``blob`` puts all constants into one block, which can be replaced.
    `push_rows`: the input image comes row by row, and is never in memory as a whole (`UnsupportedError` where the first
    layers cannot be computed so). `sections` says for patterns of constants' names (``"conv1.*"``) and for ``"arena"``
    which memory of the board, or which section (``".external"``), they lie in; where it says nothing, and a board has
    several, those that are read most lie in the fastest one with room. `cache_weights` copies weights that lie in slow
    memory to RAM while their layer runs, where that saves cycles: ``"auto"``, or for layers of at most so many bytes.

    `recipe` compresses the model: a TOML file (see `tinygen.compress.recipe`), values by technique such as ``{"share":
    16}``, or techniques. It is fitted to `calibration`, and judged on samples of it that are held back, or on `data`
    (with labels, if there are); `heard` gets a line after each technique.

    Without a recipe, and where the plain model does not fit what the program is limited to, `calibration` lets a search
    find a recipe for which it does, and which loses least; `search` says how (see `tinygen.SearchOptions`). Raises
    `BudgetError` if the program does not fit (`tinygen.OutOfReach` after a search), and what `load` raises. Nothing is
    written.
    """
    if optimize not in get_args(Optimize):
        raise UsageError(f"optimize '{optimize}': expected one of {', '.join(get_args(Optimize))}")
    if weights not in get_args(Weights):
        raise UsageError(f"weights '{weights}': expected one of {', '.join(get_args(Weights))}")
    goal = load_target(target) if isinstance(target, str) else target
    graph, info = source(model, shapes)
    wanted = check_kinds(packages)
    if push_rows and wanted:
        raise UsageError("--push-rows: there are no packages for models that take rows; leave out --package")
    techniques, options = read_recipe(recipe), search or SearchOptions()
    limits = options.goal(goal, ram, flash)
    options.check(limits, bool(techniques))
    searchable = is_limited(limits) and not techniques and mixed == "none"
    if data is not None and not techniques and not searchable:
        raise UsageError(
            "--data judges what is lost: pass a technique, too, such as --share 16, or --recipe, or a budget to search "
            "for what fits, such as --flash 64K"
        )
    passes = lossless(without)
    compression = Compression(techniques, goal, optimize, data, heard, passes, fits_all(recipe))
    needed = calibration if not searchable or needs_quantization(graph) else None
    made = shrink(graph, info.file, needed, preprocessing, compression, mixed)
    prefix = symbol(name if name is not None else made.graph.name, given=name is not None)
    command = command_line(
        info.file,
        goal.name,
        prefix if name else None,
        optimize,
        ram,
        flash,
        calibration,
        float_io,
        preprocessing,
        recipe,
        without,
        mixed,
        data,
        options.words(),
    )
    command += shape_words(shapes) + (" --weights blob" if weights == "blob" else "")
    budget, blob = _budget(goal, ram, flash), weights == "blob"
    command += " --push-rows" if push_rows else ""
    command += "".join(f" --section {shlex.quote(f'{name}={where}')}" for name, where in (sections or {}).items())
    copies = None if cache_weights == "auto" else 0 if cache_weights == "none" else cache_weights
    command += "" if copies == 0 else f" --cache-weights {cache_weights}"
    order = Order(
        prefix, info, goal, optimize, passes, float_io, budget, command, wanted, blob, push_rows, sections or {}, copies
    )
    plain = order.assembled(made)
    try:
        order.check(plain)
        check_latency(limits, Problem(plain.graph, NOTHING, goal, optimize))
    except BudgetError as error:
        if not searchable or calibration is None:
            samples = "; or pass samples with --calibration, to search for what fits" if searchable else ""
            raise BudgetError(f"{error}{order.advice(plain)}{samples}") from None
    else:
        return plain
    problem = Problem(graph, NOTHING, goal, optimize, passes, float_io)
    quantization, found = find(problem, calibration, data, preprocessing, limits, options)
    if not found.fits:
        raise OutOfReach(found)
    best = order.assembled(Shrunk(found.graph, quantization, found.bought), found)
    order.check(best)
    return replace(best, plain=plain)


def source(model: str | Path | Graph, shapes: Shapes | None = None) -> tuple[Graph, ModelInfo]:
    """The graph of `model`, and where it came from."""
    if isinstance(model, Graph):
        check_model(model)
        return model, ModelInfo(model.name, "graph", hashlib.sha256(store.dumps(model)).hexdigest())
    path = Path(model)
    return load(path, shapes), ModelInfo(_encodable(path.name), *frontends.identified(path))


def _calibrated(
    graph: Graph, calibration: Source, preprocessing: Preprocessing | None, limit: int | None, mixed: Wide
) -> Quantized:
    ports = [(name, graph.types[name]) for name in graph.inputs]
    samples = load_samples(calibration, ports, limit=limit, preprocessing=preprocessing)
    return quantize(graph, samples, Options(wide=mixed))


def quantize_model(
    model: str | Path | Graph,
    calibration: Source,
    *,
    preprocessing: Preprocessing | None = None,
    limit: int | None = None,
    mixed: Wide = "none",
    shapes: Shapes | None = None,
) -> Quantized:
    """The int8 graph of a float model (a file or a graph), and what its quantization cost.

    `calibration` are samples of its inputs as for `build`, of which the first `limit` are taken; `mixed` is as there.
    Raises `UsageError` if the model is quantized already, and what `load` raises.
    """
    graph, info = source(model, shapes)
    if not needs_quantization(graph):
        raise UsageError(f"{info.file} is quantized already: there is nothing to quantize")
    return _calibrated(graph, calibration, preprocessing, limit, mixed)


def compress_model(
    model: str | Path | Graph,
    recipe: Recipe,
    calibration: Source,
    *,
    target: str | Target = "cortex-m4",
    optimize: Optimize = "balanced",
    data: Source | None = None,
    preprocessing: Preprocessing | None = None,
    shapes: Shapes | None = None,
    heard: Callable[[Bought], None] = lambda bought: None,
) -> Shrunk:
    """The int8 graph of a model after the techniques of `recipe`, and what each of them bought on `target`.

    Arguments are those of `build`. Raises `UsageError` for a recipe without techniques.
    """
    goal = load_target(target) if isinstance(target, str) else target
    graph, info = source(model, shapes)
    techniques = read_recipe(recipe)
    if not techniques:
        raise UsageError("the recipe has no technique: pass --recipe FILE, or techniques such as --share 16")
    wanted = Compression(techniques, goal, optimize, data, heard, fits_all=fits_all(recipe))
    return shrink(graph, info.file, calibration, preprocessing, wanted)


def integer_model(
    model: str | Path | Graph,
    calibration: Source | None = None,
    *,
    preprocessing: Preprocessing | None = None,
    limit: int | None = None,
    mixed: Wide = "none",
    shapes: Shapes | None = None,
) -> Shrunk:
    """The int8 graph of any model: a float one is quantized as by `quantize_model`, others have their own integers.

    Raises `UsageError` for a float model without `calibration`, and for another model with it.
    """
    graph, info = source(model, shapes)
    if calibration is None or not needs_quantization(graph):
        return shrink(graph, info.file, calibration, mixed=mixed)
    made = _calibrated(graph, calibration, preprocessing, limit, mixed)
    return Shrunk(made.graph, made.report)


def _as_onnx(graph: Graph) -> bytes:
    from tinygen.export import onnx  # here: onnx takes half a second to import

    return onnx.dumps(graph)


_WRITERS: Mapping[str, Callable[[Graph], bytes]] = {".tflite": tflite.dumps, ".onnx": _as_onnx, ".tg": store.dumps}


def check_writable(path: str | Path) -> Path:
    """`path`, if its ending says a format that `save` writes, and its folder takes files; `UsageError` if not."""
    file = Path(path)
    if file.suffix not in _WRITERS:
        raise UsageError(
            f"'{file}': expected a name that ends in {' or '.join(_WRITERS)}, the formats that are written"
        )
    check_folder(file.parent)
    return file


def save(graph: Graph, path: str | Path) -> Path:
    """Write int8 `graph` as a .tflite, an .onnx or a .tg file (which only `tinygen` reads); returns its path.

    Raises `UnsupportedError`, naming the node, for what the format cannot say.
    """
    file = check_writable(path)
    write_files(file.parent, {file.name: _WRITERS[file.suffix](graph)})
    return file


def _encodable(name: str) -> str:
    """A file name without the bytes that are no UTF-8, which Python holds as lone surrogates."""
    return name.encode(errors="replace").decode()


def _budget(target: Target, ram: int | None, flash: int | None) -> Budget:
    board = f"target {target.name}"
    return Budget(
        ram if ram is not None else target.ram,
        flash if flash is not None else target.flash,
        "--ram" if ram is not None else board,
        "--flash" if flash is not None else board,
    )


def inspect(model: str | Path) -> Inspection:
    """What a model file consists of, and what of it is unsupported and why."""
    return inspection.inspect(Path(model))
