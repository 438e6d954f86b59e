"""How much a person may ask for: rules of the bot's owners and of a server's managers, and their sum.

Each limit goes by itself. A rule for the person counts before those of their roles, among several
roles the most generous one does, and that comes before the rule for everybody in the server. Whatever
comes out, it is never above what the bot's owners allow: they have a rule for everybody, and before
that one a rule for the person; what neither says is as the settings have it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from engine.errors import OverLimitError
from engine.types import Bound, Limits, ServerLimits, Submission, Whose
from engine.words import N_

EVERYWHERE = 0  # instead of a server's id: a rule of the bot's owners

WHOSE = {
    Whose.OWNERS: N_("set by the owners of this bot"),
    Whose.OWNERS_PERSON: N_("set for you by the owners of this bot"),
    Whose.SERVER: N_("set for everybody in this server"),
    Whose.ROLE: N_("set for your roles in this server"),
    Whose.PERSON: N_("set for you in this server"),
}


class Kind(StrEnum):
    """Whom a rule is for."""

    EVERYBODY = "everybody"
    ROLE = "role"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Target:
    """Whom and where a rule is for.

    Attributes:
        guild_id: A server, or `EVERYWHERE`.
        id: The role or person; 0 for everybody.
    """

    guild_id: int
    kind: Kind = Kind.EVERYBODY
    id: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """What a target may have; None says nothing. The names are those of `Limits`.

    Attributes:
        per_minute: 0 is no limit, in a rule of the owners only.
        daily: The same; only owners have it.
    """

    per_minute: int | None = None
    waiting: int | None = None
    steps: int | None = None
    side: int | None = None
    count: int | None = None
    daily: float | None = None


NOTHING = Rule()
NAMES = tuple(field.name for field in dataclasses.fields(Rule))
SERVER_NAMES = NAMES[:-1]


def limits_of(
    rules: Mapping[Target, Rule],
    configured: Limits,
    person_id: int,
    guild_id: int | None = None,
    role_ids: Iterable[int] = (),
) -> Limits:
    """Returns what holds for a person, in a server or elsewhere.

    Args:
        rules: All of them.
        configured: What the settings say.
        person_id: Who asks.
        guild_id: Where; None in a DM.
        role_ids: The person's roles there.
    """
    limits = _of_owners(rules, configured, person_id)
    if guild_id is None:
        return limits
    here = _of_server(rules, person_id, guild_id, role_ids)
    return dataclasses.replace(
        limits,
        steps=_lower(limits.steps, here.get("steps")),
        side=_lower(limits.side, here.get("side")),
        count=_lower(limits.count, here.get("count")),
        here=ServerLimits(
            guild_id,
            waiting=_below(here.get("waiting"), limits.waiting),
            per_minute=_below(here.get("per_minute"), limits.per_minute),
        ),
    )


def ceiling(limits: Limits, name: str) -> float:
    """Returns how high a server's rule may be: what the owners' `limits` say; 0 is no limit."""
    value = getattr(limits, name)
    if isinstance(value, Bound):
        return value.value
    return float(value or 0)


def check(submission: Submission, limits: Limits, size_multiple: int) -> None:
    """Raises OverLimitError when one picture, or one command, would be more than is allowed."""
    request = submission.request
    side = request.longest_side(size_multiple)
    if (most := limits.steps) is not None and request.steps_asked > most.value:
        raise OverLimitError(
            "This takes {asked} steps and at most {limit} are allowed ({whose}): choose fewer steps or "
            "a lower quality.",
            asked=request.steps_asked,
            limit=most.value,
            whose=WHOSE[most.whose],
        )
    if (most := limits.side) is not None and side > most.value:
        raise OverLimitError(
            "This picture would have {asked} pixels on its longest side and at most {limit} are allowed "
            "({whose}): choose a smaller size, a lower quality or a smaller factor.",
            asked=side,
            limit=most.value,
            whose=WHOSE[most.whose],
        )
    pictures = max(submission.batch_pictures, request.num_images)
    if (most := limits.count) is not None and pictures > most.value:
        raise OverLimitError(
            "These are {asked} pictures and at most {limit} are allowed at a time ({whose}): ask for "
            "fewer.",
            asked=pictures,
            limit=most.value,
            whose=WHOSE[most.whose],
        )


def _of_owners(rules: Mapping[Target, Rule], configured: Limits, person_id: int) -> Limits:
    everybody = rules.get(Target(EVERYWHERE), NOTHING)
    person = rules.get(Target(EVERYWHERE, Kind.PERSON, person_id), NOTHING)
    if everybody is person is NOTHING:
        return configured

    def bound(name: str) -> Bound | None:
        for rule, whose in ((person, Whose.OWNERS_PERSON), (everybody, Whose.OWNERS)):
            if (value := getattr(rule, name)) is not None:
                return Bound(value, whose)
        found: Bound | None = getattr(configured, name)
        return found

    def first(*values: float | None) -> float:
        return next(value for value in values if value is not None)

    return dataclasses.replace(
        configured,
        waiting=int(first(person.waiting, everybody.waiting, configured.waiting)),
        per_minute=int(first(person.per_minute, everybody.per_minute, configured.per_minute)),
        daily=first(person.daily, everybody.daily, configured.daily),
        steps=bound("steps"),
        side=bound("side"),
        count=bound("count"),
    )


def _of_server(
    rules: Mapping[Target, Rule], person_id: int, guild_id: int, role_ids: Iterable[int]
) -> dict[str, Bound]:
    """Returns the limits of a server's rules by name, whatever the owners say."""
    person = rules.get(Target(guild_id, Kind.PERSON, person_id), NOTHING)
    everybody = rules.get(Target(guild_id), NOTHING)
    roles = [
        rule
        for role_id in role_ids
        if (rule := rules.get(Target(guild_id, Kind.ROLE, role_id))) is not None
    ]
    found: dict[str, Bound] = {}
    for name in SERVER_NAMES:
        of_roles = [value for rule in roles if (value := getattr(rule, name)) is not None]
        for value, whose in (
            (getattr(person, name), Whose.PERSON),
            (max(of_roles, default=None), Whose.ROLE),
            (getattr(everybody, name), Whose.SERVER),
        ):
            if value is not None:
                found[name] = Bound(value, whose)
                break
    return found


def _lower(owners: Bound | None, here: Bound | None) -> Bound | None:
    if owners is None or here is None:
        return owners or here
    return here if here.value < owners.value else owners


def _below(here: Bound | None, owners: int) -> Bound | None:
    """Returns a server's limit unless the owners' is as strict; 0 is no limit of theirs."""
    return here if here is not None and (not owners or here.value < owners) else None
