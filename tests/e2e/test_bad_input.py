"""Bad input gets one clear sentence that only its writer sees, pings nobody, and leaves no job."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from cli.rehearsal import BotProcess
from playground import Person

People = Callable[[int], list[Person]]


@pytest.fixture
async def ana(bot: BotProcess, people: People) -> Person:
    [ana] = people(1)
    wildcards = bot.data_dir / "wildcards"
    wildcards.mkdir(parents=True)
    (wildcards / "weather.txt").write_text("rain or __weather__ or __weather__\n")
    (wildcards / "novels.txt").write_text("once " * 100_000 + "__novels__\n")
    await bot.start()
    return ana


async def test_each_bad_option_is_refused_in_one_ephemeral_sentence(
    bot: BotProcess, ana: Person
) -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"sampler": "eulr"}, "euler"),
        ({"width": 99999}, "99999"),
        ({"seed": 2**53}, "4294967295"),
        ({"steps": 1000}, "60"),
        ({"count": 9}, "4"),
        ({"prompt": "x" * 6000}, "1,500"),
        ({"prompt": "   "}, "empty"),
        ({"aspect": "7:5"}, "16:9"),
        ({"model": "dall-e"}, "dall-e"),
        ({"prompt": "{a, b}" * 250}, "more than 12 prompts"),
        ({"prompt": "{a," * 300 + "b" + "}" * 300}, "more than 12 prompts"),
        ({"prompt": "a fox in __weather__"}, "more than 20 wildcards"),
        ({"prompt": "a fox of __novels__"}, "1,500"),
        ({"prompt": "{__weather__, __weather__} " * 3}, "wildcards"),
    ]
    for options, fragment in bad:
        options = {"prompt": "a red circle", **options}
        invocation = await ana.slash("imagine", options, force=True)
        ack = await invocation.acknowledged()
        assert ack.latency_s < 3, options
        answer = await invocation.response()
        assert answer.is_ephemeral, options
        shown = answer.content.replace("\\", "")
        assert fragment in shown, (options, answer.content)
        assert len(answer.content) < 300, options
        assert not answer.attachments
    [guild] = bot.discord.guilds
    assert guild.channels[0].messages == []


async def test_prompt_that_mention_everyone_pings_nobody_but_its_owner(
    bot: BotProcess, ana: Person
) -> None:
    [guild] = bot.discord.guilds
    [channel] = guild.channels
    prompt = "@everyone @here <@1> <@&2> [free](https://example.com) **bold** ||x|| \u202e\u200b `"
    await ana.slash("imagine", prompt=prompt)
    result = await channel.wait_for(lambda m: m.attachments and m.pings(ana.user), timeout_s=30)
    assert [user.id for user in result.mentions] == [ana.id]
    assert not result.mention_everyone
    assert not re.search(r"(?<!\\)\[[^\]]*\]\(", result.content)  # a link with a text
    assert "https://" not in result.content
    for message in channel.messages:
        allowed = message.allowed_mentions or {}
        assert not allowed.get("parse")
        assert set(map(int, allowed.get("users", []))) <= {ana.id}
