# SPDX-License-Identifier: Apache-2.0
"""Recipes: which techniques, in which order, with which settings. As TOML, or as options of the command line.

    [[technique]]
    name = "prune"
    ratio = 0.5
    layers = { "conv_1*" = 0.25, "head" = "none" }

    [[technique]]
    name = "share"
    values = 16

A key is a field of the technique; `layers` gives layers whose name matches a pattern another value for its main field,
or leaves them out with "none". ``samples = "all"`` before the first technique: samples that are held back to judge by
are fitted to as well, as a search does once it has chosen.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import Field, fields
from functools import cache
from pathlib import Path
from typing import Any

from tinygen import compress
from tinygen.compress.base import Setting, Technique, check_order
from tinygen.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: What leaves layers out; the key that says which samples are fitted to, and its value for all.
NONE, SAMPLES, ALL = "none", "samples", "all"
#: What a file may hold.
KEYS = {"technique", SAMPLES}
#: A TOML file, the values of the main settings by technique, or the techniques themselves.
Recipe = str | Path | Mapping[str, Any] | Sequence[Technique]


@cache
def techniques() -> Mapping[str, Any]:
    """Every technique's class by its name, in the order in which they make sense: found by being in this package."""
    modules = [
        importlib.import_module(f"{compress.__name__}.{m.name}") for m in pkgutil.iter_modules(compress.__path__)
    ]
    found = [module.TECHNIQUE for module in modules if hasattr(module, "TECHNIQUE")]
    return {t.name: t for t in sorted(found, key=lambda t: (t.stage, t.name))}


def main_field(technique: Any) -> Field[Any] | None:
    """The field of a technique's class that a single value on the command line, and `layers` in a recipe, set."""
    return next((f for f in fields(technique) if f.metadata.get("main")), None)


def read(recipe: Recipe | None) -> tuple[Technique, ...]:
    """The techniques of a recipe, whatever form it has. Raises `UsageError` for what is none."""
    if recipe is None:
        return ()
    if isinstance(recipe, str | Path):
        return load(Path(recipe))
    made = of_options(recipe) if isinstance(recipe, Mapping) else tuple(recipe)
    check_order(made)
    return made


def words(recipe: Recipe | None) -> list[str]:
    """The options of the command line that ask for `recipe`; one out of Python is called RECIPE."""
    if recipe is None or isinstance(recipe, str | Path):
        return [] if recipe is None else ["--recipe", Path(recipe).name]
    if not isinstance(recipe, Mapping):
        return ["--recipe", "RECIPE"] if recipe else []
    pairs = [(f"--{name}", recipe[name]) for name in techniques() if recipe.get(name) not in (None, False)]
    return [word for option, value in pairs for word in ([option] if value is True else [option, str(value)])]


def fits_all(recipe: Recipe | None) -> bool:
    """Whether `recipe` is a file that asks to fit to samples which are held back, too."""
    return isinstance(recipe, str | Path) and _content(Path(recipe)).get(SAMPLES) == ALL


def load(path: Path) -> tuple[Technique, ...]:
    """The techniques in the TOML file `path`. Raises `UsageError`, which names the entry and what was expected."""
    return of_content(_content(path), path.name)


def _content(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read recipe '{path}': {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path.name}: not a TOML file ({error})") from None


def of_content(content: Mapping[str, Any], where: str) -> tuple[Technique, ...]:
    """The techniques of what a TOML file holds; `where` names it in messages."""
    entries, samples = content.get("technique"), content.get(SAMPLES, ALL)
    if samples != ALL:
        raise UsageError(f'{where}: expected {SAMPLES} = "{ALL}", or no such line, got {samples!r}')
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries) or set(content) - KEYS:
        raise UsageError(f"{where}: expected [[technique]] tables with a name each, and nothing else")
    made = tuple(_technique(f"{where}: technique {i + 1}", dict(e)) for i, e in enumerate(entries))
    check_order(made)
    return made


def of_options(values: Mapping[str, Any]) -> tuple[Technique, ...]:
    """The techniques that options ask for, by name; in the order in which they make sense."""
    for name in values:
        if name not in techniques():
            raise UsageError(f"recipe: expected techniques of {', '.join(techniques())}, got '{name}'")
    asked = [(name, value) for name in techniques() if (value := values.get(name)) not in (None, False)]
    return tuple(_technique(f"--{name}", {"name": name} | _main(name, value)) for name, value in asked)


def _main(name: str, value: Any) -> dict[str, Any]:
    main = main_field(techniques()[name])
    return {} if main is None or value is True else {main.name: _number(str(value))}


def _number(text: str) -> Any:
    """The number that `text` is, or else the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _technique(where: str, entry: dict[str, Any]) -> Technique:
    name, layers = entry.pop("name", None), entry.pop("layers", {})
    kind = techniques().get(name)
    if kind is None:
        raise UsageError(f"{where}: expected name to be one of {', '.join(techniques())}, got {name!r}")
    known, main = {f.name: f for f in fields(kind)}, main_field(kind)
    for key in entry:
        if key not in known:
            raise UsageError(f"{where} ({name}): '{key}' is no setting of it; expected {_keys(known, main)}")
    if layers and (main is None or not isinstance(layers, dict)):
        raise UsageError(f'{where} ({name}): expected layers = {{ "pattern" = value }}, got {layers!r}')
    if main is not None:
        default = Setting() if main.name in entry else _default(main)
        value = entry.get(main.name, default.value)
        patterns = {pattern: None if v == NONE else v for pattern, v in layers.items()}
        entry[main.name] = Setting(None if value == NONE else value, {**patterns, **default.layers})
    try:
        made: Technique = kind(**entry)
    except UsageError as error:
        raise UsageError(f"{where} ({name}): {error}") from None
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where} ({name}): {error}") from None
    return made


def _default(field: Field[Any]) -> Setting:
    return field.default if isinstance(field.default, Setting) else Setting()


def _keys(known: Sequence[str] | Mapping[str, Any], main: Field[Any] | None) -> str:
    return ", ".join([*known, *(["layers"] if main else [])])


def dumps(content: Mapping[str, Any]) -> str:
    """The TOML file of a recipe, which `load` reads: ``{"technique": [{"name": …, …}, …]}``, perhaps with samples."""
    first = [f"{SAMPLES} = {_toml(content[SAMPLES])}"] if SAMPLES in content else []
    tables = ("\n".join(["[[technique]]", *_assignments(entry)]) for entry in content["technique"])
    return "\n\n".join([*first, *tables]) + "\n"


def _assignments(entry: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in entry.items()]


def _toml(value: Any) -> str:
    """A value in TOML; strings escape what JSON does, and DEL."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(key)} = {_toml(v)}" for key, v in value.items()) + " }" if value else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(NONE if value is None else value, ensure_ascii=False).replace("\x7f", "\\u007f")
