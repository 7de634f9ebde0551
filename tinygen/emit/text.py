# SPDX-License-Identifier: Apache-2.0
"""Program + Plan → the items that the templates print: names, numbers and expressions as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tinygen.emit.comments import constant_comments, listed, plain, step_labels
from tinygen.emit.items import CallText, ConstantText, FieldText, PortText, RegionText, SectionText
from tinygen.ir.program import Constant, Invocation, Operand, Program
from tinygen.ir.types import Array, DType
from tinygen.kernels.biases import STRUCTS, TYPES, Narrow
from tinygen.placement import Placement, Usage, macro
from tinygen.plan.arena import Plan

#: Width of a line of constants, in characters.
WIDTH = 118

_SMALLEST = {-(2**31): "INT32_MIN", -(2**63): "INT64_MIN"}


def section_texts(placement: Placement) -> list[SectionText]:
    """The sections in which constants lie."""
    return [SectionText(section, f"CONST_{macro(section)}") for section in placement.sections]


def placed_texts(program: Program, placement: Placement) -> list[ConstantText]:
    """All constants, each with the macro of its section."""
    macros = {section.name: section.macro for section in section_texts(placement)}
    where = {constant: macros[section] for constant, section in placement.constants.items()}
    texts = constant_texts(program, program.constants, step_labels(program))
    return [replace(text, where=where.get(text.name, text.where)) for text in texts]


def constant_texts(program: Program, constants: Sequence[Constant], labels: Sequence[str]) -> list[ConstantText]:
    """`constants` of `program`, whose steps are called `labels`."""
    comments = constant_comments(program, labels)
    return [replace(constant_text(c), comment=comments.get(c.name, "")) for c in constants]


def region_text(memory: Usage) -> RegionText:
    """`memory` in a linker script."""
    access = "rx" if memory.kind == "flash" else "rw"
    section = str(memory.section)
    return RegionText(macro(section), access, memory.origin or 0, memory.size or 0, section, memory.kind == "ram")


def constant_text(constant: Constant) -> ConstantText:
    """`constant` as a C initialiser, lines of at most `WIDTH` characters."""
    words = [literal(v) for v in constant.values.ravel().tolist()] if constant.values.size else ["0"]
    if constant.values.dtype == np.float32:
        words = [float_literal(v) for v in constant.values.ravel()]
    if constant.values.dtype == np.float64:
        words = [float(v).hex() for v in constant.values.ravel()]
    lines, line = [], "   "
    for word in words:
        if len(line) + len(word) + 2 > WIDTH:
            lines.append(line)
            line = "   "
        line += f" {word},"
    return ConstantText(constant.name, ctype_of(constant.values), len(words), "\n".join([*lines, line]))


def ctype_of(values: Array) -> str:
    """The C type of a numpy array's elements."""
    return {"float32": "float", "float64": "double", "bool": "uint8_t"}.get(values.dtype.name, f"{values.dtype.name}_t")


def literal(value: int) -> str:
    """An integer as C99 writes it; the smallest int32 and int64 have no literals of their own."""
    if value in _SMALLEST:
        return _SMALLEST[value]
    return str(int(value)) if -(2**31) < value < 2**31 else f"INT64_C({value})"


def narrow_types(program: Program) -> dict[str, Narrow | None]:
    """For each struct of kernels with biases their type, if they take fewer bits than usual."""
    return {struct: TYPES[program.narrow[struct]] if struct in program.narrow else None for struct in STRUCTS}


def in_parentheses(value: int) -> str:
    """An integer as a macro's value: a minus sign must not meet what stands before the macro."""
    return f"({value})" if value < 0 else str(value)


def float_literal(value: float | np.float32) -> str:
    """A float32 as an exact C expression: the shortest decimal that reads back as the same float."""
    if not np.isfinite(value):
        return "(0.0f / 0.0f)" if np.isnan(value) else "(1.0f / 0.0f)" if value > 0 else "(-1.0f / 0.0f)"
    text = str(np.float32(value))
    return f"{text}f" if any(c in text for c in ".e") else f"{text}.0f"


def field_texts(p: str, params: Mapping[str, int | float | str]) -> tuple[FieldText, ...]:
    """The designated initialisers of a parameter struct; a string is the name of a constant."""

    def value(v: int | float | str) -> str:
        if isinstance(v, str):
            return p + v
        return float_literal(v) if isinstance(v, (float, np.floating)) else literal(int(v))

    return tuple(FieldText(name, value(v)) for name, v in params.items())


