"""Model file → files of C, with everything that is known about them."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from tinygen import frontends, inspection
from tinygen.data.calibration import Source, load_samples
from tinygen.data.preprocessing import Preprocessing
from tinygen.emit.render import emit
from tinygen.errors import TinygenError, UsageError
from tinygen.export import tflite
from tinygen.files import write_files
from tinygen.inspection import Inspection
from tinygen.ir import store
from tinygen.ir.graph import Graph
from tinygen.ir.program import Program
from tinygen.lower import Optimize, lower
from tinygen.measure import measure
from tinygen.ops.limits import check_model, is_float, is_given
from tinygen.passes import LOSSLESS, run_passes
from tinygen.plan.arena import Plan, plan
from tinygen.plan.budget import Budget, check_budget
from tinygen.plan.order import in_best_order
from tinygen.quantize import Quantized, quantize, with_float_ports
from tinygen.quantize.given import from_given
from tinygen.quantize.report import Report
from tinygen.report import ModelInfo, report
from tinygen.target import Target, load_target

#: Sizes of inputs, by name.
Shapes = Mapping[str, tuple[int, ...]]
#: What may prefix C symbols.
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,40}")
#: Headers of the C library and of the verification harness, which <name>.h would hide.
_HEADERS = re.compile(
    r"assert|complex|ctype|errno|fenv|float|inttypes|iso646|limits|locale|math|setjmp|signal|std(arg|bool|def|int|io|lib)"
    r"|string|tgmath|time|wchar|wctype|harness|hook|machine|platform",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Build:
    """Everything that one build produced. `files` are the contents to write, `report` the content of report.json."""

    name: str
    target: Target
    graph: Graph
    program: Program
    plan: Plan
    files: Mapping[str, bytes]
    report: Mapping[str, Any]

    def write(self, folder: str | Path) -> Path:
        """Write all files into `folder` (made if need be), each complete or not at all; returns the folder."""
        return write_files(Path(folder), self.files)


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
) -> Build:
    """Compile `model` (a file or a graph) for `target` (a core or board, or its name).

    `name` prefixes every C symbol (default: from the file name). `ram` and `flash` are budgets in bytes (default:
    the board's). A float model is quantized to int8 by what its tensors hold on the samples in `calibration` (a file, a
    folder, ``random`` or Python objects: see `tinygen.data.calibration`), after `preprocessing`. `float_io` makes the
    program's inputs and outputs float32 where they would be int8. `shapes` is as for `load`. Raises `BudgetError` if
    the program does not fit, and what `load` raises. Nothing is written.
    """
    if optimize not in get_args(Optimize):
        raise UsageError(f"optimize '{optimize}': expected one of {', '.join(get_args(Optimize))}")
    goal = load_target(target) if isinstance(target, str) else target
    graph, info = _source(model, shapes)
    graph, quantization = _quantized(graph, info.file, calibration, preprocessing)
    graph = with_float_ports(graph) if float_io else graph
    graph = _renamed(graph, symbol(name if name is not None else graph.name, given=name is not None))
    graph, outcomes = run_passes(graph, LOSSLESS)
    graph, program, layout = laid_out(graph, goal, optimize)
    command = command_line(
        info.file, goal.name, graph.name if name else None, optimize, ram, flash, calibration, float_io, preprocessing
    )
    command += shape_words(shapes)
    sources = {
        k: v.encode() for k, v in emit(program, layout, provenance(command, info, goal, program, layout)).items()
    }
    memory = measure(sources, program, layout, goal, optimize)
    check_budget(_budget(goal, ram, flash), memory.ram, memory.flash, program, layout)
    files = {**sources, f"{graph.name}.tgm": store.dumps(graph)}
    made = report(program, layout, memory, goal, info, outcomes, files, command)
    made["quantization"] = quantization.as_dict() if quantization else None
    files["report.json"] = (json.dumps(made, indent=1, ensure_ascii=False) + "\n").encode()
    return Build(graph.name, goal, graph, program, layout, files, made)


def laid_out(graph: Graph, target: Target, optimize: Optimize) -> tuple[Graph, Program, Plan]:
    """`graph` lowered and planned, in its own order or in that with the fewest live bytes: whichever arena is smaller.

    The order is found before kernels are chosen, so it knows neither their scratch memory nor what runs in place.
    """
    best = in_best_order(graph)
    candidates = []
    for ordered in (graph,) if best is graph else (graph, best):
        program = lower(ordered, target, optimize)
        candidates.append((ordered, program, plan(program)))
    return min(candidates, key=lambda candidate: candidate[2].bytes)


def _source(model: str | Path | Graph, shapes: Shapes | None = None) -> tuple[Graph, ModelInfo]:
    if isinstance(model, Graph):
        check_model(model)
        return model, ModelInfo(model.name, "graph", hashlib.sha256(store.dumps(model)).hexdigest())
    path = Path(model)
    graph, data = load(path, shapes), path.read_bytes()
    return graph, ModelInfo(_encodable(path.name), frontends.format_of(data), hashlib.sha256(data).hexdigest())


def _quantized(
    graph: Graph, file: str, calibration: Source | None, preprocessing: Preprocessing | None
) -> tuple[Graph, Report | None]:
    """`graph` in int8, with the report of its quantization; as it is if it has been quantized before."""
    if not is_float(graph) or is_given(graph):
        if calibration is not None:
            raise UsageError(f"{file} is quantized already, so that there is nothing to calibrate: drop --calibration")
        return integers(graph), None
    if calibration is None:
        raise UsageError(
            f"{file} is a float model: pass samples of its input with --calibration FILE (.npz, .npy or a folder, a "
            "hundred will do), by which it is quantized to int8; '--calibration random' tries it without data"
        )
    made = _calibrated(graph, calibration, preprocessing, None)
    return made.graph, made.report


def integers(graph: Graph) -> Graph:
    """`graph`, if it was quantized elsewhere, in int8; see `tinygen.quantize.given`."""
    return from_given(graph) if is_given(graph) else graph


def _calibrated(graph: Graph, calibration: Source, preprocessing: Preprocessing | None, limit: int | None) -> Quantized:
    ports = [(name, graph.types[name]) for name in graph.inputs]
    return quantize(graph, load_samples(calibration, ports, limit=limit, preprocessing=preprocessing))


def quantize_model(
    model: str | Path | Graph,
    calibration: Source,
    *,
    preprocessing: Preprocessing | None = None,
    limit: int | None = None,
    shapes: Shapes | None = None,
) -> Quantized:
    """The int8 graph of a float model (a file or a graph), and what its quantization cost.

    `calibration` are samples of its inputs as for `build`, of which the first `limit` are taken. Raises `UsageError` if
    the model is quantized already, and what `load` raises.
    """
    graph, info = _source(model, shapes)
    if not is_float(graph) or is_given(graph):
        raise UsageError(f"{info.file} is quantized already: there is nothing to quantize")
    return _calibrated(graph, calibration, preprocessing, limit)


def save(graph: Graph, path: str | Path) -> Path:
    """Write `graph` as a .tflite file, and return its path.

    Raises `UnsupportedError`, naming the node, for what TFLite cannot say.
    """
    file = Path(path)
    if file.suffix != ".tflite":
        raise UsageError(f"'{file}': expected a name that ends in .tflite, the format that is written")
    write_files(file.parent, {file.name: tflite.dumps(graph)})
    return file


def _encodable(name: str) -> str:
    """A file name without the bytes that are no UTF-8, which Python holds as lone surrogates."""
    return name.encode(errors="replace").decode()


def _renamed(graph: Graph, name: str) -> Graph:
    return replace(graph, name=name)


def symbol(name: str, given: bool) -> str:
    """`name` as a C identifier: as it is if `given` by the user (who is told if it is none), else mended."""
    if given:
        if not _IDENTIFIER.fullmatch(name):
            raise UsageError(f"--name {name}: expected a C identifier of at most 41 letters, digits and underscores")
        if _HEADERS.fullmatch(name):
            raise UsageError(f"--name {name}: {name}.h would hide another header; choose another name")
        return name
    mended = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40].rstrip("_")
    good = _IDENTIFIER.fullmatch(mended) and not _HEADERS.fullmatch(mended)
    return mended if good else f"model_{mended}"[:41].rstrip("_")


def _budget(target: Target, ram: int | None, flash: int | None) -> Budget:
    board = f"target {target.name}"
    return Budget(
        ram if ram is not None else target.ram,
        flash if flash is not None else target.flash,
        "--ram" if ram is not None else board,
        "--flash" if flash is not None else board,
    )


def command_line(
    file: str,
    target: str,
    name: str | None,
    optimize: str,
    ram: int | None,
    flash: int | None,
    calibration: Source | None = None,
    float_io: bool = False,
    preprocessing: Preprocessing | None = None,
) -> str:
    """The command that makes the same files again, without folders; samples out of Python are called SAMPLES."""
    words = ["tinygen", "build", file, "--target", target]
    options = {
        "--name": name,
        "--ram": ram,
        "--flash": flash,
        "--optimize": optimize if optimize != "balanced" else None,
        "--calibration": Path(calibration).name if isinstance(calibration, str | Path) else "SAMPLES",
    }
    if calibration is None:
        del options["--calibration"]
    else:
        options |= (preprocessing or Preprocessing()).options()
    for option, value in options.items():
        words += [] if value is None else [option, str(value)]
    words += ["--float-io"] if float_io else []
    return shlex.join(words)


def shape_words(shapes: Shapes | None) -> str:
    """The options that fix the shapes of inputs, each with a space in front."""
    pairs = (f"{name}={','.join(map(str, shape))}" for name, shape in (shapes or {}).items())
    return "".join(f" --shape {shlex.quote(pair)}" for pair in pairs)


def provenance(command: str, info: ModelInfo, target: Target, program: Program, layout: Plan) -> list[str]:
    """The lines at the top of the generated files: what made them, from what, for what. No date, no path."""
    return [
        command,
        f"model:  {info.file}, SHA-256 {info.sha256}",
        f"target: {target.name} ({target.core})",
        f"RAM:    {layout.bytes} bytes of arena; constants: {program.constant_bytes} bytes; MACs: {program.macs}",
    ]


def inspect(model: str | Path) -> Inspection:
    """What a model file consists of, and what of it is unsupported and why."""
    return inspection.inspect(Path(model))
