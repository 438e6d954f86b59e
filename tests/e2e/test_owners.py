"""Who owns the bot: one person, or those who work in its application's team; asked for at the login."""

from __future__ import annotations

from cli.doctor import _discord_findings
from cli.rehearsal import BotProcess
from engine.settings import Settings
from playground import Person, Playground
from playground.world import TeamMember

OURS = "Only the owners of this bot"


async def may(person: Person) -> bool:
    """Whether the person sees how the bot is doing; everybody else is told whom that is for."""
    answer = await (await person.slash("admin ops status")).response()
    assert answer.is_ephemeral
    if answer.content.startswith(OURS):
        return False
    return answer.embeds[0]["title"] == "How I am doing"


async def test_a_single_owner(bot: BotProcess, discord: Playground) -> None:
    guild = discord.guild("Studio")
    channel = guild.channel("art")
    manager = guild.member("Manager", guild.role("managers", "manage_guild"))
    await bot.start()
    assert await may(discord.operator.go(channel))
    assert not await may(manager)


async def test_a_team_is_asked_for_once(bot: BotProcess, discord: Playground) -> None:
    guild = discord.guild("Studio")
    channel = guild.channel("art")
    managers = guild.role("managers", "manage_guild")
    people = {
        name: guild.member(name, managers)
        for name in ("admin", "developer", "read_only", "invited", "stranger")
    }
    discord.world.team = [
        TeamMember(people["admin"].user, "admin"),
        TeamMember(people["developer"].user, "developer"),
        TeamMember(people["read_only"].user, "read_only"),
        TeamMember(people["invited"].user, "admin", has_joined=False),
    ]
    await bot.start()
    asked = questions(discord)
    allowed = {name for name, person in people.items() if await may(person)}
    assert allowed == {"admin", "developer"}
    assert await may(discord.operator.go(channel))  # the team's owner
    assert questions(discord) == asked == 1

    settings = Settings(discord_token=discord.token, discord_api_base=discord.api_base)
    found = [finding.text async for finding in _discord_findings(settings)]
    assert "Owners: operator, admin, developer (team Studio)" in found


def questions(discord: Playground) -> int:
    """How often the bot asked who it is."""
    return sum(
        entry["path"].endswith("/oauth2/applications/@me")
        for entry in discord.recorder.of("request")
    )