def call_texts(
    p: str, program: Program, plan: Plan, labels: Sequence[str] | None = None, across: bool = False
) -> list[list[CallText]]:
    """The calls of each step, numbered; calls of a step (or `across` steps) with equal parameters share a number.

    A function that is called with one set of parameters only is its own copy in any case. Copies of bytes to where they
    are already are left out. `labels` are what comments call the steps (default: by their numbers).
    """
    numbers: dict[tuple[object, ...], int] = {}
    left = [[c for c in step.invocations if step.loop or not _stays(c, plan)] for step in program.steps]
    uses = Counter(function for _, function, _ in {(i, *_key(c)) for i, calls in enumerate(left) for c in calls})
    own_copies = [[call.own_copy or uses[call.function] == 1 for call in calls] for calls in left]
    indices, owners = list[list[int]](), dict[int, list[str]]()
    for step, label in enumerate(labels or step_labels(program)):
        keys = [(0 if across else step, *_key(c), own) for c, own in zip(left[step], own_copies[step], strict=True)]
        indices.append([numbers.setdefault(key, len(numbers)) for key in keys])
        for index in indices[-1]:
            owners.setdefault(index, []).append(label)
    return [
        [_call_text(p, call, plan, index, own, listed(owners[index])) for call, index, own in zip(*rows, strict=True)]
        for rows in zip(left, indices, own_copies, strict=True)
    ]


def _key(call: Invocation) -> tuple[str, tuple[object, ...]]:
    return (call.function, (*call.params.items(), *call.copied.items()))


def defined(calls: Sequence[CallText]) -> list[CallText]:
    """One of `calls` for each number."""
    return list({call.index: call for call in reversed(calls)}.values())[::-1]


def _stays(call: Invocation, plan: Plan) -> bool:
    """Whether `call` copies contiguous bytes to their own place."""
    if call.function != "copy_rows" or call.params["rows"] != 1 or call.reads[0].constant:
        return False
    ends = (call.reads[0], call.params["in_offset"]), (call.writes[0], call.params["out_offset"])
    source, target = (plan.offsets[o.name] + int(offset) for o, offset in ends)
    return source == target


def _call_text(p: str, call: Invocation, plan: Plan, index: int, own_copy: bool, comment: str) -> CallText:
    reads, writes = len(call.reads), len(call.writes) + (call.scratch is not None)
    actuals = tuple(f"r{i}" for i in range(reads)) + tuple(f"w{i}" for i in range(writes))
    formals = tuple(f"const void *r{i}" for i in range(reads)) + tuple(f"void *w{i}" for i in range(writes))

    pointers = [pointer(p, o, plan) for o in (*call.reads, *call.writes)]
    pointers += [f"a + {plan.offsets[call.scratch] + call.scratch_offset}"] if call.scratch is not None else []
    fields = field_texts(p, call.params)
    copied = tuple(FieldText(name, f"m{i}") for i, name in enumerate(call.copied))
    pointers += [f"a + {plan.offsets[buffer]}" for buffer in call.copied.values()]
    return CallText(index, call.function, fields, own_copy, formals, actuals, tuple(pointers), comment, copied)


def pointer(p: str, operand: Operand, plan: Plan) -> str:
    """A pointer to an operand: `a` is the arena, `c0`, `c1`, … a loop's cursors."""
    if operand.constant:
        return p + operand.name
    return f"c{operand.cursor}" if operand.cursor is not None else f"a + {plan.offsets[operand.name] + operand.offset}"


def port_text(p: str, kind: str, index: int, name: str, program: Program, plan: Plan) -> PortText:
    """Input or output number `index` (kind ``input`` or ``output``) of the program."""
    tensor = program.types[name]
    stem = f"{p}{kind}"
    quant = tensor.quant is not None and len(tensor.quant.scales) == 1
    low, high = (0, 0) if tensor.dtype in (DType.FLOAT32, DType.BOOL) else tensor.dtype.limits
    shape = ", ".join(map(str, tensor.shape))
    return PortText(
        ctype=tensor.dtype.c,
        elements=tensor.elements,
        bytes=tensor.bytes,
        offset=plan.offsets[program.place(name).name] + program.place(name).offset,
        rows=program.pushed.rows if program.pushed and name not in program.tensors else 0,
        row_elements=tensor.elements // tensor.shape[1] if len(tensor.shape) > 1 else 0,
        quant=quant,
        scale=float_literal(tensor.q.scale) if quant else "",
        zero_point=in_parentheses(tensor.q.zero_point) if quant else "",
        narrow=quant and tensor.dtype.bytes <= 2,
        low=str(low),
        high=str(high),
        comment=plain(f"{kind.capitalize()} {index}: {name}, {tensor.dtype.value} [{shape}]"),
        prefixes=tuple(s.upper() for s in ([f"{stem}_"] if index == 0 else []) + [f"{stem}_{index}_"]),
        functions=tuple(([stem] if index == 0 else []) + [f"{stem}_{index}"]),
    )


def shared_functions(calls: Sequence[CallText]) -> tuple[CallText, ...]:
    """One representative of each function that some calls share."""
    return tuple({c.function: c for c in reversed(calls) if not c.own_copy}.values())[::-1]
