"""`/admin limits`: how much people may ask for, in a server and everywhere."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import discord
from discord import app_commands
from discord.app_commands import Range

from cogs import _answer, _limits, _text
from cogs._authority import Reach, only
from cogs._desk import Desk, desk_of
from cogs._language import N_, t
from cogs.admin import _scope
from engine import limits
from engine.errors import InvalidRequestError
from engine.limits import EVERYWHERE, NAMES, NOTHING, Kind, Rule, Target
from engine.sheets import MAX_JOBS
from engine.types import MAX_STEPS, MAX_UPSCALED_SIDE
from storage.grants import Grants
from storage.rows import utc_now

# What may be set, checked here once more: only Discord's own client keeps to the ranges.
MOST_STEPS = MAX_STEPS * 3 // 2  # with a second pass
MOST_A_MINUTE, MOST_WAITING, MOST_DAILY, MOST_DAYS = 1000, 100, 100_000, 366
LEAST_SIDE = 64
RANGES: dict[str, tuple[float, float]] = {
    "per_minute": (0, MOST_A_MINUTE),
    "waiting": (1, MOST_WAITING),
    "steps": (1, MOST_STEPS),
    "side": (LEAST_SIDE, MAX_UPSCALED_SIDE),
    "count": (1, MAX_JOBS),
    "daily": (0, MOST_DAILY),
}

ONE_TARGET = N_(
    "A limit is for a role or for a person: give one of them, or neither for everybody."
)
NO_ROLES = N_("A role belongs to its server: leave out the role, or everywhere.")
NOTHING_GIVEN = N_("Say what to limit: give at least one of the options with a number.")
OUT_OF_RANGE = N_("{label} can be {low:,g} to {high:,g}, not {value:,.10g}: give another number.")
NO_DAILY = N_(
    "Only the owners of this bot limit what people make in 24 hours, with the option everywhere: leave it "
    "out."
)
NO_ZERO = N_("0 would be no limit, which only the owners of this bot can set: give 1 or more.")
ABOVE = N_(
    "{label} can be at most {limit:,.10g} here, as the owners of this bot allow no more: give a smaller "
    "number."
)
SET = N_("Set for {target}: {rule}")
RESET = N_("Limits that were reset: {count}. What holds now: /admin limits show.")
NO_RULES = N_("No limits are set.")
NO_ALLOWANCE = N_("This person has no limit in 24 hours, so there is nothing to add to.")
GIVEN = N_(
    "{person} has {once:,.10g} extra pictures to be used up once, and {daily:,.10g} more in 24 hours."
)
TAKEN = N_(
    "Taken back from {person}: {once:,.10g} extra pictures, and {daily:,.10g} more in 24 hours."
)

_ROLE = "For everybody with this role; the most generous of a person's roles counts"
_PERSON = "For this person, whatever roles they have"


class LimitsGroup(app_commands.Group):
    """Managers limit what is asked for in their server; the owners what anybody may have."""

    def __init__(self) -> None:
        """Needs nothing: the desk comes with each interaction."""
        super().__init__(name="limits", description="How much people may ask for.")

    @app_commands.command(description="See the limits that are set, or those of one person.")
    @app_commands.describe(
        person="What holds for this person here", everywhere=_scope.EVERYWHERE_HELP
    )
    @only(Reach.BOTH)
    async def show(
        self,
        interaction: discord.Interaction,
        person: discord.User | None = None,
        everywhere: bool = False,
    ) -> None:
        """Answers with the card."""
        guild_id = await _scope.reach_of(interaction, everywhere=everywhere)
        desk = desk_of(interaction)
        if person is not None:
            lines = [f"<@{person.id}>", *limits_of_person(desk, person, guild_id)]
        else:
            lines = _rules(desk, guild_id)
        embed = discord.Embed(title=t("Limits"), description=_text.joined_within(lines, 4000))
        await _answer.answer(interaction, ephemeral=True, embed=embed)

    @app_commands.command(description="Limit everybody, a role or a person.")
    @app_commands.describe(
        role=_ROLE,
        person=_PERSON,
        per_minute="Jobs a minute",
        waiting="Jobs waiting or running",
        steps="Steps of a picture, with those of hd's second pass",
        size="Pixels of the longest side",
        count="Pictures at a time",
        daily="Standard pictures in 24 hours; only with everywhere",
        everywhere=_scope.EVERYWHERE_HELP,
    )
    @only(Reach.BOTH)
    async def set(
        self,
        interaction: discord.Interaction,
        role: discord.Role | None = None,
        person: discord.User | None = None,
        per_minute: Range[int, 0, MOST_A_MINUTE] | None = None,
        waiting: Range[int, 1, MOST_WAITING] | None = None,
        steps: Range[int, 1, MOST_STEPS] | None = None,
        size: Range[int, LEAST_SIDE, MAX_UPSCALED_SIDE] | None = None,
        count: Range[int, 1, MAX_JOBS] | None = None,
        daily: Range[float, 0, MOST_DAILY] | None = None,
        everywhere: bool = False,
    ) -> None:
        """Changes what is given, and keeps the rest of the target's rule."""
        target = await _target(interaction, role, person, everywhere=everywhere)
        desk = desk_of(interaction)
        given = Rule(per_minute, waiting, steps, size, count, daily)
        _check(desk, target, given)
        changes = {name: value for name in NAMES if (value := getattr(given, name)) is not None}
        rule = dataclasses.replace(desk.parts.rules.rule(target), **changes)
        await _answer.in_time(
            interaction,
            desk.parts.rules.set(target, rule, actor_id=interaction.user.id),
            ephemeral=True,
        )
        text = t(SET, target=_name(target), rule=_limits.written(rule))
        await _answer.answer(interaction, text, ephemeral=True)

    @app_commands.command(description="Forget the limits of everybody, a role or a person.")
    @app_commands.describe(
        role=_ROLE,
        person=_PERSON,
        everything="All of them: for everybody, for all roles and all people",
        everywhere=_scope.EVERYWHERE_HELP,
    )
    @only(Reach.BOTH)
    async def reset(
        self,
        interaction: discord.Interaction,
        role: discord.Role | None = None,
        person: discord.User | None = None,
        everything: bool = False,
        everywhere: bool = False,
    ) -> None:
        """Says how many there were."""
        target = await _target(interaction, role, person, everywhere=everywhere)
        rules = desk_of(interaction).parts.rules
        targets = list(rules.of_server(target.guild_id)) if everything else [target]
        count = await _answer.in_time(
            interaction, rules.reset(targets, actor_id=interaction.user.id), ephemeral=True
        )
        await _answer.answer(interaction, t(RESET, count=count), ephemeral=True)

    @app_commands.command(description="Give a person extra pictures; for the owners of this bot.")
    @app_commands.describe(
        person="Who gets them, everywhere",
        pictures="So many standard pictures; 0 takes all extra ones back",
        days="So many more in 24 hours, for so many days; left out: to be used up once",
    )
    @only(Reach.OWNER)
    async def grant(
        self,
        interaction: discord.Interaction,
        person: discord.User,
        pictures: Range[float, 0, MOST_DAILY],
        days: Range[int, 1, MOST_DAYS] | None = None,
    ) -> None:
        """Says what the person has now."""
        _check_range("daily", pictures)
        if days is not None and not 1 <= days <= MOST_DAYS:
            raise InvalidRequestError(
                "A grant is for 1 to {limit} days, not {days}: give another number.",
                limit=MOST_DAYS,
                days=days,
            )
        parts = desk_of(interaction).parts
        actor_id = interaction.user.id

        async def work() -> Grants:
            if not pictures:
                return await parts.grants.take_back(person.id, actor_id=actor_id)
            ends_at = None if days is None else utc_now() + timedelta(days=days)
            return await parts.grants.give(person.id, pictures, ends_at=ends_at, actor_id=actor_id)

        if pictures and not parts.rules.of(person.id).daily:
            raise InvalidRequestError(NO_ALLOWANCE)
        now = await _answer.in_time(interaction, work(), ephemeral=True)
        text = t(
            GIVEN if pictures else TAKEN, person=f"<@{person.id}>", once=now.once, daily=now.daily
        )
        await _answer.answer(interaction, text, ephemeral=True)


