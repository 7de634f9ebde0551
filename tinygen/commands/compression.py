# SPDX-License-Identifier: Apache-2.0
"""Compressing a model: the command, and the options that `build` has, too."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from tinygen import api
from tinygen.commands.terminal import (
    ERR,
    OUT,
    json_option,
    preprocessed,
    print_quantization,
    shape_option,
    target_option,
)
from tinygen.compress import Bought
from tinygen.compress.recipe import Recipe, main_field, techniques
from tinygen.errors import UsageError

#: What stands for the value of ``--share`` where it has none: several models share an arena in any case.
MODELS = "models"


def compressed(command: Callable[..., Any]) -> Callable[..., Any]:
    """--recipe, an option for each technique, and --data; the first two become the one argument `recipe`."""

    @click.option("--recipe", "file", type=click.Path(path_type=Path), help="TOML file with techniques and settings.")
    @click.option("--data", metavar="DATA", help="Samples with labels, to judge what compression loses.")
    @wraps(command)
    def wrapped(file: Path | None, **options: Any) -> Any:
        if options[_argument("share")] == MODELS:
            _check_others(options.get("others", ()))
            options[_argument("share")] = None
        asked = {name: value for name in techniques() if (value := options.pop(_argument(name))) not in (None, False)}
        return command(recipe=_recipe(file, asked), **options)

    for name, technique in reversed(list(techniques().items())):
        what = (technique.__doc__ or "").strip().splitlines()[0]
        field = main_field(technique)
        value: dict[str, Any] = {"metavar": field.name.upper()} if field else {"is_flag": True, "flag_value": True}
        value |= {"is_flag": False, "flag_value": MODELS} if name == "share" else {}
        wrapped = click.option(f"--{name}", _argument(name), default=None, help=what, **value)(wrapped)
    return wrapped


def _check_others(others: Sequence[Path]) -> None:
    """Raise `UsageError` for ``--share`` without a value, unless there are `others` to share with."""
    if not others:
        raise UsageError("--share: expected how many values a layer's weights may have, such as 16, or several models")


def _argument(name: str) -> str:
    return "technique_" + name.replace("-", "_")


def _recipe(file: Path | None, asked: dict[str, Any]) -> Recipe | None:
    if file is not None and asked:
        option = f"--{next(iter(asked))}"
        raise UsageError(f"{option} and --recipe {file}: pass one of them; a recipe has a place for every technique")
    return file if file is not None else asked or None


def line(bought: Bought) -> str:
    """What a technique bought, in one line."""
    quality = f"agreement {bought.quality.agreement:6.1%}  SQNR {bought.quality.sqnr:5.1f} dB"
    if bought.quality.accuracy is not None:
        quality += f"  accuracy {bought.quality.accuracy:6.2%}"
    flash = f"{bought.weights:>9,} weights  {bought.constants:>9,} constants  {bought.flash:>9,} flash"
    costs = f"{flash}  {bought.ram:>8,} RAM  {bought.macs:>11,} MACs"
    return f"{bought.name:<10} {costs}  {quality}"


def tell(bought: Bought) -> None:
    """Print what a technique bought; and why, if it did nothing."""
    OUT.print(line(bought))
    if bought.declined and not bought.done:
        for reason in bought.declined[:8]:
            OUT.print(f"           nothing done: {reason}")


def _silent(bought: Bought) -> None:
    """Nothing is printed but JSON."""


@click.command(name="compress")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--calibration",
    metavar="DATA",
    required=True,
    help="Samples of the model's input: .npz, .npy, a folder, or 'random'.",
)
@target_option("Core or board that bytes are counted for.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), required=True, help="What to write: .tg, .tflite or .onnx."
)
@compressed
@shape_option
@preprocessed
@json_option
def compress_(model: Path, calibration: str, out: Path, recipe: Recipe | None, as_json: bool, **options: Any) -> None:
    """Compress MODEL by a recipe or options, and write it.

    What is written is for `tinygen build`, or (.tflite, .onnx) to use elsewhere.
    """
    api.check_writable(out)
    with ERR.status(Text(f"compressing {model.name}")):
        options["heard"] = _silent if as_json else tell
        made = api.compress_model(model, recipe or {}, calibration, **options)
        api.save(made.graph, out)
    if as_json:
        quantization = made.quantization.as_dict() if made.quantization else None
        steps = [bought.as_dict() for bought in made.bought]
        click.echo(json.dumps({"quantization": quantization, "compression": steps}, indent=1))
        return
    print_quantization(made.quantization.as_dict() if made.quantization else None)
    OUT.print(f"wrote {out}")
