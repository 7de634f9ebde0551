"""The generated C as a library of the usual build systems: the files that each of them wants beside it.

A kind of package is a folder in ``templates/package``: every file below it becomes a file of the build, with
``__name__`` in its path replaced by the model's name. All kinds can stand in one folder.
"""

from __future__ import annotations

from collections.abc import Collection

from tinygen.emit.render import environment
from tinygen.errors import UsageError
from tinygen.resources import below, templates
from tinygen.version import VERSION


def kinds() -> tuple[str, ...]:
    """The names of all kinds of packages."""
    return tuple(sorted(entry.name for entry in templates().joinpath("package").iterdir() if entry.is_dir()))


def check_kinds(asked: Collection[str]) -> tuple[str, ...]:
    """`asked` in order, each once, ``all`` as all of them; `UsageError` for a kind that does not exist."""
    for kind in asked:
        if kind != "all" and kind not in kinds():
            raise UsageError(f"--package {kind}: expected one of {', '.join(kinds())} or all")
    return kinds() if "all" in asked else tuple(sorted(set(asked)))


def package_files(kind: str, name: str, level: str) -> dict[str, bytes]:
    """The files of package `kind` for the model `name`, by path (with ``/``).

    `level` is the compiler's optimisation level that suits the build.
    """
    context = {"name": name, "NAME": name.upper(), "p": f"{name}_", "P": f"{name}_".upper()}
    context |= {"version": VERSION, "level": level}
    made = {}
    for path in below(templates(), f"package/{kind}"):
        text = environment().get_template(f"package/{kind}/{path}").render(context)
        made[path.removesuffix(".j2").replace("__name__", name)] = text.encode()
    return made
