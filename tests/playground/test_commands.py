"""Registering commands as Discord checks them, and what its client refuses to send."""

from __future__ import annotations

import discord
import pytest
from discord import app_commands

from playground import ClientRefused, File
from tests.playground.client import Bot, Rest, Scene, Start


def command(**more: object) -> dict[str, object]:
    return {"name": "imagine", "description": "Make", **more}


def option(**more: object) -> dict[str, object]:
    return {"name": "prompt", "description": "What", "type": 3, **more}


WRONG = {
    "upper case": [command(name="Imagine")],
    "blank in the name": [command(name="two words")],
    "no description": [command(description="")],
    "long description": [command(description="d" * 101)],
    "same name twice": [command(), command()],
    "26 options": [command(options=[option(name=f"o{i}") for i in range(26)])],
    "required after optional": [command(options=[option(), option(name="b", required=True)])],
    "26 choices": [
        command(options=[option(choices=[{"name": str(i), "value": str(i)} for i in range(26)])])
    ],
    "autocomplete with choices": [
        command(options=[option(autocomplete=True, choices=[{"name": "a", "value": "a"}])])
    ],
    "text limit on a number": [command(options=[option(type=4, max_length=3)])],
    "subcommand beside an option": [command(options=[option(type=1), option(name="b")])],
    "more than 8,000 characters": [
        command(
            options=[
                option(
                    name=f"o{i}",
                    choices=[{"name": "n" * 60 + str(j), "value": str(j)} for j in range(25)],
                )
                for i in range(6)
            ]
        )
    ],
    "unknown language": [command(name_localizations={"xx": "bild"})],
    "upper case in another language": [command(name_localizations={"de": "Bild"})],
    "long description in another language": [command(description_localizations={"de": "d" * 101})],
    "same translated name twice": [
        command(name_localizations={"de": "bild"}),
        command(name="draw", name_localizations={"de": "bild"}),
    ],
    "options of the same translated name": [
        command(
            options=[
                option(name_localizations={"ja": "画像"}),
                option(name="b", name_localizations={"ja": "画像"}),
            ]
        )
    ],
    "long choice in another language": [
        command(
            options=[
                option(
                    choices=[{"name": "a", "value": "a", "name_localizations": {"de": "a" * 101}}]
                )
            ]
        )
    ],
    "menu with a description": [{"name": "Remix this", "type": 3, "description": "no"}],
    "sixteen menus": [{"name": f"Menu {i}", "type": 3} for i in range(16)],
}


@pytest.mark.parametrize("name", WRONG)
async def test_wrong_commands_are_refused(scene: Scene, rest: Rest, name: str) -> None:
    path = f"/applications/{scene.discord.world.application_id}/commands"
    status, answer, _ = await rest("PUT", path, WRONG[name])
    assert (status, answer["code"]) == (400, 50035), answer
    assert (await rest("GET", path))[1] == []


async def test_commands_keep_their_ids_and_can_be_changed_one_by_one(
    scene: Scene, rest: Rest
) -> None:
    path = f"/applications/{scene.discord.world.application_id}/commands"
    first = (await rest("PUT", path, [command()]))[1][0]
    second = (await rest("PUT", path, [command(description="Draw"), {"name": "Look", "type": 3}]))[
        1
    ]
    assert second[0]["id"] == first["id"]
    assert second[0]["version"] != first["version"]
    one = f"{path}/{first['id']}"
    assert (await rest("PATCH", one, {"description": "Paint"}))[1]["description"] == "Paint"
    assert (await rest("DELETE", one))[0] == 204
    status, answer, _ = await rest("GET", one)
    assert (status, answer["code"]) == (404, 10063)
    assert (await rest("POST", path, command(name="new")))[0] == 200
    in_guild = (
        f"/applications/{scene.discord.world.application_id}/guilds/{scene.guild.id}/commands"
    )
    assert (await rest("PUT", in_guild, [command(name="here")]))[1][0]["guild_id"]
    assert {one["name"] for one in scene.discord.commands.visible(scene.guild.id)} == {
        "Look",
        "new",
        "here",
    }
    assert (await rest("GET", "/applications/1/commands"))[1]["code"] == 20012


