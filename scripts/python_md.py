# SPDX-License-Identifier: Apache-2.0
"""Writes docs/reference/python.md from the docstrings of what ``import tinygen`` offers (``make docs``)."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tinygen

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "python.md"

HEAD = """\
# Python

<!-- Made from docstrings by `make docs`; change those, not this page. -->

What the commands do, `import tinygen` does as well:

```python
import tinygen

made = tinygen.build("model.tflite", "cortex-m4", ram=64 * 1024)
made.write("model")
tinygen.verify("model").raise_if_wrong()
```
"""


def page() -> str:
    """The whole page: functions, then records, then errors."""
    public = {name: getattr(tinygen, name) for name in tinygen.__all__ if not name.startswith("_")}
    errors = {n: o for n, o in public.items() if inspect.isclass(o) and issubclass(o, Exception)}
    records = {n: o for n, o in public.items() if inspect.isclass(o) and n not in errors}
    functions = {n: o for n, o in public.items() if inspect.isfunction(o)}
    lines = [HEAD, "## Functions\n"]
    lines += [line for name in sorted(functions) for line in function(name, functions[name])]
    lines += ["## Records\n", *(line for name in sorted(records) for line in record(name, records[name]))]
    lines += ["## Errors\n", *(line for name in sorted(errors) for line in error(name, errors[name]))]
    return "\n".join(lines)


def function(name: str, found: Any) -> Iterator[str]:
    """Signature and docstring of a function."""
    parameters = inspect.signature(found).parameters.values()
    words = [f"    {_parameter(p)}," for p in parameters if p.kind is not p.KEYWORD_ONLY]
    named = [f"    {_parameter(p)}," for p in parameters if p.kind is p.KEYWORD_ONLY]
    signature = [f"tinygen.{name}(", *words, *(["    *,", *named] if named else []), ")"]
    yield f"### {name}\n"
    yield "\n".join(["```python", *signature, "```\n"])
    yield f"{prose(found)}\n"


def _parameter(parameter: inspect.Parameter) -> str:
    """A parameter without its type, which the docstring explains, as it does a default that has no short form."""
    if parameter.default is parameter.empty:
        return parameter.name
    if isinstance(parameter.default, str):
        return f'{parameter.name}="{parameter.default}"'
    plain = isinstance(parameter.default, int | float | tuple | None)
    return f"{parameter.name}={parameter.default!r}" if plain else f"{parameter.name}=…"


def record(name: str, found: Any) -> Iterator[str]:
    """Docstring and fields of a record."""
    yield f"### {name}\n"
    yield f"{prose(found)}\n"
    if dataclasses.is_dataclass(found):
        fields = ", ".join(f"`{field.name}`" for field in dataclasses.fields(found))
        yield f"Fields: {fields}.\n"


def error(name: str, found: Any) -> Iterator[str]:
    """An error with its exit code."""
    yield f"- `{name}` (exit code {found.exit_code}): {prose(found)}"


def prose(found: Any) -> str:
    """A docstring as Markdown: literals in single backticks."""
    return re.sub(r"``(.+?)``", r"`\1`", inspect.getdoc(found) or "")


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
