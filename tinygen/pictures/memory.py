# SPDX-License-Identifier: Apache-2.0
"""The arena over time: steps downwards, bytes to the right, a rectangle for each buffer while it holds something."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinygen.pictures import svg

#: Pixels of a step, and of the axis above.
STEP, AXIS = 24, 24
#: Classes of colour that tensors take in turn; scratch has one of its own.
COLOURS = ("a", "c", "e", "b")


@dataclass(frozen=True)
class MemoryMap:
    """`spans` as in report.json's ``memory``, `steps` the operators' names in order, `arena` in bytes."""

    title: str
    spans: Sequence[Mapping[str, Any]]
    steps: Sequence[str]
    arena: int

    @property
    def height(self) -> int:
        return AXIS + STEP * (len(self.steps) + 2)

    def elements(self) -> Iterator[str]:
        """The SVG elements. The first row is before the first step, the last one after the last step."""
        for share in (0, 0.25, 0.5, 0.75, 1):
            kind = "dim" if share == 0 else "dim end" if share == 1 else "dim mid"
            yield svg.text(share, 12, f"{round(share * self.arena):,}", kind)
            yield svg.line(share, AXIS - 6, share, self.height, "grid")
        for number, span in enumerate(self.spans):
            yield from self._span(span, "d" if span["kind"] == "scratch" else COLOURS[number % len(COLOURS)])

    def _span(self, span: Mapping[str, Any], kind: str) -> Iterator[str]:
        top = AXIS + STEP * (span["first"] + 1) + 1
        height = STEP * (span["last"] - span["first"] + 1) - 2
        x, width = span["offset"] / max(self.arena, 1), span["bytes"] / max(self.arena, 1)
        yield svg.rect(x, top, width, height, kind, self._tip(span))
        yield svg.clipped(x, top, width, min(height, STEP), span["buffer"])

    def _tip(self, span: Mapping[str, Any]) -> str:
        what = "scratch memory" if span["kind"] == "scratch" else "tensor"
        where = f"{span['offset']:,} to {span['offset'] + span['bytes']:,}"
        return f"{what} {span['buffer']}: {span['bytes']:,} bytes, {where}, {self._when(span)}"

    def _when(self, span: Mapping[str, Any]) -> str:
        first, last = (self._step(span[key]) for key in ("first", "last"))
        return f"at {first}" if first == last else f"from {first} to {last}"

    def _step(self, step: int) -> str:
        if step < 0:
            return "the input"
        return "the output" if step >= len(self.steps) else f"step {step} ({self.steps[step]})"
