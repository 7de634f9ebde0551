"""The instructions of each layer under QEMU, beside what the core's arithmetic alone would take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tinygen.ir.types import Array
from tinygen.target import Target
from tinygen.verify.build_dir import BuildDir
from tinygen.verify.qemu import profile_qemu


@dataclass(frozen=True)
class Layer:
    """A step of the report with its `instructions`; `share` is that of the whole (0 to 1)."""

    step: int
    name: str
    op: str
    kernel: str
    output_shape: tuple[int, ...]
    macs: int
    instructions: int
    share: float

    @property
    def per_mac(self) -> float | None:
        """Instructions per MAC; None where nothing is multiplied and added."""
        return self.instructions / self.macs if self.macs else None


@dataclass(frozen=True)
class Profile:
    """The layers of a build on `machine`, for one input. `floor`: that of the core, instructions per MAC."""

    name: str
    target: str
    machine: str
    floor: float | None
    layers: tuple[Layer, ...]

    @property
    def instructions(self) -> int:
        return sum(layer.instructions for layer in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        layers = [{**asdict(layer), "per_mac": layer.per_mac} for layer in self.layers]
        return {**asdict(self), "layers": layers, "instructions": self.instructions, "macs": self.macs}

    def lines(self) -> Iterator[str]:
        """The whole in words."""
        yield f"{self.instructions:,} instructions on {self.machine} (not cycles), {self.macs:,} MACs"
        if self.floor and self.macs:
            least = self.floor * self.macs
            yield (
                f"the arithmetic alone would take {self.floor:g} per MAC: {least:,.0f}, "
                f"a factor of {self.instructions / least:.2f} less"
            )


def profile_on(build: BuildDir, vector: Sequence[Array], target: Target) -> Profile:
    """The profile of `build` for one input set; raises as `profile_qemu`."""
    machine, counts = profile_qemu(build, vector, target)
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
    return Profile(build.name, target.name, machine, target.floor, layers)
