# SPDX-License-Identifier: Apache-2.0
"""The commands that read data: evaluate and quantize."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import click
from rich.table import Table
from rich.text import Text

from tinygen import api, evaluation
from tinygen.commands.terminal import (
    ERR,
    OUT,
    json_option,
    mixed_option,
    preprocessed,
    print_quantization,
    shape_option,
    target_option,
)
from tinygen.evaluation import Metric, On

_CALIBRATION = "Samples of the float model's input: .npz, .npy, a folder, or 'random'."


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--data",
    metavar="DATA",
    required=True,
    help="Samples and labels: .npz, .npy, folder of .npy, pictures or .wav, 'random'.",
)
@click.option("--metric", type=click.Choice(get_args(Metric)), help="Default: what suits labels and outputs.")
@click.option("--on", type=click.Choice(get_args(On)), default="host", show_default=True, help="How far to go.")
@click.option("--limit", type=click.IntRange(1), help="Only the first N samples.")
@target_option("Core or board to compile a model file for.")
@click.option("--calibration", metavar="DATA", help=f"{_CALIBRATION} Then its int8 form and C are measured, too.")
@mixed_option
@shape_option
@preprocessed
@json_option
def evaluate(model: Path, data: str, as_json: bool, **options: Any) -> None:
    """Measure how accurate MODEL is on labelled data.

    MODEL is a file, or a folder that build wrote: the float model, the integer reference and the C stand side by side.
    """
    with ERR.status(Text(f"evaluating {model.name}")):
        found = evaluation.evaluate(model, data, **options)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=1))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("where")
    table.add_column(found.metric, justify="right")
    for where, score in found.scores.items():
        table.add_row(where, f"{score:.6g}")
    OUT.print(table)
    OUT.print(f"{found.samples} samples, compared with {found.against}")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--calibration", metavar="DATA", help=_CALIBRATION)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="The .tflite or .onnx file to write.")
@click.option("--limit", type=click.IntRange(1), help="Only the first N samples.")
@mixed_option
@shape_option
@preprocessed
@json_option
def quantize(model: Path, calibration: str | None, out: Path, as_json: bool, **options: Any) -> None:
    """Write MODEL in int8 as a .tflite or .onnx file (QDQ).

    A float model is quantized, for which it needs --calibration; one that is quantized already keeps its integers.
    """
    api.check_writable(out)
    with ERR.status(Text(f"quantizing {model.name}")):
        made = api.integer_model(model, calibration, **options)
        api.save(made.graph, out)
    found = made.quantization.as_dict() if made.quantization else None
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    print_quantization(found)
    OUT.print(f"wrote {out}")
