# SPDX-License-Identifier: Apache-2.0
"""Pictures as PNG files, for papers and slides."""

from __future__ import annotations

from tinygen.errors import ToolError

#: Pixels of the file for each of the picture.
ZOOM = 2.0


def as_png(picture: bytes) -> bytes:
    """An SVG file as PNG. `ToolError` without resvg-py, which draws it with the fonts of this computer."""
    try:
        from resvg_py import svg_to_bytes
    except ImportError:
        raise ToolError("PNG files need resvg-py: pip install 'tinygen[pictures]'") from None
    return bytes(svg_to_bytes(svg_string=picture.decode(), zoom=ZOOM))
