"""What somebody has used up and has left, as people count: in whole pictures.

A job's cost is a fraction: a draft is about half a picture, a large one several. What is used is rounded up
and what is left is rounded down, so that nobody is promised a picture that is then refused.
"""

from __future__ import annotations

import math

from cogs import _errors
from cogs._language import N_, t
from storage.ledger import Usage

FRACTION = N_(
    "Exactly {used:.4g}: drafts and small pictures count as less than one, fine and large ones as more."
)

_BAR_LENGTH = 12


def used(usage: Usage) -> int:
    """Returns how many pictures' worth was used in the last 24 hours."""
    return math.ceil(round(usage.used_today, 2))


def left(usage: Usage) -> int:
    """Returns how many standard pictures can still be made; there must be a limit."""
    return math.floor(round(max(usage.daily - usage.used_today, 0.0) + usage.extra, 2))


def today(usage: Usage) -> str:
    """Returns "4 of 50 pictures today"; there must be a limit."""
    return t("{used:,} of {daily:,g} pictures today", used=used(usage), daily=usage.daily)


def card(usage: Usage) -> str:
    """Returns a bar, what is left, and when all of it is back."""
    if not usage.daily:
        return t(
            "{used:,} pictures used in the last 24 hours; there is no limit.", used=used(usage)
        )
    full = round(_BAR_LENGTH * min(usage.used_today / usage.daily, 1.0))
    lines = [
        "\N{BLACK PARALLELOGRAM}" * full + "\N{WHITE PARALLELOGRAM}" * (_BAR_LENGTH - full),
        t("**{left:,} left**: {today}", left=left(usage), today=today(usage)),
    ]
    if usage.extra:
        lines.append(t("Of these {extra:,.4g} are extra ones, used up once.", extra=usage.extra))
    if usage.resets_at is not None:
        lines.append(t("All of it is back {time}.", time=_errors.stamp(usage.resets_at)))
    if round(usage.used_today, 2) != used(usage):
        lines.append("-# " + t(FRACTION, used=usage.used_today))
    return "\n".join(lines)
