"""The real bot remixes what people reply to, with no privileged intent, also after a kill."""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image

from cli.rehearsal import BotProcess
from playground import File, Message, Person

People = Callable[[int], list[Person]]


def photo() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (300, 200), (200, 80, 40)).save(file, "JPEG")
    return file.getvalue()


async def test_replies_remix_with_and_without_a_kill_in_between(
    bot: BotProcess, people: People
) -> None:
    ana, ben = people(2)
    await bot.start()
    [guild] = bot.discord.guilds
    [channel] = guild.channels

    async def result(owner: Person, words: str, after: Message) -> Message:
        return await channel.wait_for(
            lambda m: m.attachments and m.pings(owner.user) and words in m.content,
            timeout_s=30,
            after=after,
        )

    await ana.slash("imagine", prompt="a red circle")
    first = await channel.wait_for(lambda m: m.attachments and m.pings(ana.user), timeout_s=30)

    unpinged = await ben.send("a dog", reply_to=first, ping=False)
    hint = await channel.wait_for(lambda m: "only with the ping" in m.content, after=unpinged)
    assert hint.reference is unpinged
    assert [user.id for user in hint.mentions] == [ben.id]

    await bot.kill()
    await bot.start()
    reply = await ben.send("+a hat", reply_to=first)
    line = await channel.wait_for(lambda m: m.buttons and "a hat" in m.content, after=reply)
    assert line.reference is reply
    second = await result(ben, "a red circle, a hat", reply)
    await channel.wait_deleted(line)

    alone = await ana.send("", [File("photo.jpg", photo())], reply_to=second)
    await result(ana, "a red circle, a hat", alone)

    varied = await ben.send("vary strong", reply_to=first)
    await result(ben, "a red circle", varied)

    hostile = await ben.send("a hat", [File("photo.jpg", b"<svg/>")], reply_to=first)
    refusal = await channel.wait_for(lambda m: "SVG" in m.content, after=hostile)
    assert refusal.content == f"<@{ben.id}> That is an SVG drawing; send PNG, JPEG or WebP."
    assert [user.id for user in refusal.mentions] == [ben.id]

    menu = await ben.context_menu("Remix this", first)
    await menu.modal()
    sent = await ben.submit_modal(menu, {"Prompt": "a blue circle"})
    await sent.acknowledged()
    blue = await result(ben, "a blue circle", refusal)

    menu = await ben.context_menu("Remix avatar", ana)
    sent = await ben.submit_modal(menu, {"Prompt": "a portrait"})
    await sent.acknowledged()
    portrait = await result(ben, "a portrait", blue)

    channel.set_permissions(read_message_history=False)  # then the bot cannot reply
    reply = await ben.send("a coat", reply_to=first)
    line = await channel.wait_for(lambda m: m.buttons and "a coat" in m.content, after=reply)
    assert line.reference is None
    await result(ben, "a coat", reply)
    channel.set_permissions(attach_files=False)
    reply = await ben.send("a shoe", reply_to=portrait)
    await channel.wait_for(lambda m: "I lack Attach Files" in m.content, after=reply)
