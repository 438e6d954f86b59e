"""Reports and held pictures in a real process that is killed between any two steps."""

from __future__ import annotations

import pytest

from cli.rehearsal import BotProcess
from playground import ChannelHandle, Message, Person, Playground


@pytest.fixture
def engine_options() -> list[str]:
    return ["--step-s", "0.01", "--classifier"]


@pytest.fixture
def places(discord: Playground) -> tuple[ChannelHandle, ChannelHandle]:
    guild = discord.guild("Studio")
    return guild.channel("art"), guild.channel("mods")


@pytest.fixture
def team(
    discord: Playground, places: tuple[ChannelHandle, ChannelHandle]
) -> tuple[Person, Person, Person]:
    """Ana and Ben, and Max who manages the server."""
    guild = discord.guilds[0]
    manager = guild.member("Max", guild.role("Managers", "manage_guild", "manage_messages"))
    return guild.member("Ana"), guild.member("Ben"), manager


async def restart(bot: BotProcess) -> None:
    await bot.kill()
    await bot.start()


async def only(channel: ChannelHandle, text: str) -> Message:
    """The one message that says so."""
    found = await channel.wait_for(lambda m: text in m.content, timeout_s=60)
    assert [m for m in channel.messages if text in m.content] == [found]
    return found


@pytest.mark.parametrize("label", ["Delete", "Block", "Dismiss"])
async def test_a_report_is_decided_once_whenever_the_bot_is_killed(
    bot: BotProcess,
    places: tuple[ChannelHandle, ChannelHandle],
    team: tuple[Person, Person, Person],
    label: str,
) -> None:
    (art, mods), (ana, ben, manager) = places, team
    await bot.start()
    await (await manager.slash("admin safety reports", channel=mods)).response()
    await ana.slash("imagine", prompt="a red circle")
    result = await art.wait_for(lambda m: m.attachments and "Reroll" in m.buttons, timeout_s=60)
    form = await ben.context_menu("Report image", result)
    await (await ben.submit_modal(form, {"reason": "not nice"})).response()
    await restart(bot)
    shown = await only(mods, "not nice")
    assert shown.attachments[0].is_spoiler
    pressed = await manager.press(shown, label)
    answer = await pressed.response()
    assert answer.is_ephemeral
    await restart(bot)
    done = {"Delete": "Deleted by", "Block": "was blocked by", "Dismiss": "Dismissed by"}[label]
    await only(mods, done)
    if label == "Delete":
        await art.wait_deleted(result)
    else:
        assert result in art.messages
    assert len(mods.messages) == 1


@pytest.mark.parametrize("label", ["Release", "Delete"])
async def test_a_held_picture_comes_once_or_not_at_all(
    bot: BotProcess,
    places: tuple[ChannelHandle, ChannelHandle],
    team: tuple[Person, Person, Person],
    label: str,
) -> None:
    (art, mods), (ana, _, manager) = places, team
    await bot.start()
    await ana.slash("imagine", prompt="a blue square")
    first = await art.wait_for(lambda m: m.attachments and "Reroll" in m.buttons, timeout_s=60)
    await (await manager.slash("admin safety reports", channel=mods)).response()
    chosen = await (await manager.slash("admin safety classifier", mode="hold")).response()
    assert "until a moderator releases them" in chosen.content
    await ana.slash("imagine", prompt="a red circle engine:unsafe")
    notice = await only(art, "look at this picture first")
    await restart(bot)
    shown = await only(mods, "Held back")
    await (await manager.press(shown, label)).response()
    await restart(bot)
    if label == "Release":
        await art.wait_for(
            lambda m: "Reroll" in m.buttons and "engine:unsafe" in m.content,
            timeout_s=60,
            after=first,
        )
    else:
        await only(art, "do not want it shown here")
    await art.wait_deleted(notice)
    await only(mods, "Released by" if label == "Release" else "Deleted by")
    assert len([m for m in art.messages if "engine:unsafe" in m.content]) == 1
    assert len(mods.messages) == 1
