# SPDX-License-Identifier: Apache-2.0
"""Which buffers of a step may share bytes, from what its kernel says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from tinygen.ir.graph import Node
from tinygen.ir.program import Join, Overlay
from tinygen.kernels import Launch
from tinygen.selection import Choice


def overlays(node: Node, choice: Choice, buffers: Mapping[str, str]) -> tuple[Overlay, ...]:
    """The inputs over which the kernel may write, of those that lie in `buffers` (by tensor) and are read but once."""
    if len(choice.launches) != 1:
        return ()
    (launch,) = choice.launches
    rooms = choice.kernel.overlap(choice.call, launch)
    reads = Counter(buffers[name] for name in node.inputs if name in buffers)
    found = {buffers[name]: rooms[i] for i, name in enumerate(node.inputs) if i in rooms and name in buffers}
    return tuple(Overlay(name, room.below, room.step) for name, room in found.items() if reads[name] == 1)


def joins(node: Node, choice: Choice, buffers: Mapping[str, str]) -> tuple[Join, ...]:
    """Copies of all of an input to a piece of the output, or the other way round."""
    whole = [o for o in choice.launches if choice.kernel.function == "copy_rows" and o.params["rows"] == 1]
    return tuple(join for launch in whole for join in _joins(node, choice, launch, buffers))


def _joins(node: Node, choice: Choice, launch: Launch, buffers: Mapping[str, str]) -> Iterator[Join]:
    (read,), (write,), call = launch.reads, launch.writes, choice.call
    run, of_source, of_target = (launch.params[name] for name in ("run", "in_offset", "out_offset"))
    assert isinstance(of_source, int) and isinstance(of_target, int), "offsets are numbers of bytes"
    source, target = buffers.get(node.inputs[read]), buffers[node.outputs[write]]
    if source is not None and run == call.input(read).bytes:
        yield Join(source, target, of_target)
    elif source is not None and run == call.outputs[write].bytes:
        yield Join(target, source, of_source)
