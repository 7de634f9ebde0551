# SPDX-License-Identifier: Apache-2.0
"""The command line. Everything it does is in `tinygen.api`; here are only words and tables."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from tinygen import api, doctor, running
from tinygen.commands import project
from tinygen.commands.compression import compress_, compressed, tell
from tinygen.commands.data import evaluate, quantize
from tinygen.commands.platformio import platformio_
from tinygen.commands.profile import profile
from tinygen.commands.report import compare, report
from tinygen.commands.search import limited, print_search, search_, searching
from tinygen.commands.sections import bytes_or_auto, print_memories, sections_of
from tinygen.commands.several import build_several
from tinygen.commands.terminal import (
    ERR,
    OUT,
    columns,
    cut,
    json_option,
    mixed_option,
    preprocessed,
    print_quantization,
    shape_option,
    target_option,
)
from tinygen.compress.recipe import Recipe
from tinygen.errors import TinygenError
from tinygen.files import check_folder
from tinygen.kernels.base import PLAIN
from tinygen.packages import kinds
from tinygen.target import Target, all_targets, load_target
from tinygen.verify.check import Verification
from tinygen.version import VERSION


class _Commands(click.Group):
    """A group whose commands end a `TinygenError` with its sentence and its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = lambda message, *_: click.echo(f"warning: {message}", err=True)
                return super().invoke(ctx)
        except TinygenError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="tinygen")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Turn a trained neural network into C for a microcontroller, and prove that it computes the same bits."""
    if ctx.invoked_subcommand != "init":
        ctx.default_map = project.defaults(main)


main.add_command(compare)
main.add_command(compress_)
main.add_command(evaluate)
main.add_command(platformio_)
main.add_command(project.init)
main.add_command(profile)
main.add_command(quantize)
main.add_command(report)
main.add_command(search_)


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("others", type=click.Path(path_type=Path), nargs=-1)
@target_option()
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write to (default: the model's name).")
@click.option("--name", metavar="NAME", help="Prefix of all C symbols and file names (default: from the file name).")
@click.option(
    "--optimize",
    type=click.Choice(["speed", "size", "ram", "balanced"]),
    default="balanced",
    show_default=True,
    help="What to favour where kernels differ.",
)
@click.option(
    "--calibration", metavar="DATA", help="Samples of a float model's input: .npz, .npy, a folder, or 'random'."
)
@mixed_option
@click.option("--float-io", is_flag=True, help="Inputs and outputs in float32 instead of int8.")
@click.option("--without", metavar="PASS", multiple=True, help="A lossless pass to leave out, such as dead-channels.")
@click.option(
    "--weights",
    type=click.Choice(["code", "blob"]),
    default="code",
    show_default=True,
    help="Where constants go; blob: into one block, which can be replaced without linking again.",
)
@click.option("--push-rows", is_flag=True, help="Take the input image row by row, and never have it in RAM whole.")
@click.option(
    "--section",
    "sections",
    metavar="NAME=WHERE",
    multiple=True,
    callback=sections_of,
    help="Memory of the board, or section, for the arena or for constants, such as 'conv1.*=.external'.",
)
@click.option(
    "--cache-weights",
    metavar="BYTES|auto",
    default="none",
    callback=bytes_or_auto,
    help="Copy weights from slow memory to RAM while their layer runs, where that saves cycles.",
)
@click.option(
    "--package",
    "packages",
    metavar="KIND",
    multiple=True,
    help=f"Files for a build system: {', '.join(kinds())}, or all.",
)
@compressed
@limited
@shape_option
@preprocessed
@json_option
def build(
    model: Path, others: tuple[Path, ...], out: Path | None, recipe: Recipe | None, as_json: bool, **asked: Any
) -> None:
    """Compile MODEL (.tflite or .onnx) to C. A float model is quantized to int8, for which it needs --calibration.

    Where the plain model does not fit the budget, samples (--calibration) let a search find what does.

    MODEL and OTHERS become one C file, for a firmware in which only one of them runs at a time: they share an arena,
    kernels and tables.
    """
    check_folder(out if out is not None else Path())
    if others:
        build_several((model, *others), out, recipe, as_json, asked)
        return
    heard = (lambda bought: None) if as_json else tell
    with searching(f"compiling {model.name}", asked.pop("options"), asked["target"], as_json) as search:
        made = api.build(model, recipe=recipe, heard=heard, search=search, **asked)
        folder = made.write(out if out is not None else Path(made.name))
    if as_json:
        click.echo(json.dumps(made.report, indent=1))
        return
    if made.found is not None and made.plain is not None:
        print_search(made.found, made.target, made.plain.report, made.report)
    else:
        _print_layers(made.report)
    _print_memory(made.report, asked["ram"], asked["flash"])
    print_memories(made.report)
    print_quantization(made.report["quantization"])
    if made.found is None and recipe is None and (asked["ram"] or asked["flash"] or search.latency):
        OUT.print("fits as it is: nothing was lost")
    OUT.print(f"wrote {folder}/{made.name}.h, {made.name}.c; check them with: tinygen verify {folder}")


def _print_layers(report: Mapping[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    forms = [layer["form"] if layer["form"] != PLAIN else "" for layer in report["layers"]]
    columns(table, "step")
    columns(table, "operator", "name", shrink=True)
    columns(table, "output", "MACs", "constants", numbers=True)
    if any(forms):
        columns(table, "stored as")
    for layer, form in zip(report["layers"], forms, strict=True):
        shape = "×".join(map(str, layer["output_shape"]))
        cells = [shape, f"{layer['macs']:,}", f"{layer['constant_bytes']:,}", *([form] if any(forms) else [])]
        table.add_row(str(layer["step"]), cut(layer["op"]), cut(layer["name"]), *cells)
    OUT.print(table)


def _print_memory(report: Mapping[str, Any], most_ram: int | None, most_flash: int | None) -> None:
    ram, flash, target = report["ram"], report["flash"], report["target"]
    stack = f"{ram['stack']:,} stack" if ram["stack"] is not None else "stack unknown: no compiler found"
    arena = f"{ram['arena']:,} arena (lower bound {ram['arena_lower_bound']:,})"
    how = f"linked, {flash['optimization']}, {flash['compiler']}" if flash["measured"] else "estimate: nothing linked"
    OUT.print(f"\nRAM    {ram['total']:>9,} bytes{_of(most_ram or target['ram'])}: {arena}, {stack}")
    OUT.print(
        f"flash  {flash['total']:>9,} bytes{_of(most_flash or target['flash'])}: {flash['constants']:,} constants, "
        f"{flash['code']:,} code ({how})"
    )


def _of(limit: int | None) -> str:
    return f" of {limit:,}" if limit else ""


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--on", type=click.Choice(["host", "qemu", "all"]), default="all", show_default=True)
@click.option("--vectors", type=click.IntRange(0, 10_000), default=8, show_default=True, help="Random input sets.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the random inputs.")
@click.option("--inputs", type=click.Path(path_type=Path), help="Your own inputs (.npz) instead of random ones.")
@json_option
def verify(folder: Path, on: str, vectors: int, seed: int, inputs: Path | None, as_json: bool) -> None:
    """Run the C in FOLDER and compare each byte with the reference.

    On this computer, the outputs of every layer are compared, under sanitizers; under QEMU, the model's outputs.
    """
    with ERR.status(Text(f"verifying {folder}")):
        result = running.verify(folder, on=on, vectors=vectors, seed=seed, inputs=inputs)
    if as_json:
        click.echo(json.dumps(result.as_dict(), indent=1))
    else:
        _print_verification(result)
    result.raise_if_wrong()


def _print_verification(result: Verification) -> None:
    for line in result.lines():
        OUT.print(line)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--inputs", type=click.Path(path_type=Path), required=True, help="Input tensors (.npz), by name or in0 …")
@click.option("--outputs", type=click.Path(path_type=Path), required=True, help="Where the outputs go (.npz).")
@click.option("--on", type=click.Choice(["reference", "host", "qemu"]), default="host", show_default=True)
def run(folder: Path, inputs: Path, outputs: Path, on: str) -> None:
    """Run the program in FOLDER on your own inputs."""
    with ERR.status(Text(f"running {folder} on {on}")):
        count = running.run(folder, inputs, outputs, on=on)
    OUT.print(f"ran {count} input set{'s' if count != 1 else ''} on {on}; outputs are in {outputs}")


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@json_option
def inspect(model: Path, as_json: bool) -> None:
    """Show what MODEL consists of. What of it is unsupported is shown with the reason."""
    found = api.inspect(model)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=1))
    else:
        for line in found.lines():
            OUT.print(line)
    if found.problems:
        sys.exit(4)


@main.command()
@click.argument("name", required=False)
@json_option
def targets(name: str | None, as_json: bool) -> None:
    """List cores and boards, or show one."""
    chosen = [load_target(name)] if name else list(all_targets())
    if as_json:
        click.echo(json.dumps([_target_dict(t) for t in chosen], indent=1))
        return
    table = Table(box=None, pad_edge=False)
    columns(table, "target", "core")
    columns(table, "RAM", "flash", numbers=True)
    columns(table, "features", "emulator", "what it is", shrink=True)
    for t in chosen:
        d = _target_dict(t)
        sizes = [f"{d[k] // 1024:,} K" if d[k] else "" for k in ("ram", "flash")]
        words = ", ".join(d["features"]), d["emulator"] or "", t.description
        table.add_row(t.name, t.core, *sizes, *map(cut, words))
    OUT.print(table)


def _target_dict(target: Target) -> dict[str, Any]:
    return {
        "name": target.name,
        "core": target.core,
        "description": target.description,
        "ram": target.ram,
        "flash": target.flash,
        "clock": target.clock,
        "cycles": target.cycles,
        "energy": target.energy,
        "features": sorted(target.features),
        "cflags": list(target.cflags),
        "emulator": target.emulator.machine if target.emulator else None,
        "memories": [vars(bank) for bank in target.banks],
    }


@main.command(name="doctor")
@json_option
def doctor_(as_json: bool) -> None:
    """Show which tools are here, and how to install the rest. Tools are compilers and emulators."""
    checks = doctor.diagnose()
    if as_json:
        click.echo(json.dumps([vars(check) for check in checks], indent=1))
    else:
        click.echo(doctor.render(checks), nl=False)
    if doctor.missing(checks):
        sys.exit(7)


#: What stands below the help of each command.
EXAMPLES = {
    "build": "tinygen build model.onnx --target nrf52840-dk --flash 64K --ram 32K --calibration train.npz",
    "compare": "tinygen compare before after --out compare.html",
    "compress": "tinygen compress model.tflite --share 16 --calibration train.npz -o small.tflite",
    "doctor": "tinygen doctor",
    "evaluate": "tinygen evaluate model --data test.npz --on qemu",
    "init": "tinygen init model.onnx --target nrf52840-dk --calibration train.npz",
    "inspect": "tinygen inspect model.tflite",
    "platformio": "tinygen platformio model --out firmware",
    "profile": "tinygen profile model",
    "quantize": "tinygen quantize model.onnx --calibration train.npz -o model.tflite",
    "report": "tinygen report model --pictures pictures",
    "run": "tinygen run model --inputs x.npz --outputs y.npz --on qemu",
    "search": "tinygen search model.onnx --flash 32K --calibration train.npz --study study.log",
    "targets": "tinygen targets nrf52840-dk",
    "verify": "tinygen verify model --on all",
}
for _name, _example in EXAMPLES.items():
    main.commands[_name].epilog = f"Example: {_example}"


if __name__ == "__main__":
    main()