async def test_synced_commands_are_what_the_tree_has(scene: Scene, start: Start) -> None:
    bot = Bot()
    admin = app_commands.Group(
        name="admin",
        description="Rule",
        default_permissions=discord.Permissions(manage_guild=True),
    )
    words = app_commands.Group(name="words", description="Words", parent=admin)

    @words.command(name="add", description="Add a word")
    async def add(interaction: discord.Interaction, word: str) -> None:
        await interaction.response.send_message(f"added {word}")

    bot.tree.add_command(admin)
    await start(bot)
    await scene.discord.synced("admin")
    fetched = await bot.tree.fetch_commands()
    assert [one.name for one in fetched] == ["admin"]
    with pytest.raises(ClientRefused, match="not offered to Ana"):
        await scene.ana.slash("admin words add", word="x")
    mods = scene.guild.role("Mods", "manage_guild")
    cleo = scene.guild.member("Cleo", mods)
    with pytest.raises(ClientRefused, match="one of its subcommands"):
        await cleo.slash("admin words")
    with pytest.raises(ClientRefused, match="no subcommand"):
        await cleo.slash("admin words drop")
    answer = await (await cleo.slash("admin words add", word="x")).response()
    assert answer.content == "added x"


REFUSED = {
    "missing": ({}, "required"),
    "empty": ({"prompt": "   "}, "empty"),
    "too long": ({"prompt": "x" * 31}, "characters"),
    "unknown option": ({"prompt": "x", "colour": "red"}, "no option"),
    "wrong type": ({"prompt": "x", "count": "two"}, "takes a number"),
    "not whole": ({"prompt": "x", "count": 1.5}, "whole number"),
    "too many": ({"prompt": "x", "count": 5}, "between 1 and 4"),
    "beyond 2^53": ({"prompt": "x", "seed": 2**64}, "between"),
    "not finite": ({"prompt": "x", "strength": float("nan")}, "takes a number"),
    "not a choice": ({"prompt": "x", "quality": "best"}, "not a choice"),
    "text for a switch": ({"prompt": "x", "private": "yes"}, "does not fit"),
    "file for text": ({"prompt": File("a.png", b"x")}, "does not take a file"),
    "huge file": ({"prompt": "x", "image": File("a.png", bytes(11 << 20))}, "too large"),
}


@pytest.fixture
async def imagine(start: Start) -> Bot:
    bot = Bot()

    @bot.tree.command(description="Make")
    @app_commands.choices(quality=[app_commands.Choice(name="High", value="hd")])
    async def imagine(
        interaction: discord.Interaction,
        prompt: app_commands.Range[str, 1, 30],
        count: app_commands.Range[int, 1, 4] = 1,
        seed: int = 0,
        strength: float = 0.5,
        quality: app_commands.Choice[str] | None = None,
        private: bool = False,
        image: discord.Attachment | None = None,
    ) -> None:
        chosen = quality.value if quality else None
        await interaction.response.send_message(f"{prompt} {count} {chosen}")

    return await start(bot)


@pytest.mark.parametrize("name", REFUSED)
async def test_client_refuses_before_sending(scene: Scene, imagine: Bot, name: str) -> None:
    values, reason = REFUSED[name]
    with pytest.raises(ClientRefused, match=reason):
        await scene.ana.slash("imagine", values)
    assert not list(scene.discord.recorder.of("interaction"))


async def test_choice_is_taken_by_name_or_value(scene: Scene, imagine: Bot) -> None:
    for value in ("High", "hd"):
        answer = await (await scene.ana.slash("imagine", prompt=" x ", quality=value)).response()
        assert answer.content == "x 1 hd"


async def test_forced_values_arrive_as_they_are(scene: Scene, imagine: Bot) -> None:
    sent = await scene.ana.slash(
        "imagine", {"prompt": "x" * 7000, "count": 99}, colour="red", force=True
    )
    data = sent.interaction.data
    assert [len(str(one["value"])) for one in data["options"]] == [7000, 2, 3]
    assert (await scene.ana.slash("unknown", force=True)).interaction.name == "unknown"


async def test_client_offers_commands_by_place_and_permission(scene: Scene, start: Start) -> None:
    bot = Bot()

    @bot.tree.command(description="Only adults", nsfw=True)
    async def adult(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("ok")

    @bot.tree.command(description="Only servers")
    @app_commands.guild_only()
    async def local(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("ok")

    await start(bot)
    with pytest.raises(ClientRefused, match="age-restricted"):
        await scene.ana.slash("adult")
    cellar = scene.guild.channel("cellar", nsfw=True)
    assert (await (await scene.ana.slash("adult", where=cellar)).response()).content == "ok"
    with pytest.raises(ClientRefused, match=r"this kind of channel|direct messages"):
        await scene.ana.slash("local", where=scene.ana.dm)
    with pytest.raises(ClientRefused, match="no command"):
        await scene.ana.slash("nothing")
    scene.channel.set_permissions(scene.ana, use_application_commands=False)
    with pytest.raises(ClientRefused, match="use_application_commands"):
        await scene.ana.slash("local")
    elsewhere = scene.discord.guild("Elsewhere", bot_installed=False).channel("lounge")
    with pytest.raises(ClientRefused):
        await scene.ana.slash("local", where=elsewhere)
