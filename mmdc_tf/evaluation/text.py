"""How numbers and foreign texts stand in pages."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

NOTHING = "–"
_MARKDOWN = str.maketrans(
    {"\\": "\\\\", "&": "&amp;", "|": "\\|", "`": "\\`", "*": "\\*", "[": "\\[", "]": "\\]", "\n": " "}
)


def share(value: float | None) -> str:
    """A fraction in per cent: 0.672 as "67.2"; a dash where there is none."""
    return fixed(None if value is None else 100 * value, 1)


def fixed(value: float | None, decimals: int = 3) -> str:
    """With so many decimals; a dash where there is no number."""
    return NOTHING if value is None or math.isnan(value) else f"{value:.{decimals}f}"


def between(interval: Sequence[float] | None, text: Callable[[float], str] = share) -> str:
    """An interval, of fractions in per cent: "(48.1 to 52.5)"; nothing where there is none.

    Args:
        interval: its lower and upper limit.
        text: how each of them is written.
    """
    ends = [] if interval is None else [text(end) for end in interval]
    return f"({' to '.join(ends)})" if ends and NOTHING not in ends else ""


def number(value: float | None) -> str:
    """Thousands with commas, fractions with four digits; a dash where there is none."""
    if value is None or math.isnan(value):
        return NOTHING
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"


def markdown_cell(value: object) -> str:
    """Text that stays text in a Markdown table; ``<`` before a blank is no tag."""
    return re.sub(r"<(?! )", "&lt;", str(value).translate(_MARKDOWN))


FILTERS: dict[str, Callable[..., str]] = {
    "share": share,
    "fixed": fixed,
    "between": between,
    "number": number,
    "cell": markdown_cell,
}
"""As templates call them."""
