# SPDX-License-Identifier: Apache-2.0
"""SVG elements as text.

Pictures are as wide as what they stand in: horizontal positions and widths are shares of the whole (0 to 1), written as
percentages, while vertical ones, and letters, are pixels. So a picture is as readable on a phone as on a desk.
Colours are classes, which the page or the file's own style gives their values.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

#: Values of the classes in a file by itself: dark letters on white.
STYLE = """\
text{font:12px system-ui,sans-serif;fill:#1c2430}.dim{fill:#5b6675}.end{text-anchor:end}.mid{text-anchor:middle}
.track{fill:#eceff3}.grid{stroke:#dde2e9}.line{stroke:#8a94a3;fill:none}.dash{stroke:#d9822b;stroke-dasharray:5 4}
.mark{stroke:#c0392b;stroke-width:2}
.a{fill:#2f6fde}.b{fill:#8a63d2}.c{fill:#1f9d76}.d{fill:#d9822b}.e{fill:#c2457a}
.on{fill:#fff}.ring{fill:none;stroke:#1c2430;stroke-width:2}"""


def percent(share: float) -> str:
    """A share of the width as SVG writes it."""
    return f"{100 * share:.3f}".rstrip("0").rstrip(".") + "%"


def rect(x: float, y: float, width: float, height: float, kind: str, tip: str = "") -> str:
    """A rectangle from share `x`, `width` wide; `tip` is what a pointer over it tells."""
    shape = f'x="{percent(x)}" y="{y:g}" width="{percent(width)}" height="{height:g}" rx="2"'
    return _told(f'<rect class="{kind}" {shape}', "rect", tip)


def dot(x: float, y: float, kind: str, tip: str = "", radius: float = 4) -> str:
    """A disc around share `x`."""
    return _told(f'<circle class="{kind}" cx="{percent(x)}" cy="{y:g}" r="{radius:g}"', "circle", tip)


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "line") -> str:
    """A straight line between two points."""
    return f'<line class="{kind}" x1="{percent(x1)}" y1="{y1:g}" x2="{percent(x2)}" y2="{y2:g}"/>'


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Words at share `x`; the classes ``end`` and ``mid`` align them."""
    return f'<text x="{percent(x)}" y="{y:g}" class="{kind}">{escape(words)}</text>'


def clipped(x: float, y: float, width: float, height: float, words: str, kind: str = "on", left: float = 6) -> str:
    """Words inside a rectangle, `left` pixels from where it begins, cut off where it ends."""
    frame = f'x="{percent(x)}" y="{y:g}" width="{percent(width)}" height="{height:g}"'
    return f'<svg {frame}><text x="{left:g}" y="{height / 2 + 4:g}" class="{kind} inert">{escape(words)}</text></svg>'


def picture(height: float, elements: Iterable[str], title: str) -> str:
    """A picture to stand in a page; `title` is what a screen reader says."""
    return _svg(f'width="100%" height="{height:g}"', elements, title)


def file(height: float, elements: Iterable[str], title: str, width: int = 800) -> str:
    """The same picture as a file of its own, `width` pixels wide, on white, with a margin."""
    inner = _svg(f'x="16" y="40" width="{width - 32}" height="{height:g}"', elements, title)
    head = f'<rect width="100%" height="100%" fill="#fff"/><text x="16" y="26" font-weight="600">{escape(title)}</text>'
    size = f'width="{width}" height="{height + 56:g}" viewBox="0 0 {width} {height + 56:g}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{STYLE}</style>{head}{inner}</svg>\n'


def _svg(size: str, elements: Iterable[str], title: str) -> str:
    body = "\n".join(elements)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">\n{body}\n</svg>'


def _told(start: str, name: str, tip: str) -> str:
    if not tip:
        return f"{start}/>"
    words = escape(tip)
    return f'{start} tabindex="0" data-tip="{words}"><title>{words}</title></{name}>'
