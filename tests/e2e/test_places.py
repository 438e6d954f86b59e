"""Where the bot is no member, and channels for adults beside others."""

from __future__ import annotations

import pytest

from cli.rehearsal import BotProcess
from playground import ChannelHandle, Message, Person, Playground


@pytest.mark.unfinished  # the last status line cannot be reached any more
async def test_as_somebodys_own_app_the_answer_becomes_the_picture(
    bot: BotProcess, discord: Playground
) -> None:
    guild = discord.guild("Elsewhere", bot_installed=False)
    channel = guild.channel("chat")
    ana = guild.member("Ana")
    await bot.start()

    asked = await ana.slash("imagine", prompt="a red circle")
    result = await asked.wait_for(lambda m: m.attachments, timeout_s=30)
    assert "Reroll" in result.buttons
    assert channel.messages == [result]
    pressed = await ana.press(result, "Reroll")
    again = await pressed.wait_for(lambda m: m.attachments, timeout_s=30)
    assert channel.messages == [result, again]
    menu = await ana.context_menu("Image info", result)
    assert "a red circle" in (await menu.response()).embeds[0]["description"]

    late = await ana.slash("imagine", prompt="a blue circle engine:hold")
    await late.wait_for(lambda m: "Stop" in m.buttons)
    discord.clock.advance(16 * 60)  # and the answer can be edited no more
    (bot.data_dir.parent / "engine" / "go").touch()
    sent = await ana.dm.wait_for(lambda m: m.attachments, timeout_s=30)
    assert f"could not post it in <#{channel.id}>" in sent.content
    assert sent.pings(ana.user)


async def test_pictures_of_channels_for_adults_stay_in_such_channels(
    bot: BotProcess, discord: Playground
) -> None:
    guild = discord.guild("Studio")
    everybody = guild.channel("art")
    adults, more = (guild.channel(name, nsfw=True) for name in ("adults", "more-adults"))
    ana = guild.member("Ana")
    await bot.start()

    async def said(channel: ChannelHandle, command: str, **options: object) -> Message:
        return await (await ana.go(channel).slash(command, options)).response()

    await ana.go(adults).slash("imagine", prompt="a red circle")
    result = await picture_in(adults, ana)
    link = f"https://discord.com/channels/{guild.id}/{adults.id}/{result.id}"
    for options in ({"source": "red circle"}, {"source": link}):
        refused = await said(everybody, "remix", **options)
        assert refused.is_ephemeral
        assert "age-restricted" in refused.content
    assert "age-restricted" in (await said(everybody, "upscale", source="red circle")).content
    await ana.go(more).slash("remix", source=link)
    await picture_in(more, ana)

    hidden = await ana.go(adults).slash("imagine", prompt="a secret", private=True)
    await hidden.wait_for(lambda m: m.attachments, timeout_s=30)
    shown = await said(everybody, "history show", picture="secret")
    assert "age-restricted" in (await (await ana.press(shown, "Publish")).response()).content
    shown = await said(more, "history show", picture="secret")
    assert "Published" in (await (await ana.press(shown, "Publish")).response()).content
    private = await ana.go(everybody).slash("remix", source="red circle", private=True)
    assert (await private.wait_for(lambda m: m.attachments, timeout_s=30)).is_ephemeral
    assert everybody.messages == []


async def test_modes_of_channels_follow_their_age_restriction(
    bot: BotProcess, discord: Playground
) -> None:
    guild = discord.guild("Studio")
    art = guild.channel("art")
    adults, shared = (guild.channel(name, nsfw=True) for name in ("adults", "shared"))
    ana = guild.member("Ana")
    owner = guild.member("Olga", guild.role("managers", "manage_guild"))
    await bot.start()

    async def said(person: Person, at: ChannelHandle, command: str, **given: object) -> str:
        answer = await (await person.go(at).slash(command, given)).response()
        assert answer.is_ephemeral
        return answer.content

    mode = "admin channel mode"
    assert "while it is age-restricted." in await said(
        owner, art, mode, mode="nsfw-only", channel=adults
    )
    warned = await said(owner, art, mode, mode="nsfw-only", channel=art)
    assert "or nobody can make pictures there" in warned
    await said(owner, art, mode, mode="sfw", channel=shared)

    refused = await said(ana, art, "imagine", prompt="a red circle")
    assert "only while the channel is age-restricted" in refused
    assert f"<#{adults.id}>" in refused
    await ana.go(adults).slash("imagine", prompt="a red circle")
    result = await picture_in(adults, ana)
    link = f"https://discord.com/channels/{guild.id}/{adults.id}/{result.id}"
    kept_out = "this server keeps such pictures out of this one"
    assert kept_out in await said(ana, shared, "remix", source=link)
    hidden = await ana.go(adults).slash("imagine", prompt="a secret", private=True)
    await hidden.wait_for(lambda m: m.attachments, timeout_s=30)
    shown = await (await ana.go(shared).slash("history show", {"picture": "secret"})).response()
    answer = await (await ana.press(shown, "Publish")).response()
    assert kept_out in answer.content
    await ana.go(shared).slash("imagine", prompt="a red circle")
    await picture_in(shared, ana)
    assert not [one for one in shared.messages if "secret" in one.content]


async def picture_in(channel: ChannelHandle, owner: Person) -> Message:
    return await channel.wait_for(lambda m: m.attachments and m.pings(owner.user), timeout_s=30)
