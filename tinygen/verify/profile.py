# SPDX-License-Identifier: Apache-2.0
"""The instructions of each layer under QEMU, beside what the core's arithmetic alone would take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tinygen.ir.types import Array
from tinygen.target import Target
from tinygen.verify.build_dir import BuildDir
from tinygen.verify.cycles import CAVEAT, estimated, timing_of
from tinygen.verify.instructions import histograms
from tinygen.verify.qemu import blocks_qemu, profile_qemu


@dataclass(frozen=True)
class Layer:
    """A step of the report with its `instructions`; `share` is that of the whole (0 to 1).

    `cycles` are an estimate, and `classes` what it is made of, beside what reads of constants wait: executed
    instructions by class; None unless asked for.
    """

    step: int
    name: str
    op: str
    kernel: str
    output_shape: tuple[int, ...]
    macs: int
    instructions: int
    share: float
    cycles: int | None = None
    classes: Mapping[str, int] | None = None

    @property
    def per_mac(self) -> float | None:
        """Instructions per MAC; None where nothing is multiplied and added."""
        return self.instructions / self.macs if self.macs else None


@dataclass(frozen=True)
class Profile:
    """The layers of a build on `machine`, for one input. `floor`: that of the core, instructions per MAC.

    `timing`: where the cycles of instructions come from that the estimate is made of; None without an estimate.
    """

    name: str
    target: str
    machine: str
    floor: float | None
    layers: tuple[Layer, ...]
    timing: str | None = None

    @property
    def cycles(self) -> int | None:
        """The estimate for the whole; None unless asked for."""
        return sum(layer.cycles or 0 for layer in self.layers) if self.timing else None

    @property
    def instructions(self) -> int:
        return sum(layer.instructions for layer in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        layers = [{**asdict(layer), "per_mac": layer.per_mac} for layer in self.layers]
        return {
            **asdict(self),
            "layers": layers,
            "instructions": self.instructions,
            "macs": self.macs,
            "cycles": self.cycles,
        }

    def lines(self) -> Iterator[str]:
        """The whole in words."""
        yield f"{self.instructions:,} instructions on {self.machine} (not cycles), {self.macs:,} MACs"
        if self.floor and self.macs:
            least = self.floor * self.macs
            yield (
                f"the arithmetic alone would take {self.floor:g} per MAC: {least:,.0f}, "
                f"a factor of {self.instructions / least:.2f} less"
            )
        if self.cycles is not None:
            yield (
                f"about {self.cycles:,} cycles, an estimate and no measurement: {CAVEAT}; "
                f"{self.cycles / max(1, self.instructions):.2f} per instruction ({self.timing})"
            )


def profile_on(
    build: BuildDir, vector: Sequence[Array], target: Target, cycles: bool = False, compiler: str = "gcc"
) -> Profile:
    """The profile of `build` for one input set, with estimated `cycles` or without; raises as `profile_qemu`."""
    timing = timing_of(target) if cycles else None
    machine, counts = profile_qemu(build, vector, target, compiler=compiler)
    classes = histograms(*blocks_qemu(build, vector, target, compiler=compiler)) if timing else []
    whole = max(1, sum(counts))
    layers = tuple(
        Layer(
            step=entry["step"],
            name=entry["name"],
            op=entry["op"],
            kernel=entry["kernel"],
            output_shape=tuple(entry["output_shape"]),
            macs=entry["macs"],
            instructions=count,
            share=count / whole,
        )
        for entry, count in zip(build.report["layers"], counts, strict=True)
    )
    if timing:
        layers = tuple(
            replace(layer, cycles=estimated(found, timing) + entry["waits"], classes=dict(found))
            for layer, found, entry in zip(layers, classes, build.report["layers"], strict=True)
        )
    return Profile(build.name, target.name, machine, target.floor, layers, timing.source if timing else None)
