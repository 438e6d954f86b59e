"""The thin path: log in, sync, slash, answer, edit, follow up with a file, send, press."""

from __future__ import annotations

import io

import discord

from tests.playground.client import Bot, Scene, Start


async def test_slash_is_answered_edited_followed_up_and_delivered(
    scene: Scene, start: Start, png: bytes
) -> None:
    bot = Bot()

    @bot.tree.command(description="Make a picture")
    async def imagine(interaction: discord.Interaction, prompt: str) -> None:
        await interaction.response.send_message(f"Queued: {prompt}")
        await interaction.edit_original_response(content="Drawing")
        await interaction.followup.send(file=discord.File(io.BytesIO(png), "a b.png"))
        result = discord.File(io.BytesIO(png), "result.png", description="alt text")
        await interaction.channel.send(
            interaction.user.mention, file=result, nonce="job-1", view=view()
        )

    def view() -> discord.ui.View:
        shown = discord.ui.View(timeout=None)
        shown.add_item(discord.ui.Button(label="Again", custom_id="again:1"))
        return shown

    await start(bot)
    invocation = await scene.ana.slash("imagine", prompt="a red circle")
    answer = await invocation.wait_for(lambda m: m.content == "Drawing")
    assert [edit.content for edit in answer.edits] == ["Queued: a red circle"]
    follow_up = await invocation.followup()
    assert follow_up.attachments[0].filename == "a_b.png"
    assert (follow_up.attachments[0].width, follow_up.attachments[0].height) == (3, 2)
    result = await scene.channel.wait_for(lambda m: m.nonce == "job-1")
    assert result.pings(scene.ana.user)
    assert result.attachments[0].description == "alt text"
    assert result.buttons == ["Again"]
    assert (await invocation.acknowledged()).latency_s < 1


async def test_button_of_an_earlier_process_is_answered(scene: Scene, start: Start) -> None:
    class Again(discord.ui.DynamicItem[discord.ui.Button], template=r"again:(?P<id>\d+)"):
        def __init__(self, number: int) -> None:
            super().__init__(discord.ui.Button(label="Again", custom_id=f"again:{number}"))
            self.number = number

        @classmethod
        async def from_custom_id(cls, interaction, item, match):  # type: ignore[no-untyped-def]
            return cls(int(match["id"]))

        async def callback(self, interaction: discord.Interaction) -> None:
            await interaction.response.send_message(f"again {self.number}", ephemeral=True)

    first = await start()
    view = discord.ui.View(timeout=None).add_item(Again(7))
    await first.get_channel(scene.channel.id).send("old", view=view)
    await first.close()
    await scene.discord.offline()

    second = Bot()
    second.add_dynamic_items(Again)
    await start(second)
    old = scene.channel.messages[-1]
    pressed = await scene.ben.press(old, "Again")
    answer = await pressed.response()
    assert answer.content == "again 7"
    assert answer.is_ephemeral
    assert answer in scene.channel.seen_by(scene.ben)
    assert answer not in scene.channel.seen_by(scene.ana)
