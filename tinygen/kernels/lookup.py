# SPDX-License-Identifier: Apache-2.0
"""Every operator that maps one int8 value to another, as a 256-byte table made by its own reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.overlap import elementwise
from tinygen.ops import all_ops
from tinygen.ops.base import Call
from tinygen.ops.table import is_table, table_of, variable_inputs


def launch(call: Call[Any]) -> Sequence[Launch]:
    table = table_of(call)
    assert table is not None, "accepts() came first"
    return (Launch((variable_inputs(call)[0],), (0,), {"elements": call.output.elements, "table": table}),)


KERNELS = (
    Kernel(
        op=tuple(all_ops()),
        template="lookup/table",
        launch=launch,
        accepts=is_table,
        overlap=elementwise,
        speed=4.0,
    ),
)
