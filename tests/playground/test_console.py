"""The operator's page: what it serves and does, and that only itself may use it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import discord
import pytest

from playground import Playground
from playground.console import Console
from tests.playground.client import Bot, Scene, Start, point


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    server = Playground(rate_limits=None)
    guild = server.guild("Studio")
    channel = guild.channel("art")
    ana, ben = guild.member("Ana"), guild.member("Ben")
    await server.start(Console(server).routes())
    point(monkeypatch, server)
    yield Scene(server, guild, channel, ana, ben)
    await server.stop()


class Tab:
    """A browser tab with the console in it."""

    def __init__(self, scene: Scene, session: aiohttp.ClientSession) -> None:
        self.base = scene.discord.cdn_base
        self.session = session

    async def act(self, what: dict[str, object], **files: bytes) -> dict[str, object]:
        form = aiohttp.FormData(default_to_multipart=True)  # as a browser's FormData
        form.add_field("what", json.dumps({"person": "Ana", **what}))
        for name, data in files.items():
            form.add_field(name, data, filename=f"{name}.png")
        async with self.session.post(self.base + "/console/act", data=form) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def state(self, person: str = "Ana") -> dict[str, object]:
        url = self.base + "/console/state"
        async with self.session.get(url, params={"person": person}) as response:
            return await response.json()


@pytest.fixture
async def tab(scene: Scene) -> AsyncIterator[Tab]:
    async with aiohttp.ClientSession() as session:
        yield Tab(scene, session)


async def test_everything_can_be_done_from_the_page(
    scene: Scene, tab: Tab, start: Start, png: bytes
) -> None:
    bot = Bot()

    class Form(discord.ui.Modal, title="Say more"):
        words = discord.ui.TextInput(label="Words")

        async def on_submit(self, interaction: discord.Interaction) -> None:
            await interaction.response.send_message(f"you said {self.words.value}")

    class Panel(discord.ui.View):
        @discord.ui.button(label="More", custom_id="more")
        async def more(self, interaction: discord.Interaction, button: object) -> None:
            await interaction.response.send_modal(Form())

    @bot.tree.command(description="Look")
    async def look(
        interaction: discord.Interaction, style: str, image: discord.Attachment | None = None
    ) -> None:
        size = len(await image.read()) if image else 0
        await interaction.response.send_message(f"{style} {size}", view=Panel(), ephemeral=True)

    @look.autocomplete("style")
    async def complete(interaction: discord.Interaction, current: str) -> list[object]:
        return [discord.app_commands.Choice(name=current + "!", value=current)]

    await start(bot)
    state = await tab.state()
    assert [one["name"] for one in state["commands"]] == ["look"]
    assert state["bot_online"] is True

    def option(**more: object) -> dict[str, object]:
        return {"name": "style", "type": 3, "value": "ink", **more}

    what = {"do": "complete", "command": "look", "option": "style", "typed": "in", "options": []}
    assert (await tab.act(what))["choices"] == [{"name": "in!", "value": "in"}]
    image = {"name": "image", "type": 11, "value": ""}
    assert (
        await tab.act({"do": "slash", "command": "look", "options": [option(), image]}, image=png)
        == {}
    )
    answer = scene.channel.seen_by(scene.ana)[-1]
    assert answer.content == f"ink {len(png)}"
    assert f"ink {len(png)}" in (await tab.state())["log"]
    assert f"ink {len(png)}" not in (await tab.state("Ben"))["log"]

    pressed = await tab.act({"do": "press", "message": str(answer.id), "custom_id": "more"})
    form = pressed["form"]
    (field,) = form["fields"]
    values = {field["custom_id"]: "hello"}
    assert await tab.act({"do": "form", "id": form["id"], "values": values}) == {}
    assert (await scene.channel.wait_for(lambda m: "you said" in m.content)).content.endswith(
        "hello"
    )

    said = scene.channel.messages[-1]
    await tab.act({"do": "send", "text": "nice", "reply_to": str(said.id)}, files=png)
    reply = scene.channel.messages[-1]
    assert (reply.reference, reply.author.display_name) == (said, "Ana")
    link = re.search(r'src="(/console/files/[^"]+)"', (await tab.state())["log"])
    async with tab.session.get(tab.base + link[1]) as response:
        assert await response.read() == png
    await tab.act({"do": "delete", "message": str(reply.id)})
    assert reply.is_deleted

    refused = await tab.act({"do": "slash", "command": "look", "options": []})
    assert "required" in refused["error"]


async def test_page_is_served_and_told_of_changes(scene: Scene, tab: Tab) -> None:
    async with tab.session.get(tab.base + "/") as response:
        page = await response.text()
    assert "Discord's dark theme" in page
    async with tab.session.ws_connect(tab.base + "/console/live") as socket:
        await scene.ana.send("<b>hello</b>")
        async with asyncio.timeout(5):
            assert await socket.receive_str() == "changed"
    assert "&lt;b&gt;hello&lt;/b&gt;" in (await tab.state())["log"]


async def test_other_sites_may_not_act(scene: Scene, tab: Tab) -> None:
    form = aiohttp.FormData({"what": "{}"})
    headers = {"Origin": "https://evil.example"}
    url = tab.base + "/console/act"
    async with tab.session.post(url, data=form, headers=headers) as response:
        assert response.status == 403
    async with tab.session.get(tab.base + "/console/live", headers=headers) as response:
        assert response.status == 403


async def test_command_line_prints_what_to_set_and_stops() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "playground", "--port", "0", "--token", "a.b.c",
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    printed = b""
    async with asyncio.timeout(20):
        while b"Ctrl-C" not in printed:
            printed += await process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert b"export DISCORD_TOKEN=a.b.c" in printed
    assert re.search(rb"export EASEL_DISCORD_GATEWAY_URL=ws://127.0.0.1:\d+/gateway", printed)
