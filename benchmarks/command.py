# SPDX-License-Identifier: Apache-2.0
"""What the commands of the benchmarks have in common: options, models that may be absent, errors as one sentence."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence

from tests import zoo
from tinygen.errors import TinygenError


def on_the_zoo(parser: ArgumentParser, arguments: Sequence[str] | None, measured: Callable[[Namespace], bool]) -> int:
    """The exit code of a command that has the models of the zoo `measured`: 0 if every goal is met, 1 if not.

    2 without the zoo; that of the error, in one sentence on stderr, where there is one.
    """
    options = parser.parse_args(arguments)
    if not zoo.PRESENT:
        print(zoo.ABSENT, file=sys.stderr)
        return 2
    try:
        return 0 if measured(options) else 1
    except TinygenError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
