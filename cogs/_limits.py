"""Limits in words, and those that hold for whoever an interaction is from."""

from __future__ import annotations

import discord

from cogs import _whereabouts
from cogs._desk import desk_of
from cogs._language import N_, t
from engine import limits as rules
from engine.limits import NAMES, Rule
from engine.types import Bound, Limits, ServerLimits, Whose

LABELS = {
    "per_minute": N_("Jobs a minute"),
    "waiting": N_("Jobs waiting or running"),
    "steps": N_("Steps of a picture"),
    "side": N_("Pixels of the longest side"),
    "count": N_("Pictures at a time"),
    "daily": N_("Standard pictures in 24 hours"),
}
OF_OTHERS = {
    Whose.OWNERS: N_("set by the owners of this bot"),
    Whose.OWNERS_PERSON: N_("set for this person by the owners of this bot"),
    Whose.SERVER: N_("set for everybody in this server"),
    Whose.ROLE: N_("set for their roles in this server"),
    Whose.PERSON: N_("set for this person in this server"),
}
NO_LIMIT = N_("no limit")


def of(interaction: discord.Interaction) -> Limits:
    """Returns what holds for the person, here."""
    known = desk_of(interaction).parts.rules
    roles = _whereabouts.roles_of(interaction)
    return known.of(interaction.user.id, interaction.guild_id, roles)


def lines(limits: Limits, *, of_others: bool = False) -> list[str]:
    """Returns every limit that there is, each in a line with who set it, for its person or others."""
    here = limits.here or ServerLimits(0)
    return [
        _counted("waiting", limits.waiting, here.waiting, of_others),
        _counted("per_minute", limits.per_minute, here.per_minute, of_others),
        *([_line("daily", f"{limits.daily:,.10g}")] if limits.daily else []),
        *bounds(limits, of_others=of_others),
    ]


def are_set(limits: Limits) -> bool:
    """Returns whether somebody has set limits beside those that everybody has everywhere."""
    here = limits.here or ServerLimits(0)
    return bool(here.waiting or here.per_minute or bounds(limits))


def bounds(limits: Limits, *, of_others: bool = False) -> list[str]:
    """Returns the limits of a picture or command that somebody has set."""
    found = {"steps": limits.steps, "side": limits.side, "count": limits.count}
    return [
        _line(name, _bound(bound, of_others)) for name, bound in found.items() if bound is not None
    ]


def written(rule: Rule) -> str:
    """Returns what a rule says, in one line."""
    given = [(name, value) for name in NAMES if (value := getattr(rule, name)) is not None]
    return " · ".join(_line(name, _number(name, value)) for name, value in given)


def _counted(name: str, everywhere: int, here: Bound | None, of_others: bool) -> str:
    if here is None:
        return _line(name, _number(name, everywhere))
    text = t(
        "{here} in this server ({whose}), {everywhere} everywhere",
        here=here.value,
        whose=_whose(here, of_others),
        everywhere=_number(name, everywhere),
    )
    return _line(name, text)


def _line(name: str, value: str) -> str:
    return t("{label}: {value}", label=t(LABELS[name]), value=value)


def _number(name: str, value: float) -> str:
    is_open = not value and name in ("per_minute", "daily")
    return t(NO_LIMIT) if is_open else f"{value:,.10g}"


def _bound(bound: Bound, of_others: bool) -> str:
    return f"{bound.value:,} ({_whose(bound, of_others)})"


def _whose(bound: Bound, of_others: bool) -> str:
    return t((OF_OTHERS if of_others else rules.WHOSE)[bound.whose])
