# SPDX-License-Identifier: Apache-2.0
"""What the commands share: where they print, and options that several of them take."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tinygen.data.preprocessing import Preprocessing
from tinygen.errors import UsageError

#: A function that becomes a command.
Command = TypeVar("Command", bound=Callable[..., Any])
#: Columns of a table where there is no terminal to ask: enough for every row to stay on one line.
_PIPE_WIDTH = 160
# Names out of model files are printed as they are: neither [tags] nor :smileys: mean anything.
OUT = Console(
    soft_wrap=True, highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH
)
ERR = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)


def columns(table: Table, *titles: str, numbers: bool = False, shrink: bool = False) -> None:
    """Add columns. Where a terminal is too narrow, those that `shrink` give way, and no number is ever cut before."""
    for title in titles:
        table.add_column(title, justify="right" if numbers else "left", no_wrap=not shrink, overflow="ellipsis")


def cut(text: str) -> Text:
    """A cell of one line, which ends in … where its column shrinks."""
    return Text(text, no_wrap=True, overflow="ellipsis")


def target_option(words: str = "Core or board; `tinygen targets` lists them.") -> Callable[[Command], Command]:
    """``--target``, with `words` for what it is."""
    return click.option("--target", metavar="NAME", default="cortex-m4", show_default=True, help=words)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts instead of tables.")


def _numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    """Numbers with commas between them."""
    try:
        return None if value is None else tuple(float(part) for part in value.split(","))
    except ValueError:
        raise UsageError(
            f"--{param.name} {value}: expected a number, or one for each channel: 0.5 or 123,117,104"
        ) from None


def preprocessed(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options --mean, --scale and --layout, which become the one argument `preprocessing`."""

    @click.option(
        "--mean",
        metavar="NUMBERS",
        callback=_numbers,
        help="Subtracted from the data, by channel if several: 123,117,104.",
    )
    @click.option("--scale", metavar="NUMBERS", callback=_numbers, help="What the data is multiplied with then.")
    @click.option("--layout", type=click.Choice(["nhwc", "nchw"]), help="Layout to turn the data into.")
    @wraps(command)
    def wrapped(mean: Any, scale: Any, layout: Any, **options: Any) -> Any:
        return command(preprocessing=Preprocessing(mean or (0.0,), scale or (1.0,), layout), **options)

    return wrapped


def _shapes(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """NAME=1,3,32,32, any number of times."""
    found = {}
    for value in values:
        name, equals, sizes = value.rpartition("=")
        try:
            found[name] = tuple(int(size) for size in sizes.split(","))
        except ValueError:
            equals = ""
        if not equals or not name:
            raise UsageError(f"--shape {value}: expected an input's name and its sizes: input=1,3,32,32")
    return found


shape_option = click.option(
    "--shape",
    "shapes",
    metavar="NAME=SIZES",
    multiple=True,
    callback=_shapes,
    help="Size of a dynamic input (ONNX): input=1,3,32,32.",
)


mixed_option = click.option(
    "--mixed",
    metavar="LAYERS",
    callback=lambda ctx, param, value: value if value in ("none", "auto", "all") else tuple(value.split(",")),
    default="none",
    show_default=True,
    help="16 bits for the activations of a float model's layers: auto (those that gain most), all, or layers' names.",
)


def _why(layer: Mapping[str, Any]) -> str:
    """What may be behind a layer's noise: its weights, or values beyond its range."""
    weights = [f"weights {layer['weights']:.1f} dB"] if layer["weights"] is not None else []
    clipped = [f"{layer['clipped']:.1%} clipped"] if layer["clipped"] >= 0.0005 else []
    return f" ({', '.join((*weights, *clipped))})" if weights or clipped else ""


def print_quantization(found: Mapping[str, Any] | None) -> None:
    """Signal-to-noise ratios of the outputs against the float model, and of the layers that lost most."""
    if found is None:
        return
    outputs = ", ".join(f"{name} {ratio:.1f} dB" for name, ratio in found["outputs"].items())
    worst = sorted(found["layers"], key=lambda layer: float(layer["activations"]))[:3]
    layers = ", ".join(f"{w['op']} '{w['name']}' {w['activations']:.1f} dB{_why(w)}" for w in worst)
    OUT.print(f"int8   signal to noise on the samples: outputs {outputs}; worst layers {layers}")
    for wide in found["wide"]:
        OUT.print(f"int16  {', '.join(wide['nodes'])}: {wide['gain']:+.1f} dB, {wide['bytes']:+,} bytes")
