# SPDX-License-Identifier: Apache-2.0
"""Which function builds which ONNX operator. The modules of this package fill the registry as they are imported."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

#: Builds a node: (builder, node) → the tensors that are the node's outputs, in order; one may be given bare.
Handler = Callable[[Any, Any], "str | Sequence[str]"]

_HANDLERS: dict[str, Handler] = {}


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Register a function for the ONNX operators of these names (default domain)."""

    def register(handler: Handler) -> Handler:
        for name in names:
            _HANDLERS[name] = handler
        return handler

    return register


@cache
def handlers() -> dict[str, Handler]:
    """Every operator's function, by ONNX name, sorted."""
    package = __name__.rpartition(".")[0]
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{info.name}")
    return dict(sorted(_HANDLERS.items()))
