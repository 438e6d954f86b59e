"""Interactions with the real client: deferring, forms, menus, deadlines, tokens, who sees what."""

from __future__ import annotations

import asyncio
import io

import discord
import pytest
from discord import app_commands

from playground import ClientRefused, File, NoResponse
from tests.playground.client import Bot, Rest, Scene, Start


async def test_deferred_answer_is_thinking_until_filled_in(
    scene: Scene, start: Start, png: bytes
) -> None:
    bot = Bot()
    go = asyncio.Event()

    @bot.tree.command(description="Take long")
    async def slow(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await go.wait()
        await interaction.followup.send("done", file=discord.File(io.BytesIO(png), "a.png"))
        await interaction.followup.send("more", ephemeral=True)

    await start(bot)
    invocation = await scene.ana.slash("slow")
    assert (await invocation.acknowledged()).type == 5
    waiting = invocation.messages[0]
    assert waiting.is_loading
    assert scene.channel.messages == []
    go.set()
    answer = await invocation.response()
    assert answer is waiting
    assert (answer.content, len(answer.attachments), answer.is_ephemeral) == ("done", 1, True)
    more = await invocation.followup()
    assert more.is_ephemeral
    assert scene.channel.seen_by(scene.ben) == []
    with pytest.raises(ClientRefused, match="ephemeral"):
        await scene.ana.send("words", reply_to=answer)
    await scene.ana.delete(more)
    assert scene.channel.seen_by(scene.ana) == [answer]


async def test_original_can_be_read_edited_and_deleted(scene: Scene, start: Start) -> None:
    bot = Bot()
    seen: asyncio.Queue[object] = asyncio.Queue()

    @bot.tree.command(description="Come and go")
    async def brief(interaction: discord.Interaction) -> None:
        response = await interaction.response.send_message("one")
        seen.put_nowait(response.resource.content)
        original = await interaction.original_response()
        assert original.id == response.message_id
        await original.edit(content="two")
        other = await interaction.followup.send("three", wait=True)
        await other.edit(content="four")
        await other.delete()
        await interaction.delete_original_response()
        with pytest.raises(discord.NotFound) as gone:
            await interaction.edit_original_response(content="late")
        seen.put_nowait(gone.value.code)

    await start(bot)
    invocation = await scene.ana.slash("brief")
    await invocation.acknowledged()
    original = invocation.messages[0]
    await scene.channel.wait_deleted(original)
    assert original.content == "two"
    assert scene.channel.messages == []
    async with asyncio.timeout(5):
        assert [await seen.get(), await seen.get()] == ["one", 10008]


async def test_silent_bot_did_not_respond_and_late_answer_is_unknown(
    scene: Scene, start: Start
) -> None:
    bot = Bot()
    late = asyncio.Event()
    codes: asyncio.Queue[int] = asyncio.Queue()

    @bot.tree.command(description="Too late")
    async def sleepy(interaction: discord.Interaction) -> None:
        await late.wait()
        try:
            await interaction.response.send_message("late")
        except discord.NotFound as error:
            codes.put_nowait(error.code)

    await start(bot)
    invocation = await scene.ana.slash("sleepy")
    scene.discord.clock.advance(3.01)
    with pytest.raises(NoResponse, match="did not respond"):
        await invocation.acknowledged()
    late.set()
    async with asyncio.timeout(5):
        assert await codes.get() == 10062
    assert list(scene.discord.recorder.of("unanswered", id=str(invocation.id)))


async def test_interaction_without_a_bot_stays_unanswered(scene: Scene, start: Start) -> None:
    bot = Bot()

    @bot.tree.command(description="Say hi")
    async def hi(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("hi")

    await start(bot)
    await bot.close()
    await scene.discord.offline()
    invocation = await scene.ana.slash("hi")
    scene.discord.clock.advance(3.01)
    with pytest.raises(NoResponse):
        await invocation.response()
    (note,) = scene.discord.recorder.of("interaction", id=str(invocation.id))
    assert note["delivered"] is False


async def test_second_answer_and_redelivery_are_already_acknowledged(
    scene: Scene, start: Start
) -> None:
    bot = Bot()
    codes: asyncio.Queue[int] = asyncio.Queue()

    @bot.tree.command(description="Say hi")
    async def hi(interaction: discord.Interaction) -> None:
        try:
            await interaction.response.send_message("hi")
        except discord.HTTPException as error:
            codes.put_nowait(error.code)

    await start(bot)
    invocation = await scene.ana.slash("hi")
    await invocation.response()
    assert invocation.redeliver() == 1
    async with asyncio.timeout(5):
        assert await codes.get() == 40060
    assert len(scene.channel.messages) == 1


async def test_token_is_void_after_fifteen_minutes(scene: Scene, start: Start) -> None:
    bot = Bot()
    late = asyncio.Event()
    errors: asyncio.Queue[tuple[int, int]] = asyncio.Queue()

    @bot.tree.command(description="Take long")
    async def slow(interaction: discord.Interaction) -> None:
        await interaction.response.defer()
        await late.wait()
        try:
            await interaction.followup.send("late")
        except discord.HTTPException as error:
            errors.put_nowait((error.status, error.code))

    await start(bot)
    invocation = await scene.ana.slash("slow")
    await invocation.acknowledged()
    scene.discord.clock.advance(15 * 60 + 1)
    late.set()
    async with asyncio.timeout(5):
        assert await errors.get() == (401, 50027)


async def test_wrong_kind_of_answer_is_refused(scene: Scene, start: Start, rest: Rest) -> None:
    bot = Bot()

    @bot.tree.command(description="Say hi")
    async def hi(interaction: discord.Interaction) -> None: ...

    await start(bot)
    one = (await scene.ana.slash("hi")).interaction
    path = f"/interactions/{one.id}/{one.token}/callback"
    for kind in (6, 7, 8, 99):
        status, answer, _ = await rest("POST", path, {"type": kind, "data": {"content": "x"}})
        assert (status, answer["code"]) == (400, 50035), kind
    assert (await rest("POST", f"/interactions/{one.id}/wrong/callback", {"type": 5}))[0] == 404
    webhook = f"/webhooks/{bot.user.id}/{one.token}"
    assert (await rest("POST", webhook, {"content": "early"}))[1]["code"] == 10015
    assert (await rest("POST", path, {"type": 5}))[0] == 204
    assert (await rest("POST", path, {"type": 5}))[1]["code"] == 40060


async def test_button_updates_its_message_and_select_picks(scene: Scene, start: Start) -> None:
    bot = Bot()

    class Panel(discord.ui.View):
        @discord.ui.button(label="Count", custom_id="count")
        async def count(self, interaction: discord.Interaction, button: object) -> None:
            await interaction.response.edit_message(content=interaction.message.content + "+")

        @discord.ui.button(label="Quiet", custom_id="quiet")
        async def quiet(self, interaction: discord.Interaction, button: object) -> None:
            await interaction.response.defer()
            await interaction.edit_original_response(content="quietly")

        @discord.ui.button(label="Off", custom_id="off", disabled=True)
        async def off(self, interaction: discord.Interaction, button: object) -> None: ...

        @discord.ui.select(
            custom_id="pick",
            max_values=2,
            options=[discord.SelectOption(label=one, value=one.lower()) for one in ("Red", "Blue")],
        )
        async def pick(self, interaction: discord.Interaction, select: discord.ui.Select) -> None:
            await interaction.response.send_message(f"picked {select.values}", ephemeral=True)

        @discord.ui.select(cls=discord.ui.UserSelect, custom_id="who")
        async def who(self, interaction: discord.Interaction, select: discord.ui.Select) -> None:
            await interaction.response.send_message(f"chose {select.values[0].display_name}")

    await start(bot)
    await bot.get_channel(scene.channel.id).send("n", view=Panel(timeout=None))
    message = scene.channel.messages[0]
    assert await (await scene.ben.press(message, "Count")).response() is message
    assert (message.content, message.edits[0].content) == ("n+", "n")
    quiet = await scene.ben.press(message, custom_id="quiet")
    assert (await quiet.acknowledged()).type == 6
    await scene.channel.wait_for(lambda m: m.content == "quietly")
    picked = await (await scene.ana.select(message, "Red", "Blue", custom_id="pick")).response()
    assert picked.content == "picked ['red', 'blue']"
    chosen = await (await scene.ana.select(message, scene.ben, custom_id="who")).response()
    assert chosen.content == "chose Ben"
    with pytest.raises(ClientRefused, match="disabled"):
        await scene.ana.press(message, "Off")
    with pytest.raises(ClientRefused, match="has no"):
        await scene.ana.press(message, "Nothing")
    with pytest.raises(ClientRefused, match="not an option"):
        await scene.ana.select(message, "Green", custom_id="pick")
    forged = await scene.ana.press(message, custom_id="forged", force=True)
    scene.discord.clock.advance(3.01)
    with pytest.raises(NoResponse):
        await forged.acknowledged()


async def test_form_with_text_select_radio_and_file(scene: Scene, start: Start, png: bytes) -> None:
    bot = Bot()
    got: asyncio.Queue[tuple[object, ...]] = asyncio.Queue()

    class Form(discord.ui.Modal, title="Remix"):
        prompt = discord.ui.Label(
            text="Prompt", component=discord.ui.TextInput(default="old", max_length=20)
        )
        style = discord.ui.Label(
            text="Style",
            component=discord.ui.Select(
                options=[discord.SelectOption(label="Ink", value="ink")], required=False
            ),
        )
        strength = discord.ui.Label(
            text="Strength",
            component=discord.ui.RadioGroup(
                options=[
                    discord.RadioGroupOption(label="Subtle", value="s"),
                    discord.RadioGroupOption(label="Strong", value="l", default=True),
                ]
            ),
        )
        picture = discord.ui.Label(text="Picture", component=discord.ui.FileUpload(required=False))

        async def on_submit(self, interaction: discord.Interaction) -> None:
            files = [await one.read() for one in self.picture.component.values]
            got.put_nowait(
                (
                    self.prompt.component.value,
                    self.style.component.values,
                    self.strength.component.value,
                    files,
                )
            )
            await interaction.response.send_message("thanks", ephemeral=True)

    @bot.tree.command(description="Open a form")
    async def form(interaction: discord.Interaction) -> None:
        await interaction.response.send_modal(Form())

    await start(bot)
    invocation = await scene.ana.slash("form")
    assert (await invocation.modal())["title"] == "Remix"
    with pytest.raises(ClientRefused, match="20 characters"):
        await scene.ana.submit_modal(invocation, {"Prompt": "x" * 21})
    with pytest.raises(ClientRefused, match="no field"):
        await scene.ana.submit_modal(invocation, {"Prmpt": "x"})
    submitted = await scene.ana.submit_modal(
        invocation, {"Style": "Ink", "Picture": File("a.png", png)}
    )
    assert (await submitted.response()).content == "thanks"
    assert got.get_nowait() == ("old", ["ink"], "l", [png])


async def test_menus_carry_the_whole_target(scene: Scene, start: Start, png: bytes) -> None:
    bot = Bot()

    @bot.tree.context_menu(name="Look at this")
    async def look(interaction: discord.Interaction, message: discord.Message) -> None:
        data = await message.attachments[0].read()
        await interaction.response.send_message(f"{message.content}, {len(data)} bytes")

    @bot.tree.context_menu(name="Greet")
    async def greet(interaction: discord.Interaction, member: discord.Member) -> None:
        await interaction.response.send_message(f"hello {member.display_name}")

    await start(bot)
    message = await scene.ben.send("words", [File("a.png", png)])
    answer = await (await scene.ana.context_menu("Look at this", message)).response()
    assert answer.content == f"words, {len(png)} bytes"
    greeting = await (await scene.ana.context_menu("Greet", scene.ben)).response()
    assert greeting.content == "hello Ben"


async def test_autocomplete_and_every_kind_of_option(
    scene: Scene, start: Start, png: bytes
) -> None:
    bot = Bot()

    @bot.tree.command(description="Everything")
    async def everything(
        interaction: discord.Interaction,
        style: str,
        count: app_commands.Range[int, 1, 4] = 1,
        strength: float = 0.5,
        private: bool = False,
        friend: discord.Member | None = None,
        place: discord.TextChannel | None = None,
        role: discord.Role | None = None,
        image: discord.Attachment | None = None,
    ) -> None:
        size = len(await image.read()) if image else 0
        parts = [style, count, strength, private, friend, place, role and role.name, size]
        await interaction.response.send_message(
            " ".join(map(str, parts)), allowed_mentions=discord.AllowedMentions.none()
        )

    @everything.autocomplete("style")
    async def complete(
        interaction: discord.Interaction, current: str
    ) -> list[app_commands.Choice[str]]:
        names = ["watercolour", "woodcut", "ink"]
        count = interaction.namespace.count
        return [
            app_commands.Choice(name=f"{name} {count}", value=name)
            for name in names
            if name.startswith(current)
        ]

    await start(bot)
    suggestions = await scene.ana.autocomplete("everything", "style", "wo", count=3)
    assert [one["name"] for one in suggestions] == ["woodcut 3"]
    mods = scene.guild.role("Mods")
    invocation = await scene.ana.slash(
        "everything",
        style="ink",
        count=4,
        strength=0.25,
        private=True,
        friend=scene.ben,
        place=scene.channel,
        role=mods,
        image=File("a.png", png),
    )
    answer = await invocation.response()
    assert answer.content == f"ink 4 0.25 True ben art Mods {len(png)}"


async def test_context_of_server_dm_and_user_install(scene: Scene, start: Start) -> None:
    bot = Bot()
    seen: asyncio.Queue[discord.Interaction] = asyncio.Queue()

    @bot.tree.command(description="Say hi")
    @app_commands.allowed_installs(guilds=True, users=True)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
    async def hi(interaction: discord.Interaction) -> None:
        seen.put_nowait(interaction)
        await interaction.response.send_message("hi")

    await start(bot)
    await (await scene.ana.slash("hi")).response()
    here = seen.get_nowait()
    assert here.guild_id == scene.guild.id
    assert here.is_guild_integration()
    assert here.app_permissions.attach_files
    assert here.permissions.send_messages
    assert here.filesize_limit == 10 * 1024 * 1024
    assert here.channel.id == scene.channel.id

    await (await scene.ana.slash("hi", where=scene.ana.dm)).response()
    direct = seen.get_nowait()
    assert direct.guild_id is None
    assert direct.user.id == scene.ana.id
    assert direct.is_user_integration()

    elsewhere = scene.discord.guild("Elsewhere", bot_installed=False)
    lounge = elsewhere.channel("lounge")
    elsewhere.member(scene.ana)
    await (await scene.ana.slash("hi", where=lounge)).response()
    there = seen.get_nowait()
    assert there.guild_id == elsewhere.id
    assert there.is_user_integration()
    assert not there.is_guild_integration()
    assert not there.app_permissions.send_messages

    boosted = scene.discord.guild("Boosted", premium_tier=3)
    hall = boosted.channel("hall")
    boosted.member(scene.ana)
    await (await scene.ana.slash("hi", where=hall)).response()
    assert seen.get_nowait().filesize_limit == 100 * 1024 * 1024


async def test_message_may_be_too_much_for_an_answer(scene: Scene, start: Start) -> None:
    bot = Bot()
    codes: asyncio.Queue[int] = asyncio.Queue()

    @bot.tree.command(description="Talk")
    async def talk(interaction: discord.Interaction) -> None:
        try:
            await interaction.response.send_message("x" * 2001)
        except discord.HTTPException as error:
            codes.put_nowait(error.code)
        await interaction.response.send_message("short")

    await start(bot)
    invocation = await scene.ana.slash("talk")
    assert (await invocation.response()).content == "short"
    assert codes.get_nowait() == 50035
