"""A bar on the terminal."""

from __future__ import annotations

import sys

_BAR_WIDTH = 30


def show(fraction: float, text: str, *, end: str = "") -> None:
    """Draws the bar over itself on a terminal; a log file or pipe gets only the last line."""
    if not sys.stderr.isatty() and end == "":
        return
    filled = round(fraction * _BAR_WIDTH)
    bar = "█" * filled + "░" * (_BAR_WIDTH - filled)
    print(f"\r\033[K{bar} {text}" if sys.stderr.isatty() else text, end=end, file=sys.stderr)
    sys.stderr.flush()
