"""The conversation page: what it shows, how markdown looks, and that nothing slips through."""

from __future__ import annotations

import asyncio
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import aiohttp
import discord
import pytest

from playground import File
from playground.markdown import Markdown
from playground.page import write_page
from tests.playground.client import Bot, Scene, Start

HOSTILE = (
    "<script>alert(1)</script> \"><img src=x onerror=alert(1)> [x](javascript:alert(1)) '&amp;"
)


class Checked(HTMLParser):
    """Collects tags and texts, and fails on markup that no template of ours writes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "iframe", "object")
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "src"):
                assert re.match(r"#|files/|https?://", value or ""), value
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "hr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag == "path"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def checked(page: Path) -> Checked:
    parser = Checked()
    parser.feed(page.read_text(encoding="utf-8"))
    parser.close()
    assert parser.open == []
    return parser


async def test_page_shows_the_conversation_and_its_pictures(
    scene: Scene, start: Start, png: bytes, tmp_path: Path
) -> None:
    bot = Bot()

    @bot.tree.command(description="Make")
    async def imagine(interaction: discord.Interaction, prompt: str) -> None:
        if prompt == "silence":
            return
        view = discord.ui.View(timeout=None)
        view.add_item(discord.ui.Button(label=f"Again {prompt[:20]}", custom_id="again"))
        if prompt == "passing":
            await interaction.response.send_message("status line")
            await interaction.delete_original_response()
            return
        await interaction.response.send_message("waiting", ephemeral=True)
        await interaction.edit_original_response(content=f"drew {prompt}"[:2000])
        embed = discord.Embed(title=prompt[:256], description=prompt).add_field(
            name="f", value=prompt
        )
        await interaction.channel.send(
            prompt,
            file=discord.File(io.BytesIO(png), "result.png", description=prompt[:1000]),
            view=view,
            embed=embed,
        )

    await start(bot)
    await scene.ana.slash("imagine", prompt=HOSTILE)
    result = await scene.channel.wait_for(lambda m: m.attachments)
    await scene.ben.send(
        f"nice, {scene.ana.mention}", [File("notes.txt", b"hello")], reply_to=result
    )
    gone = await scene.ben.send("soon gone", [File("gone.png", png)])
    await scene.ben.delete(gone)
    passing = await scene.ben.slash("imagine", prompt="passing")
    await passing.acknowledged()
    status = passing.interaction.original
    await scene.channel.wait_deleted(status)
    silent = await scene.ana.slash("imagine", prompt="silence")
    scene.discord.clock.advance(4)
    await scene.ana.send("psst", where=scene.ana.dm)

    page = await asyncio.to_thread(write_page, scene.discord, tmp_path / "out", title=HOSTILE)
    parser = checked(page)
    text = " ".join(parser.text)
    for expected in (
        "Studio",
        "Ana",
        "used",
        "/imagine",
        "Only you can see this",
        "(edited)",
        "@Ana",
        "notes.txt",
        "The application did not respond",
        "psst",
        "<script>alert(1)</script>",
        "/imagine prompt: passing",
        "status line",
    ):
        assert expected in text, expected
    assert "soon gone" not in text
    (image,) = [attributes for tag, attributes in parser.tags if tag == "img"]
    assert (page.parent / str(image["src"])).read_bytes() == png
    assert image["alt"] == HOSTILE
    assert sorted(path.suffix for path in (page.parent / "files").iterdir()) == [".png", ".txt"]

    data = json.loads((page.parent / "conversation.json").read_text())
    art = next(one for one in data["channels"] if one["name"] == "art")
    kinds = [(one["kind"], one["is_deleted"]) for one in art["messages"]]
    assert kinds.count(("failure", False)) == 1
    assert kinds.count(("message", True)) == 2
    answer = art["messages"][0]
    assert answer["command"]["text"] == f"/imagine prompt: {HOSTILE}"
    assert answer["visible_to"] == "Ana"
    assert answer["edits"][0]["content"] == "waiting"
    assert silent.ack is None
    assert scene.discord.token not in (page.parent / "conversation.json").read_text()


MARKDOWN = {
    "**bold** *it* __u__ ~~s~~ ***both***": (
        "<p><strong>bold</strong> <em>it</em> <u>u</u> <s>s</s> <strong><em>both</em></strong></p>"
    ),
    "`**raw** <b>`": "<p><code>**raw** &lt;b&gt;</code></p>",
    "```py\n<b>*x*\n```": "<pre><code>&lt;b&gt;*x*</code></pre>",
    "||**s**||": '<p><span class="spoiler" tabindex="0"><strong>s</strong></span></p>',
    r"\*not\* snake_case_name 2 * 3 * 4": "<p>*not* snake_case_name 2 * 3 * 4</p>",
    r"**a\-b \(c\) discord\.gg \<\@5> \\o/**": (
        "<p><strong>a-b (c) discord.gg &lt;@5&gt; \\o/</strong></p>"
    ),
    "<@5> <@&6> <#7> </imagine:8>": (
        '<p><span class="mention">@Ana</span> <span class="mention">@Mods</span> '
        '<span class="mention">#art</span> <span class="mention">/imagine</span></p>'
    ),
    "# Big\n> quote\n- one\n-# small\nlast": (
        '<h1>Big</h1><blockquote>quote</blockquote><div class="item">one</div>'
        "<small>small</small><p>last</p>"
    ),
    "[here](https://a.b/c?d=1&e=2)": (
        '<p><a href="https://a.b/c?d=1&amp;e=2" rel="noreferrer nofollow">here</a></p>'
    ),
    "[x](javascript:alert(1))": "<p>[x](javascript:alert(1))</p>",
    "@everyone": "<p>@everyone</p>",
    "<t:99999999999999:R>": "<p>&lt;t:99999999999999:R&gt;</p>",
}


@pytest.mark.parametrize("text", MARKDOWN)
def test_markdown(text: str) -> None:
    reader = Markdown({"5": "Ana"}, {"6": "Mods"}, {"7": "art"})
    assert reader.render(text, 0.0) == MARKDOWN[text]


@pytest.mark.parametrize(
    ("stamp", "shown"),
    [
        (1012, "in 12 seconds"),
        (1060, "in 1 minute"),
        (1000 - 7200, "2 hours ago"),
        (999, "1 second ago"),
    ],
)
def test_relative_times_are_those_of_the_reader(stamp: int, shown: str) -> None:
    assert f">{shown}</time>" in Markdown({}).render(f"<t:{stamp}:R>", 1000.0)


def test_plain_text_has_no_markup_and_no_escapes() -> None:
    line = r"**snake\_case \*x\*, 8\:1** — <@5>" + "\nstarts <t:83:R>"
    plain = Markdown({"5": "Ana"}).plain(line)
    assert plain == "snake_case *x*, 8:1 — @Ana starts at 00:01:23"


def test_only_a_real_everyone_is_highlighted() -> None:
    assert "mention" in Markdown({}).render("@everyone", 0.0, everyone=True)


async def test_an_embed_has_its_picture_inside_and_nowhere_else(
    scene: Scene, start: Start, png: bytes, tmp_path: Path
) -> None:
    bot = await start()
    channel = bot.get_partial_messageable(scene.channel.id)
    embed = discord.Embed(title="Sheet").set_image(url="attachment://sheet.png")
    file = discord.File(io.BytesIO(png), "sheet.png", description="a sheet")
    sent = await channel.send("here", embed=embed, file=file)
    assert sent.attachments == []
    async with (
        aiohttp.ClientSession() as session,
        session.get(str(sent.embeds[0].image.url)) as got,
    ):
        assert await got.read() == png
    page = await asyncio.to_thread(write_page, scene.discord, tmp_path / "out")
    text = page.read_text()
    assert text.count("<figure") == 1
    assert text.index('class="embed"') < text.index("<figure")
    assert 'class="gallery' not in text


def test_emoji_are_drawn_and_read_out() -> None:
    rendered = Markdown({}).render(
        "\N{WHITE MEDIUM STAR} **a \N{LEFTWARDS BLACK ARROW}\ufe0f b**", 0
    )
    assert rendered.count("<svg") == 2
    assert 'aria-label="\N{WHITE MEDIUM STAR}"' in rendered
    assert "\ufe0f" not in rendered
