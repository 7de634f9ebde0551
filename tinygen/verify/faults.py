# SPDX-License-Identifier: Apache-2.0
"""What a Cortex-M fault means, in words. Source: Armv7-M and Armv8-M Architecture Reference Manuals, CFSR."""

from __future__ import annotations

import re

from tinygen.target import Region

#: Exception numbers of faults.
NAMES = {2: "NMI", 3: "HardFault", 4: "MemManage fault", 5: "BusFault", 6: "UsageFault", 7: "SecureFault"}

#: Bits of the configurable fault status register; the first that is set tells the cause.
CAUSES = {
    20: "stack overflow",
    25: "division by zero",
    24: "misaligned access",
    16: "undefined instruction",
    17: "jump to an address that is not Thumb code",
    18: "invalid return from an exception",
    19: "FPU or vector instruction while the unit is off",
    12: "stack overflow",
    4: "stack overflow",
    8: "jump to an address without memory",
    0: "jump to an address without memory",
    9: "access to an address without memory",
    10: "access to an address without memory",
    1: "access to a protected address",
}

#: Armv6-M does not tell.
UNKNOWN = "misaligned access, access to an address without memory, or undefined instruction"


def describe(printed: str, ram: Region) -> str:
    """Name, cause and address of the fault whose handler `printed` its line; the stack begins where `ram` does."""
    found = re.search(r"fault exception=(\w{8}) sp=(\w{8}) cfsr=(\w{8}) address=(\w{8})", printed)
    if not found:
        return "fault of which nothing is known"
    exception, sp, status, address = (int(word, 16) for word in found.groups())
    name = NAMES.get(exception, f"unexpected exception {exception}")
    causes = [cause for bit, cause in CAUSES.items() if status >> bit & 1]
    if sp < ram.origin:
        causes = ["stack overflow"]
    cause = causes[0] if causes else UNKNOWN
    return f"{name}: {cause}" + (f" (0x{address:08x})" if address and "address" in cause else "")
