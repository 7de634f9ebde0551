# SPDX-License-Identifier: Apache-2.0
"""The rules that keep the code one way through: who may import whom, what templates may do, who finds data files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import jinja2
import jinja2.nodes as j
import pytest

from tests.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[1]

#: Modules and packages of tinygen, a line for each stage: a module may import from its own package and earlier lines.
ORDER = (
    "errors version",
    "files",
    "resources",
    "target",
    "ir",
    "data",
    "ops",
    "reference",
    "batch",
    "frontends passes",
    "export",
    "quantize",
    "kernels",
    "room",
    "selection",
    "overlays",
    "stripes",
    "narrow",
    "lower",
    "plan",
    "layout",
    "reads",
    "placement",
    "copies",
    "emit report",
    "packages pictures",
    "toolchain",
    "clang",
    "measure",
    "train",
    "compress",
    "provenance shrink",
    "verify doctor",
    "inspection",
    "search",
    "assembly",
    "api running",
    "sharing",
    "searching",
    "platformio",
    "evaluation",
    "__init__",
    "commands",
    "cli",
    "__main__",
)
RANK = {name: rank for rank, line in enumerate(ORDER) for name in line.split()}

MODULES = sorted((ROOT / "tinygen").rglob("*.py"))
TEMPLATES = sorted((ROOT / "templates").rglob("*.j2"))

#: What templates may consist of: text, names, fields, loops, truth tests, macros and other templates.
HOLES = (
    j.Template,
    j.Output,
    j.TemplateData,
    j.Name,
    j.Getattr,
    j.For,
    j.If,
    j.Not,
    j.Macro,
    j.Keyword,
    j.Include,
    j.Import,
    j.FromImport,
    j.Const,
)
#: Filters that lay text out and compute nothing.
FILTERS = {"join", "indent"}


def stage(path: Path) -> str:
    """The module or package directly under tinygen that `path` belongs to."""
    return path.relative_to(ROOT / "tinygen").parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    """The modules or packages directly under tinygen that the code imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: import from tinygen.…, not relatively"
            parts = (node.module or "").split(".")
            if parts == ["tinygen"]:
                yield from (alias.name if alias.name in RANK else "__init__" for alias in node.names)
            elif parts[0] == "tinygen":
                yield parts[1]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                head, *rest = alias.name.split(".")
                if head == "tinygen":
                    yield rest[0] if rest else "__init__"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_flow_one_way(path: Path) -> None:
    here = stage(path)
    assert here in RANK, f"give '{here}' a place in ORDER"
    for other in imports(ast.parse(path.read_text(encoding="utf-8"))):
        assert other == here or RANK[other] < RANK[here], f"{here} must not import {other}"


def test_the_import_rule_sees_every_form() -> None:
    code = "import tinygen.cli\nfrom tinygen import plan, build\ndef f():\n    from tinygen.ir.graph import Graph\n"
    assert set(imports(ast.parse(code))) == {"cli", "plan", "__init__", "ir"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_resources_finds_data_files(path: Path) -> None:
    if path.name == "resources.py":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name):
            assert node.id != "__file__", f"line {node.lineno}: ask tinygen.resources for data files"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {getattr(node, "module", None) or "", *(alias.name for alias in node.names)}
            assert not any(n.startswith("importlib.resources") for n in names), f"line {node.lineno}: see resources.py"


def computations(source: str) -> list[str]:
    """What the template does besides filling holes, as ``line: kind``."""
    template = jinja2.Environment().parse(source)
    macros = set(macro_names(template))
    found = []
    for node in template.find_all(j.Node):
        allowed = isinstance(node, HOLES)
        if isinstance(node, j.Filter):
            allowed = node.name in FILTERS
        elif isinstance(node, j.Getitem):
            allowed = isinstance(node.arg, j.Const)
        elif isinstance(node, j.Call):
            called = node.node.node if isinstance(node.node, j.Getattr) else node.node
            allowed = isinstance(called, j.Name) and called.name in macros
        if not allowed:
            found.append(f"{node.lineno}: {type(node).__name__}")
    return found


def macro_names(template: j.Template) -> Iterator[str]:
    """Names that stand for macros, or for templates full of them."""
    for node in template.find_all((j.Macro, j.Import, j.FromImport)):
        if isinstance(node, j.Macro):
            yield node.name
        elif isinstance(node, j.Import):
            yield node.target
        elif isinstance(node, j.FromImport):
            yield from (name if isinstance(name, str) else name[1] for name in node.names)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: str(p.relative_to(ROOT)))
def test_templates_compute_nothing(path: Path) -> None:
    assert computations(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "{{ a + 1 }}",
        "{% if a > 1 %}x{% endif %}",
        "{% if a and b %}x{% endif %}",
        "{% if a is defined %}x{% endif %}",
        "{% set a = 1 %}",
        "{{ a | length }}",
        "{{ a.items() }}",
        "{{ f(a) }}",
        "{{ a[i] }}",
        "{{ a if b else c }}",
        "{{ a ~ b }}",
        "{{ -a }}",
        "{% for i in range(4) %}x{% endfor %}",
        "{% for i in [1, 2] %}x{% endfor %}",
    ],
)
def test_the_template_rule_sees_computation(source: str) -> None:
    assert computations(source)


def test_the_template_rule_allows_holes() -> None:
    source = (
        "{% macro m(x) %}{{ x.y | join(', ') }}{% endmacro %}"
        "{% for i in a %}{{ m(i) }}{% if not i.z %},{% endif %}{% endfor %}"
    )
    assert computations(source) == []


@pytest.mark.parametrize("path", [p for p in TEMPLATES if "kernels" in p.parts], ids=lambda p: "/".join(p.parts[-2:]))
def test_kernels_are_short(path: Path) -> None:
    """What grows beyond a screen is split by meaning: into partials, or into files that several kernels use."""
    assert len(path.read_text(encoding="utf-8").splitlines()) < 80


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_deliberate_bugs_fit_the_code(mutant: Mutant) -> None:
    """What `make mutants` breaks is there, once: a list that lags behind the code would go unnoticed until then."""
    assert (ROOT / mutant.file).read_text(encoding="utf-8").count(mutant.old) == 1
