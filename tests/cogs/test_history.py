"""`/history`: searched, starred, traced and taken along."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cogs import _album, _archive, _buttons, _drawings, _search
from engine.errors import InvalidRequestError
from storage.gallery import Wanted
from storage.pictures import PictureFiles
from tests.cogs.conftest import World, labels, settings_for, world_of
from tests.cogs.test_buttons import job_id_of, made
from tests.cogs.test_sharing import made_in_private
from tests.cogs.test_styles import put

NOW = datetime(2026, 3, 15, 1, tzinfo=UTC)


def text_of(answer: Any) -> str:
    assert answer.ephemeral
    (embed,) = answer.response.embeds
    return str(embed.description)


async def test_list_is_searched_by_words_date_and_star(world: World) -> None:
    for number, prompt in enumerate(("a red cat", "two Red foxes", "a dog"), 1):
        await world.ann.slash(world.channel, "imagine", prompt=prompt)
        await world.result(number)
    await world.ben.click(world.results()[0], label="Star")
    ann, ben, channel = world.ann, world.ben, world.channel
    answer = await ann.slash(channel, "history list", query="RED")
    assert [line for line in text_of(answer).splitlines() if "**" in line] == [
        "`1` **two Red foxes**",
        "`2` **a red cat**",
    ]
    assert answer.response is not None
    assert [file.filename for file in answer.response.attachments] == ["pictures.webp"]
    assert "fox" in text_of(await ann.slash(channel, "history list", query="fox", since="today"))
    assert text_of(await ann.slash(channel, "history list", since="2100-01-01")) == _album.NOT_FOUND
    assert text_of(await ann.slash(channel, "history list", starred=True)) == _album.NO_STARS
    stars = await ben.slash(channel, "history list", starred=True)
    assert "a red cat" in text_of(stars)
    assert "\N{WHITE MEDIUM STAR}" in text_of(stars)
    wrong = await ann.slash(channel, "history list", since="the day before")
    assert wrong.response is not None
    assert 'do not know the date "the day before"' in wrong.response.content


async def test_next_pages_of_a_search_stay_in_it_after_a_restart(tmp_path: Path) -> None:
    async with world_of(settings_for(tmp_path, per_minute=0)) as world:
        for number in range(1, 12):
            prompt = f"fox {number}" if number != 3 else "a dog"
            await world.ann.slash(world.channel, "imagine", prompt=prompt, steps=1)
            await world.result(number)
        answer = await world.ann.slash(world.channel, "history list", query="fox", since="7 days")
        assert labels(answer.response) == ["Older"]
        await world.stop()
        await world.start()
        await world.ann.click(answer.response, label="Older")
        assert text_of(answer).splitlines()[0] == "`1` **fox 1**"
        assert answer.response is not None
        assert len(answer.response.attachments) == 1
        assert labels(answer.response) == []


@pytest.mark.parametrize(
    ("typed", "day"),
    [
        ("2026-01-31", "2026-01-31"),
        ("today", "2026-03-15"),
        (" Yesterday", "2026-03-14"),
        ("7d", "2026-03-08"),
        ("last 2 weeks", "2026-03-01"),
        ("1 month ago", "2026-02-13"),
        ("9999 years", "2000-01-01"),
        ("", None),
        (None, None),
    ],
)
def test_dates_are_read_as_people_write_them(typed: str | None, day: str | None) -> None:
    since = _search.since_of(typed, NOW)
    assert (since and since.date().isoformat()) == day


@pytest.mark.parametrize("typed", ["31.1.2026", "2026-13-01", "soon", "5 lightyears", "\ud800"])
def test_other_dates_are_refused(typed: str) -> None:
    with pytest.raises(InvalidRequestError, match="I do not know the date"):
        _search.since_of(typed, NOW)


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(),
        Wanted(starred=True),
        Wanted("a:b c", starred=True),
        Wanted("x" * _search.MAX_WORDS, since=datetime(2026, 1, 31, tzinfo=UTC)),
        Wanted("x" * _search.MAX_WORDS, datetime(2026, 1, 31, tzinfo=UTC), True, ("abcdef01",)),
        Wanted(styles=("none",)),
    ],
)
async def test_a_search_fits_into_its_button(wanted: Wanted, world: World) -> None:
    index, rest = _search.encoded(wanted)
    press = _buttons.Press("a" * 13, _buttons.OLDER, index, rest)
    assert len(press.custom_id) <= 100
    assert _buttons.parse(press.custom_id) == press
    assert _search.decoded(world.bot.desk, index, rest) == wanted


async def test_searches_in_buttons_of_before_the_styles_are_read(world: World) -> None:
    old = Wanted("x" * 60, since=datetime(2026, 1, 31, tzinfo=UTC))
    assert _search.decoded(world.bot.desk, 0, f"20260131:{old.words}") == old
    assert _search.decoded(world.bot.desk, 1, "-:a:b c") == Wanted("a:b c", starred=True)


async def test_pictures_are_listed_by_style_also_after_it_is_gone(tmp_path: Path) -> None:
    async with world_of(settings_for(tmp_path, per_minute=0)) as world:
        (neon,) = await put(world, "neon")
        for number in range(1, 12):
            style = "none" if number == 3 else "neon:0.5"
            await world.ann.slash(
                world.channel, "imagine", prompt=f"fox {number}", steps=1, style=style
            )
            await world.result(number)
        ann, channel = world.ann, world.channel
        await world.parts.adapters.set_gone(neon.sha256)
        (other,) = await put(world, "Neon 2")
        await world.parts.adapters.set_gone(other.sha256)
        await world.parts.styles.load()
        answer = await ann.slash(channel, "history list", style="NEON", query="fox")
        assert answer.response is not None
        assert answer.response.embeds[0].title == 'Your pictures with "fox" in the style neon'
        assert text_of(answer).count("**fox") == 9
        await ann.click(answer.response, label="Older")
        assert text_of(answer).splitlines()[0] == "`1` **fox 1**"
        short = await ann.slash(channel, "history list", style=neon.sha256[:8], since="today")
        assert text_of(short).count("**fox") == 9
        plain = await ann.slash(channel, "history list", style="none")
        assert text_of(plain).splitlines()[0] == "`1` **fox 3**"
        assert text_of(await ann.slash(channel, "history list", style="neon 2")) == _album.NOT_FOUND
        packed = await ann.slash(channel, "history export", style="neon")
        assert packed.response is not None
        assert packed.response.content.startswith("10 pictures of 10 jobs,")
        unknown = await ann.slash(channel, "history list", style="sepia")
        assert unknown.response is not None
        assert "There is no style" in unknown.response.content


async def test_star_by_command(world: World) -> None:
    picture = await made(world, prompt="a fox")
    answer = await world.ann.slash(world.channel, "history star", picture="fox")
    assert answer.response is not None
    assert answer.response.content.startswith("Starred")
    choices = await world.ann.autocomplete(
        world.channel, "history star", "picture", "", remove=True
    )
    assert [choice["value"] for choice in choices] == [job_id_of(picture)]
    await world.ann.slash(world.channel, "history star", picture=job_id_of(picture), remove=True)
    assert await world.parts.gallery.starred(world.ann.id, [job_id_of(picture)]) == set()
    refused = await world.ben.slash(world.channel, "history star", picture=job_id_of(picture))
    assert refused.response is not None
    assert "no such picture" in refused.response.content


async def test_tree_shows_parents_and_children_but_no_secrets(world: World) -> None:
    first = await made(world, prompt="a fox")
    await world.ben.click(first, label="Reroll")
    second = await world.result(2)
    await world.ann.click(second, label="Reroll")
    third = await world.result(3)
    answer = await world.ann.slash(world.channel, "history tree", picture=job_id_of(third))
    lines = text_of(answer).splitlines()
    assert lines[0] == "`1` **a fox**"
    assert "imagine · you" in lines[1]
    assert "reroll · ben" in lines[3]
    assert lines[4] == "`3` **a fox** \N{LEFTWARDS ARROW} this one"
    assert answer.response is not None
    assert [file.filename for file in answer.response.attachments] == ["family.webp"]
    await world.parts.history.delete_pictures(job_id_of(first))
    private = await made_in_private(world)
    again = await world.ann.click(private, label="Reroll")
    await world.until(lambda: again.response is not None and again.response.attachments)
    alone = await world.ann.slash(world.channel, "history tree", picture=job_id_of(third))
    assert "`1` **a deleted picture**" in text_of(alone)
    await world.ben.click(second, label="Star")
    (hidden, _) = await world.parts.history.recent(world.ann.id, limit=2)
    assert hidden.submission.destination.private
    tree = await world.ann.slash(world.channel, "history tree", picture=hidden.id)
    assert "a secret" in text_of(tree)
    refused = await world.ben.slash(world.channel, "history tree", picture=hidden.id)
    assert refused.response is not None
    assert "no such picture" in refused.response.content


async def test_export_has_pictures_and_what_made_them(world: World) -> None:
    await made(world, prompt="a fox", count=2, seed=5)
    answer = await world.ann.slash(world.channel, "history export", query="fox")
    assert answer.ephemeral
    assert answer.response is not None
    assert answer.response.content.startswith("2 pictures of 1 job,")
    (file,) = answer.response.attachments
    zipped = zipfile.ZipFile(io.BytesIO(await file.read(use_cached=True)))
    names = sorted(zipped.namelist())
    assert sorted(Path(name).suffix for name in names) == [".json", ".png", ".png"]
    metadata = json.loads(zipped.read(next(name for name in names if name.endswith(".json"))))
    assert (metadata["prompt"], metadata["seeds"]) == ("a fox", [5, 6])
    for name in names:
        if name.endswith(".png"):
            Image.open(io.BytesIO(zipped.read(name))).verify()
    nothing = await world.ben.slash(world.channel, "history export")
    assert nothing.response is not None
    assert nothing.response.content == "There is nothing to export."


async def entries(store: PictureFiles, count: int, size: int) -> AsyncIterator[_archive.Entry]:
    chance = random.Random(1)
    for number in range(count):
        sha256 = await store.put(chance.randbytes(size))
        yield _archive.Entry(f"job{number}", f"name{number}", {"n": number}, (("-1", sha256),))


async def test_archives_stay_below_the_limit_and_say_what_is_left_out(tmp_path: Path) -> None:
    store = PictureFiles(tmp_path)
    limit = 100_000
    packed = await _archive.pack(entries(store, 20, 30_000), store, limit)
    assert packed.last == "job11"
    assert (packed.jobs, packed.pictures, len(packed.files)) == (12, 12, _archive.MAX_PARTS)
    sizes = [len(file.read()) for file in packed.files]
    assert max(sizes) <= limit
    (note,) = packed.notes(limit)
    assert "Next part" in note
    for file in packed.files:
        assert zipfile.ZipFile(file).testzip() is None
        file.close()


async def test_a_picture_larger_than_a_file_may_be_becomes_webp(tmp_path: Path) -> None:
    store = PictureFiles(tmp_path)
    noise = Image.frombytes("RGB", (300, 300), random.Random(2).randbytes(270_000))
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    sha256 = await store.put(buffer.getvalue())

    async def one() -> AsyncIterator[_archive.Entry]:
        yield _archive.Entry("a", "a", {}, (("-1", sha256), ("-2", "0" * 64)))

    packed = await _archive.pack(one(), store, 100_000, first=("about.json", {"x": 1}))
    assert (packed.shrunk, packed.missing, packed.last) == (1, 1, None)
    (file,) = packed.files
    zipped = zipfile.ZipFile(file)
    assert sorted(zipped.namelist()) == ["a-1.webp", "a.json", "about.json"]
    assert file.seek(0, io.SEEK_END) <= 100_000
    packed.close()


@pytest.mark.parametrize("text", ["plain", "Ännchen · 3"])
def test_letters_that_the_font_lacks_are_not_drawn_as_boxes(text: str) -> None:
    assert _drawings.drawable(text).isprintable()
    assert _drawings.drawable("猫と" + text) == ""


def test_drawings_hold_any_number_of_pictures() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 32), "red").save(buffer, "PNG")
    png = buffer.getvalue()
    for pictures in ([None], [png, None, png, png]):
        sheet = Image.open(io.BytesIO(_drawings.contact_sheet(pictures)))
        assert sheet.width == 264 * min(len(pictures), 3) - 8
    branches = [_drawings.Branch(png, None, 0, "1")]
    branches += [_drawings.Branch(None, n, n + 1, str(n), ("x" * 200,)) for n in range(30)]
    tree = Image.open(io.BytesIO(_drawings.family_tree(branches)))
    assert tree.size == (8 * 56 + 144 + 440, 31 * 160)
    red = tree.convert("RGBA").getpixel((72, 80))
    assert isinstance(red, tuple)
    assert red[0] > 200
    for most in (0, 1, 3, 7, 12, 99, 1234, 10**6):
        days = [(NOW.date(), count) for count in (0, most // 2, most)]
        assert Image.open(io.BytesIO(_drawings.usage_plot(days))).size == (1440, 640)
