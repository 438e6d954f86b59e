"""Every kind of message that the bot sends, about prompts that want to ping, hide, imitate and overflow."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from cli.rehearsal import BotProcess
from playground import ChannelHandle, File, Message, Person, Playground
from storage.adapters import AdapterTable
from storage.database import Database
from tests.e2e import manners

MAX_PROMPT = 1500
HOLD, FAIL = " engine:hold", " engine:fail"
STYLE = "@everyone **x** [a](//e.example) ||y||"
MIX = "@here _b_ [a](//e.ex)"
POSE = "@everyone **p** [a](//e.ex) ||y||"
FILE_NAME = "@everyone <@1> [a](https://e.example) **x** `y` \u202egnp.png"
BIDI = "\u202egnp.exe\u202c \u2066x\u2069 a\u200bb\u2060c\ufeffd \u061c\u00ad"
EMOJI = "\N{WOMAN}\u200d\N{ARTIST PALETTE}\N{GRINNING FACE}*_"


def nasty(ben: Person, role_id: int) -> str:
    """Everything at once, as often as it fits."""
    one = (
        f"@everyone @here <@{ben.id}> <@!{ben.id}> <@&{role_id}> <#1> **b** ~~s~~ ||h|| `c` ```py\n"
        f"```> q\n# h\n- l\n[free](https://evil.example) <https://evil.example> discord.gg/abc "
        f"<t:1:R> </a:1> :smile: \\* {BIDI} z{chr(0x301) * 40} (w:1.3) "
    )
    return (one * 9)[:MAX_PROMPT]


@dataclass
class Stage:
    """Ana does everything; nobody else may be pinged by it."""

    discord: Playground
    bot: BotProcess
    channel: ChannelHandle
    ana: Person
    prompt: str

    async def result(self, after: Message) -> Message:
        return await self.channel.wait_for(
            lambda m: m.attachments and "Info" in m.buttons and m.pings(self.ana.user),
            timeout_s=15,
            after=after,
        )

    async def made(self, **options: object) -> Message:
        """The result of /imagine."""
        begin = await self.ana.send("next")
        line = await self.asked("imagine", **{"prompt": self.prompt, **options})
        assert not line.is_ephemeral, line.content
        return await self.result(begin)

    async def asked(self, command: str, **options: object) -> Message:
        """The answer to a command, whatever it is."""
        return await (await self.ana.slash(command, options, force=True)).response()

    async def pressed(self, message: Message, label: str) -> Message:
        """The message that a button is answered with."""
        return await (await self.ana.press(message, label)).response()


@pytest.fixture
def engine_options() -> list[str]:
    return ["--step-s", "0.002"]


async def test_no_message_pings_hides_or_overflows(discord: Playground, bot: BotProcess) -> None:
    guild = discord.guild("Studio")
    ben, role = guild.member("Ben"), guild.role("Mods")
    await register_style(bot.data_dir)
    await bot.start()
    pinged = set()
    for number, prompt in enumerate((nasty(ben, role.id), (EMOJI * 400)[:MAX_PROMPT])):
        channel, ana = guild.channel("art"), guild.member(f"@everyone **Ana** ||{number}||")
        pinged.add(ana.id)
        stage = Stage(discord, bot, channel, ana.go(channel), prompt)
        await refusals_that_quote_what_was_typed(stage)
        await messages_about_a_waiting_job_and_defaults(stage)
        await messages_about_a_picture(stage)
        await answers_to_messages(stage)
        await messages_about_styles(stage)
        await messages_about_poses(stage)
        await messages_in_other_places(stage)
        await messages_about_what_is_stored(stage)
    manners.check(discord, pinged)


async def register_style(data_dir: Path) -> None:
    """A style whose name and words are hostile, too."""
    async with Database.open(data_dir) as database:
        file = data_dir / "style"
        file.write_bytes(b"not read by this engine")
        await AdapterTable(database, data_dir).add(
            file,
            STYLE,
            trigger_words=["@everyone [a](https://e.example) **x** \u202e" * 8],
            description="@everyone [a](https://e.example) \u202e" * 100,
            family="sd15",
        )


async def messages_about_a_waiting_job_and_defaults(stage: Stage) -> None:
    ana, prompt = stage.ana, stage.prompt
    held = await ana.slash("imagine", prompt=prompt[: MAX_PROMPT - len(HOLD)] + HOLD)
    await held.wait_for(lambda m: "Stop" in m.buttons)
    await stage.asked("queue view")
    assert await ana.autocomplete("queue cancel", "job", "")
    form = await ana.press(await stage.asked("settings"), "Change")
    await (await ana.submit_modal(form, {"Negative prompt": prompt})).acknowledged()
    await (await ana.press(await stage.asked("settings"), "Change")).modal()
    await stage.asked("me")
    await stage.asked("queue cancel", job="engine:hold")
    await held.wait_for(lambda m: not m.buttons)
    stopped = await ana.slash("imagine", prompt=prompt[: MAX_PROMPT - len(HOLD)] + HOLD)
    line = await stopped.wait_for(lambda m: "Stop" in m.buttons)
    await (await ana.press(line, "Stop")).acknowledged()
    await stopped.wait_for(lambda m: not m.buttons)
    failed = await ana.slash("imagine", prompt=prompt[: MAX_PROMPT - len(FAIL)] + FAIL)
    await failed.acknowledged()
    await stage.channel.wait_for(lambda m: "Try again" in m.buttons, timeout_s=15)


async def messages_about_a_picture(stage: Stage) -> None:
    ana, prompt = stage.ana, stage.prompt
    form = await ana.press(await stage.asked("settings"), "Change")
    await (await ana.submit_modal(form, {"Negative prompt": prompt})).acknowledged()
    result = await stage.made(style=STYLE)
    await stage.pressed(result, "Info")
    await stage.pressed(result, "Star")
    await stage.pressed(result, "Send to DM")
    await ana.dm.wait_for(lambda m: m.attachments)
    await stage.pressed(result, "More")
    form = await ana.press(result, "Remix")
    await (await ana.submit_modal(form, {"Prompt": prompt})).acknowledged()
    remixed = await stage.result(result)
    several = await stage.made(count=2)
    await (await ana.press(several, "Remix")).modal()
    await (await ana.press(several, "V2")).acknowledged()
    await stage.result(several)
    await (await ana.context_menu("Image info", result)).response()
    form = await ana.context_menu("Report image", result)
    await (await ana.submit_modal(form, {"reason": prompt[:500]})).response()
    await stage.asked("history list")
    await stage.asked("history list", query=prompt[:60])
    await stage.asked("history tree", picture=await picked(ana, "history tree", "picture"))
    await stage.asked("history show", picture=await picked(ana, "history show", "picture"))
    await stage.asked("history export")
    await picked(ana, "remix", "source")
    hidden = await ana.slash("imagine", prompt=prompt, private=True)
    private = await hidden.wait_for(lambda m: m.attachments, timeout_s=15)
    await stage.pressed(private, "Publish")
    await (await ana.press(remixed, "Delete")).followup()
    asked = await stage.asked("imagine", prompt="{a, b, c, d, e} " + prompt[:1400])
    assert asked.buttons
    await (await ana.press(await stage.asked("settings"), "Reset")).acknowledged()


async def answers_to_messages(stage: Stage) -> None:
    ana, prompt, channel = stage.ana, stage.prompt, stage.channel
    result = await stage.made()

    async def answered(sent: Message) -> Message:
        return await channel.wait_for(
            lambda m: m.reference is sent and m.author is not ana.user, after=sent
        )

    short = await stage.made(prompt="a cat")
    for text, about in ((prompt, result), (f"+{prompt[:300]} -{prompt[:20]}", short)):
        reply = await ana.send(text, reply_to=about)
        await answered(reply)
        await stage.result(reply)
    await answered(await ana.send("info", reply_to=result))
    await answered(await ana.send((prompt * 2)[:1990], reply_to=result))
    await answered(await ana.send(prompt, reply_to=result, ping=False))
    two = [File(FILE_NAME, picture()), File(FILE_NAME, picture())]
    sent = await ana.send("", two, reply_to=result)
    await channel.wait_for(lambda m: m.reference is sent and "I took" in m.content, timeout_s=15)
    foreign = await ana.send("look", [File(FILE_NAME, picture())])
    await (await ana.context_menu("Image info", foreign)).response()
    refused = await ana.slash("imagine", prompt=prompt, image=File(FILE_NAME, b"<svg/>"))
    await refused.wait_for(lambda m: "SVG" in m.content)


async def messages_about_styles(stage: Stage) -> None:
    ana, prompt = stage.ana, stage.prompt
    await stage.asked("styles browse")
    await stage.asked("styles info", name=STYLE)
    await stage.asked("styles mix", name=MIX, styles=STYLE)
    await stage.asked("style", name=MIX)
    assert await ana.autocomplete("imagine", "style", "")
    begin = await ana.send("next")
    await ana.slash("styles try", prompt=prompt, styles=f"none, {STYLE}")
    await stage.result(begin)


async def messages_about_poses(stage: Stage) -> None:
    ana, prompt = stage.ana, stage.prompt
    saved = await stage.asked("poses save", name=POSE, image=File(FILE_NAME, picture()))
    assert "everyone" in saved.content, saved.content
    await stage.asked("poses list")
    await stage.asked("poses rename", name=POSE, to=f"{POSE}2")
    await stage.asked("poses share", name=f"{POSE}2")
    assert await ana.autocomplete("pose", "pose", "every")
    begin = await ana.send("next")
    preview = await stage.asked("pose", prompt=prompt, pose=f"{POSE}2", preview=True)
    form = await ana.press(preview, "Strength 1")
    sent = await ana.submit_modal(form, {"Strength": prompt[:10]})
    await sent.response()
    form = await ana.press(preview, "Save pose")
    await (await ana.submit_modal(form, {"Name": f"{POSE}3"})).response()
    await (await ana.press(preview, "Use")).acknowledged()
    result = await stage.result(begin)
    form = await ana.context_menu("Use as pose", result)
    await (await ana.submit_modal(form, {"Prompt": prompt})).acknowledged()
    await stage.result(result)
    for name in (f"{POSE}2", f"{POSE}3"):
        await stage.asked("poses delete", name=name)


async def messages_in_other_places(stage: Stage) -> None:
    ana, prompt = stage.ana, stage.prompt
    begin = await ana.send("next", where=ana.dm)
    await ana.slash("imagine", prompt=prompt, where=ana.dm)
    await ana.dm.wait_for(lambda m: m.attachments, timeout_s=15, after=begin)
    held = await ana.slash("imagine", prompt=prompt[: MAX_PROMPT - len(HOLD)] + HOLD)
    await held.acknowledged()
    stage.channel.delete()
    go = stage.bot.data_dir.parent / "engine" / "go"
    go.touch()
    await ana.dm.wait_for(lambda m: "could not post" in m.content, timeout_s=15, after=begin)
    go.unlink()


async def messages_about_what_is_stored(stage: Stage) -> None:
    stage.ana.go(stage.ana.dm)
    await stage.asked("privacy export")
    await stage.pressed(await stage.asked("privacy delete"), "Delete everything")


async def refusals_that_quote_what_was_typed(stage: Stage) -> None:
    ana, prompt = stage.ana, stage.prompt
    long = (prompt * 5)[:6000]
    refused: list[tuple[str, dict[str, object]]] = [
        ("imagine", {"prompt": long}),
        ("imagine", {"prompt": "x", "negative": long}),
        *(("imagine", {"prompt": "x", name: long}) for name in ("sampler", "model", "aspect")),
        *(("imagine", {"prompt": "x", name: long}) for name in ("quality", "style")),
        ("imagine", {"prompt": f"x --{'y' * 1400}"}),
        ("imagine", {"prompt": f"x --style {prompt[:1400]}"}),
        ("imagine", {"prompt": f"x --ar {prompt[:1400]}"}),
        ("imagine", {"prompt": f"x __{'y' * 1400}__"}),
        ("remix", {"source": long}),
        ("remix", {"source": "https://discord.com/channels/1/2/3", "strength": long}),
        ("inpaint", {"source": "x", "cells": long}),
        ("upscale", {"source": long}),
        ("style", {"name": long}),
        ("styles info", {"name": long}),
        ("styles mix", {"name": long, "styles": "x"}),
        ("styles mix", {"name": MIX, "styles": "none"}),
        ("styles try", {"prompt": "x", "styles": long}),
        ("styles try", {"prompt": "x", "weights": long}),
        ("pose", {"prompt": long, "pose": "waving"}),
        *(("pose", {"prompt": "x", "pose": "waving", name: long}) for name in ("control", "fit")),
        ("pose", {"prompt": "x", "pose": long}),
        ("pose", {"prompt": "x", "source": long}),
        ("poses save", {"name": long, "source": "x"}),
        ("poses rename", {"name": long, "to": long}),
        ("history list", {"since": long}),
        ("history show", {"picture": long}),
        ("history tree", {"picture": prompt[:100]}),
        ("queue cancel", {"job": long}),
        ("help", {"topic": long}),
    ]
    for command, options in refused:
        answer = await stage.asked(command, **options)
        assert answer.is_ephemeral, (command, options)
        assert len(answer.content) < 600, (command, answer.content)
    assert stage.channel.messages == []
    form = await ana.press(await stage.asked("settings"), "Change")
    sent = await ana.submit_modal(form, {"Negative prompt": long}, force=True)
    assert "6,000 characters" in (await sent.response()).content


async def picked(person: Person, command: str, option: str) -> str:
    """The value of the first suggestion."""
    choices = await person.autocomplete(command, option, "")
    return str(choices[0]["value"])


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (300, 200), (200, 80, 40)).save(file, "PNG")
    return file.getvalue()
