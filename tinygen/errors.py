# SPDX-License-Identifier: Apache-2.0
"""Every way tinygen refuses, each with its own exit code.

An error's text is one sentence a firmware engineer can act on: it names the file, node or option, says what was
expected and what to do. The command line prints it and exits with ``exit_code``; the Python API raises it.
"""

from __future__ import annotations


class TinygenError(Exception):
    """Base of all errors that are the input's or the machine's, never a bug in tinygen."""

    exit_code = 1


class UsageError(TinygenError):
    """An option, a name or a data file that the user gave does not make sense (exit 2, as click's own)."""

    exit_code = 2


class ModelError(TinygenError):
    """The model file is malformed, truncated or inconsistent (exit 3)."""

    exit_code = 3


class UnsupportedError(TinygenError):
    """The model is valid, but uses something tinygen cannot compile yet (exit 4)."""

    exit_code = 4


class BudgetError(TinygenError):
    """The program does not fit the RAM or flash it was given (exit 5)."""

    exit_code = 5


class VerificationError(TinygenError):
    """The emitted C and the reference disagree, or the program misbehaved when run (exit 6)."""

    exit_code = 6


class ToolError(TinygenError):
    """A compiler or emulator is missing, or failed (exit 7)."""

    exit_code = 7
