# SPDX-License-Identifier: Apache-2.0
"""Program + Plan → {file name: text}. Writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import jinja2

from tinygen.emit import text
from tinygen.emit.blob import Blob, blob, fingerprint, in_blob
from tinygen.emit.comments import plain, step_labels
from tinygen.emit.items import CallText
from tinygen.emit.steps import step_text
from tinygen.ir.program import Program
from tinygen.placement import EVERYTHING_USUAL, Placement, Usage
from tinygen.plan.arena import Plan
from tinygen.resources import template_loader
from tinygen.version import VERSION


def named(name: str) -> dict[str, str]:
    """What every template is told of the model called `name`: its prefixes, and who generates."""
    prefix = f"{name}_"
    return {"name": name, "NAME": name.upper(), "p": prefix, "P": prefix.upper(), "version": VERSION}


@cache
def environment() -> jinja2.Environment:
    """The Jinja environment of all templates: plain text, undefined names are errors."""
    return jinja2.Environment(
        loader=template_loader(),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def emit(
    program: Program, plan: Plan, provenance: Sequence[str], placement: Placement = EVERYTHING_USUAL
) -> dict[str, str]:
    """The generated header and source of `program`. `provenance` lines go into the comment at the top of both."""
    return _rendered(program, context(program, plan, provenance, placement))


def emit_with_blob(
    program: Program, plan: Plan, provenance: Sequence[str], placement: Placement = EVERYTHING_USUAL
) -> tuple[dict[str, str], bytes]:
    """The same with the constants in one block, which may lie elsewhere, and that block; see `tinygen.emit.blob`."""
    constants = in_blob(program.constants)
    usual = context(program, plan, provenance, placement)
    filled = text.constant_texts(program, constants, step_labels(program))
    declared = [replace(constant, text="") for constant in filled]
    hollow = _rendered(program, {**usual, "provenance": [], "constants": declared, "blob": Blob(0, 0, 0, 0)})
    head, data = blob(constants, fingerprint(hollow[f"{program.name}.c"]))
    return _rendered(program, {**usual, "constants": filled, "blob": head}), data


def _rendered(program: Program, context: Mapping[str, Any]) -> dict[str, str]:
    return {
        f"{program.name}.h": environment().get_template("model.h.j2").render(context),
        f"{program.name}.c": environment().get_template("model.c.j2").render(context),
    }


def linker_script(name: str, memories: Sequence[Usage]) -> str:
    """What puts the sections of `memories` where these are: a script to link with, beside that of a firmware."""
    regions = [text.region_text(memory) for memory in memories]
    return environment().get_template("sections.ld.j2").render({**named(name), "regions": regions})


def program_context(
    program: Program, plan: Plan, provenance: Sequence[str], calls: Sequence[CallText]
) -> dict[str, Any]:
    """What the templates of a C file are told of the program in it, whose `calls` are those of all models."""
    names = named(program.name)
    return {
        **names,
        "provenance": [plain(line) for line in provenance],
        "inline": f"{names['P']}INLINE",
        "arena_bytes": plan.bytes,
        "narrow": text.narrow_types(program),
        "kernels": [f"kernels/{name}.c.j2" for name in program.templates],
        "calls": text.defined(calls),
        "shared_functions": text.shared_functions(calls),
    }


def context(
    program: Program, plan: Plan, provenance: Sequence[str], placement: Placement = EVERYTHING_USUAL
) -> dict[str, Any]:
    """What the templates of a model are rendered with."""
    p = f"{program.name}_"
    calls = text.call_texts(p, program, plan)
    inputs = [text.port_text(p, "input", i, n, program, plan) for i, n in enumerate(program.inputs)]
    return {
        **program_context(program, plan, provenance, [call for step in calls for call in step]),
        "input_count": len(program.inputs),
        "output_count": len(program.outputs),
        "inputs": inputs,
        "pushed": program.pushed is not None,
        "quantizes": any(port.narrow for port in inputs),
        "outputs": [text.port_text(p, "output", i, n, program, plan) for i, n in enumerate(program.outputs)],
        "constants": text.placed_texts(program, placement),
        "sections": text.section_texts(placement),
        "arena_section": placement.arena,
        "blob": None,
        "steps": [step_text(p, i, i, step, program, calls[i], plan) for i, step in enumerate(program.steps)],
    }
