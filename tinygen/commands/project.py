# SPDX-License-Identifier: Apache-2.0
"""tinygen.toml: what the commands do in a folder without being told, and ``tinygen init``, which writes it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from tinygen.commands.terminal import OUT, target_option
from tinygen.errors import UsageError
from tinygen.files import write_files
from tinygen.plan.budget import parse_bytes
from tinygen.provenance import symbol
from tinygen.target import load_target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = "tinygen.toml"
#: Endings of the files that ``tinygen init`` takes for models.
MODELS = (".tflite", ".onnx", ".keras", ".tg")
HEAD = """\
# What tinygen does in this folder: `tinygen build`, then `tinygen verify`, need no arguments.
# Each table is a command, each key an option of it (`tinygen build --help`), with _ for -.
"""


def defaults(group: click.Group) -> dict[str, Any]:
    """The options that tinygen.toml in the current folder gives to the commands of `group`, as click takes them."""
    file = Path(FILE)
    if not file.is_file():
        return {}
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{FILE}: {error}") from None
    return {name: dict(_values(group, name, table)) for name, table in tables.items()}


def _values(group: click.Group, name: str, table: Any) -> Iterator[tuple[str, Any]]:
    """What a table says, by the names that click has for options."""
    command = group.commands.get(name)
    if command is None or not isinstance(table, dict):
        hint = _hint(name, group.commands)
        raise UsageError(f"{FILE}: expected tables named after commands, such as [build]; got '{name}'{hint}")
    known = {_key(parameter): parameter for parameter in command.params}
    for key, value in table.items():
        if key not in known:
            raise UsageError(f"{FILE}: [{name}] has no option '{key}'{_hint(key, known)}")
        _check(f"{FILE}: [{name}] {key}", value, known[key])
        yield str(known[key].name), value


def _key(parameter: click.Parameter) -> str:
    """What stands for an option or argument in the file: its name on the command line, with _ for -."""
    flags = [flag for flag in parameter.opts if flag.startswith("--")]
    return flags[0][2:].replace("-", "_") if flags else str(parameter.name)


def _check(where: str, value: Any, parameter: click.Parameter) -> None:
    """Raise `UsageError` unless `value` has the form of what the command line would give."""
    several = parameter.nargs != 1 or getattr(parameter, "multiple", False)
    if several and not isinstance(value, list):
        raise UsageError(f"{where}: expected a list, as in {where.split()[-1]} = [{value!r}]")
    if not all(isinstance(item, str | int | float) for item in (value if several else [value])):
        raise UsageError(f"{where}: expected what stands behind the option on the command line, got {value!r}")


def _hint(name: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(name, known, n=1)
    return f": did you mean '{close[0]}'?" if close else ""


@click.command()
@click.argument("model", type=click.Path(path_type=Path), required=False)
@target_option()
@click.option("--flash", metavar="BYTES", help="Flash budget, such as 256K.")
@click.option("--ram", metavar="BYTES", help="RAM budget, such as 64K.")
@click.option("--calibration", metavar="DATA", help="Samples of the model's input: .npz, .npy or a folder.")
@click.option("--data", metavar="DATA", help="Samples with labels.")
@click.option("--force", is_flag=True, help="Replace a tinygen.toml that is there.")
def init(model: Path | None, force: bool, **options: str | None) -> None:
    """Write tinygen.toml, so that commands need no arguments here. `tinygen build` and `tinygen verify` read it.

    MODEL may be left out where the folder holds one.
    """
    if Path(FILE).exists() and not force:
        raise UsageError(f"{FILE} is there already: edit it, or pass --force to replace it")
    chosen = model if model is not None else _only_model()
    if not chosen.exists():
        raise UsageError(f"'{chosen}' does not exist: expected a model file")
    load_target(str(options["target"]))
    for limit in ("flash", "ram"):
        if options[limit] is not None:
            parse_bytes(str(options[limit]), f"--{limit}")
    write_files(Path(), {FILE: "\n".join(_lines(chosen, options)).encode()})
    OUT.print(f"wrote {FILE}; now: tinygen build")


def _only_model() -> Path:
    found = sorted(path for path in Path().iterdir() if path.suffix in MODELS)
    if len(found) != 1:
        names = ", ".join(map(str, found)) or "none"
        raise UsageError(f"expected one model in this folder, found {names}: name it, as in: tinygen init model.tflite")
    return found[0]


def _lines(model: Path, options: Mapping[str, str | None]) -> Iterator[str]:
    yield HEAD
    yield "[build]"
    for key, value in {"model": model.as_posix(), **options}.items():
        if value is not None:
            yield f"{key} = {_quoted(value)}"
    yield f"\n[verify]\nfolder = {_quoted(symbol(model.stem, given=False))}\n"


def _quoted(value: str) -> str:
    """A TOML string."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
