# SPDX-License-Identifier: Apache-2.0
"""The page: all pictures of a build in one file that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from tinygen.emit.render import environment
from tinygen.pictures import svg
from tinygen.pictures.build import Section, facts, sections
from tinygen.resources import read_text, templates

Report = Mapping[str, Any]


def page(report: Report, profile: Report | None = None, tables: Sequence[Mapping[str, Any]] = ()) -> str:
    """report.html of one build; `profile` is what ``tinygen profile --json`` prints.

    A table of `tables` has a ``title``, ``head`` (words) and ``rows`` (of words).
    """
    return _rendered(report["model"]["name"], [_column(report, profile)], [*_techniques(report), *tables])


def comparison(left: Report, right: Report, tables: Sequence[Mapping[str, Any]]) -> str:
    """The pages of two builds side by side, below `tables` of what differs."""
    title = f"{left['model']['name']} and {right['model']['name']}"
    return _rendered(title, [_column(left, None), _column(right, None)], tables)


def files(report: Report, profile: Report | None = None) -> dict[str, bytes]:
    """Each picture of a build as an SVG file of its own, by name."""
    made = sections(report, profile)
    return {f"{s.name}.svg": svg.file(s.picture.height, s.picture.elements(), s.picture.title).encode() for s in made}


def _rendered(title: str, columns: Sequence[Mapping[str, Any]], tables: Sequence[Mapping[str, Any]]) -> str:
    context = {
        "title": escape(title),
        "columns": columns,
        "wide": len(columns) > 1,
        "tables": [_escaped(table) for table in tables],
        "style": read_text(templates(), "report/style.css"),
        "script": read_text(templates(), "report/script.js"),
    }
    return environment().get_template("report/report.html.j2").render(context)


def _column(report: Report, profile: Report | None) -> dict[str, Any]:
    return {
        "name": escape(report["model"]["name"]),
        "facts": [(escape(word), escape(value)) for word, value in facts(report)],
        "sections": [_section(section) for section in sections(report, profile)],
        "command": escape(report["command"]),
    }


def _section(section: Section) -> dict[str, Any]:
    picture = section.picture
    return {
        "name": section.name,
        "title": escape(picture.title),
        "words": escape(section.words),
        "legend": section.legend,
        "svg": svg.picture(picture.height, picture.elements(), picture.title),
    }


def _techniques(report: Report) -> list[dict[str, Any]]:
    """What each technique of compression bought, and did to which layer."""
    lines = report.get("compression") or []
    if not lines:
        return []
    rows = [
        (
            line["name"],
            f"{line['flash']:,}",
            f"{line['ram']:,}",
            f"{line['macs']:,}",
            "" if line["quality"]["accuracy"] is None else f"{100 * line['quality']['accuracy']:.2f} %",
            f"{100 * line['quality']['agreement']:.2f} %",
            "; ".join(line["done"]),
        )
        for line in lines
    ]
    head = ("technique", "flash", "RAM", "MACs", "accuracy", "agreement", "what it did")
    return [{"title": "What compression bought", "head": head, "rows": rows}]


def _escaped(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "title": escape(table["title"]),
        "head": [escape(word) for word in table["head"]],
        "rows": [[escape(str(cell)) for cell in row] for row in table["rows"]],
    }