def limits_of_person(desk: Desk, person: discord.User | discord.Member, guild_id: int) -> list[str]:
    """Returns what holds for somebody in a server, or `EVERYWHERE`, with who set it."""
    roles: tuple[int, ...] = ()
    if guild_id != EVERYWHERE and isinstance(person, discord.Member):
        roles = tuple(role.id for role in person.roles)
    found = desk.parts.rules.of(person.id, guild_id or None, roles)
    return _limits.lines(found, of_others=True)


async def _target(
    interaction: discord.Interaction,
    role: discord.Role | None,
    person: discord.User | None,
    *,
    everywhere: bool,
) -> Target:
    """Returns whom a rule is for.

    Raises:
        NotAllowedError: The person may not set it.
        InvalidRequestError: There is no such target.
    """
    guild_id = await _scope.reach_of(interaction, everywhere=everywhere)
    if role is not None and person is not None:
        raise InvalidRequestError(ONE_TARGET)
    if role is not None and everywhere:
        raise InvalidRequestError(NO_ROLES)
    if person is not None:
        return Target(guild_id, Kind.PERSON, person.id)
    if role is not None and role.id != guild_id:  # that one is @everyone
        return Target(guild_id, Kind.ROLE, role.id)
    return Target(guild_id)


def _check(desk: Desk, target: Target, given: Rule) -> None:
    """Raises InvalidRequestError for what this target cannot be given."""
    if given == NOTHING:
        raise InvalidRequestError(NOTHING_GIVEN)
    for name in NAMES:
        if (value := getattr(given, name)) is not None:
            _check_range(name, value)
    if target.guild_id == EVERYWHERE:
        return
    if given.daily is not None:
        raise InvalidRequestError(NO_DAILY)
    if given.per_minute == 0:
        raise InvalidRequestError(NO_ZERO)
    person_id = target.id if target.kind is Kind.PERSON else 0
    owners = desk.parts.rules.of(person_id)
    for name in limits.SERVER_NAMES:
        value, most = getattr(given, name), limits.ceiling(owners, name)
        if value is not None and most and value > most:
            raise InvalidRequestError(ABOVE, label=_limits.LABELS[name], limit=most)


def _check_range(name: str, value: float) -> None:
    low, high = RANGES[name]
    if not low <= value <= high:
        label = _limits.LABELS[name]
        raise InvalidRequestError(OUT_OF_RANGE, label=label, low=low, high=high, value=value)


def _rules(desk: Desk, guild_id: int) -> list[str]:
    """Returns the rules of a server, or of the owners, with what the owners allow everybody."""
    rules = desk.parts.rules
    lines = [
        f"**{_name(target)}** · {_limits.written(rule)}"
        for target, rule in rules.of_server(guild_id).items()
    ]
    owners = " · ".join(_limits.lines(rules.of(0), of_others=True))
    return [*(lines or [t(NO_RULES)]), t("What this bot allows everybody: {limits}", limits=owners)]


def _name(target: Target) -> str:
    match target.kind:
        case Kind.ROLE:
            return f"<@&{target.id}>"
        case Kind.PERSON:
            return f"<@{target.id}>"
    if target.guild_id == EVERYWHERE:
        return t("everybody everywhere")
    return t("everybody here")
