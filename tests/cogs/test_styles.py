"""Styles in Discord: chosen, browsed, mixed, said in a prompt, kept by what follows, and gone."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from PIL import Image
from simcord.results import InteractionResult

from cogs import _styles
from engine.errors import RequestError
from engine.settings import Settings
from engine.styles import Styles
from engine.types import AdapterWeight, InstalledAdapter
from storage.people import Preferences
from tests.cogs.conftest import World, labels
from tests.engine.scripted import info

FIXED = datetime(2026, 1, 1, tzinfo=UTC)


async def put(world: World, *names: str, **fields: Any) -> list[InstalledAdapter]:
    """Registers styles; each is called with its name and "style"."""
    folder = world.settings.data_dir
    added = []
    for name in names:
        file = folder / "a.safetensors"
        file.write_bytes(name.encode())
        options = {"family": "sd15", "trigger_words": [f"{name} style"], **fields}
        added.append(await world.parts.adapters.add(file, name, **options))
        buffer = io.BytesIO()
        Image.new("RGB", (16, 16), "red").save(buffer, "PNG")
        await world.parts.adapters.set_preview(added[-1].sha256, buffer.getvalue())
    await world.parts.styles.load()
    return added


def registry(*names: str) -> Styles:
    """A registry in memory alone."""
    model = info()
    found = [
        InstalledAdapter(
            f"{n:064x}", name, (f"{name} words",), 0.8, model.family, True, 0, 1, FIXED
        )
        for n, name in enumerate(names)
    ]

    class Store:
        async def known(self) -> list[InstalledAdapter]:
            return found

    styles = Styles(store=Store(), settings=Settings(), intake=None, info=lambda: model)  # type: ignore[arg-type]
    styles._book.replace(found)
    return styles


def said(answer: InteractionResult) -> str:
    assert answer.response is not None
    return str(answer.response.content)


async def made(world: World, number: int = 1) -> Any:
    """The request of the newest picture."""
    message = await world.result(number)
    (job_id,) = {
        child.custom_id.split(":")[1] for row in message.components for child in row.children
    }
    return (await world.parts.jobs.get(job_id)).request


MIXES = {"dusk": "neon:0.5, sepia"}


@pytest.mark.parametrize(
    ("text", "strength", "wanted"),
    [
        ("neon", None, {"neon": 0.8}),
        ("neon", 1.5, {"neon": 1.5}),
        ("NEON:0.7,  paper_cut : .4", None, {"neon": 0.7, "Paper cut": 0.4}),
        ("neon:0.8, sepia", 0.5, {"neon": 0.4, "sepia": 0.5}),
        ("none", None, {}),
        ("neon:0", None, {}),
        ("dusk", None, {"neon": 0.5, "sepia": 0.8}),
        ("dusk:0.5, papercut", None, {"neon": 0.25, "sepia": 0.5, "Paper cut": 0.8}),
    ],
)
def test_a_list_of_styles_is_read_as_people_write_it(
    text: str, strength: float | None, wanted: dict[str, float]
) -> None:
    styles = registry("neon", "sepia", "Paper cut")
    found = _styles.resolve(styles, text, MIXES, strength)
    assert {styles.name_of(one.sha256): one.weight for one in found} == wanted
    again = _styles.resolve(styles, _styles.written(styles, found) or "none", {})
    assert again == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("noen", 'There is no style "noen". Did you mean neon?'),
        ("neon:high", '"high" is no weight'),
        (":1", "no weight"),
        ("neon:nan", "no weight"),
        ("neon:2.5", 'The style "neon" would have the weight 2.5'),
        ("neon, Neon:1", "named twice"),
        ("a, b, c, d, e, neon", "at most 5 styles, not 6"),
        ("x" * 301, "has 301 characters"),
    ],
)
def test_what_cannot_be_meant_is_told_in_one_sentence(text: str, words: str) -> None:
    with pytest.raises(RequestError) as caught:
        _styles.resolve(registry("neon", "a", "b", "c", "d", "e"), text, {})
    assert words in str(caught.value)


def test_typing_completes_the_last_piece_from_memory() -> None:
    styles = registry(*(f"style {n}" for n in range(5000)), "neon")
    styles.usable()
    last = _styles.choices(styles, MIXES, "neon:0.7, style 49")
    mistyped = _styles.choices(styles, MIXES, "stlye 4999")
    assert [one.value for one in last[:2]] == ["neon:0.7, style 49", "neon:0.7, style 490"]
    assert len(last) == 25
    assert mistyped[0].value.startswith("style ")
    values = [one.value for one in _styles.choices(styles, MIXES, "neon:0.7, ")]
    assert "neon:0.7, dusk" in values
    assert "neon:0.7, neon" not in values
    assert [one.value for one in _styles.choices(styles, {}, "neon:1")] == ["neon:1", "neon:1.2"]
    assert [one.value for one in _styles.choices(styles, {}, "no")] == ["neon", "none"]


async def test_style_is_set_shown_used_and_cleared(world: World) -> None:
    await put(world, "neon", "sepia")
    ann, channel = world.ann, world.channel
    empty = await ann.slash(channel, "style")
    assert "You have no style" in said(empty)
    assert labels(empty.response) == ["Browse"]
    card = await ann.slash(channel, "style", name="Neon, sepia:0.4", strength=0.5)
    assert "**Neon:0.5, sepia:0.2**" in said(card)
    assert 'neon: weight 0.5, called with "neon style"' in said(card)
    assert labels(card.response) == ["Browse", "Clear"]
    await ann.slash(channel, "imagine", prompt="a cat")
    result = await world.result()
    assert "style neon:0.5, sepia:0.2" in result.content
    assert "**a cat**" in result.content  # the shown prompt is the person's own
    request = await made(world)
    assert request.prompt == "a cat"
    assert request.full_prompt == "neon style, sepia style, a cat"
    await ann.click(card.response, label="Clear")
    assert world.parts.people.preferences(ann.id) == Preferences()
    await ann.slash(channel, "imagine", prompt="a dog")
    assert (await made(world, 2)).adapters == ()


async def test_option_wins_over_flag_and_flag_over_my_default(world: World) -> None:
    neon, sepia, comic = await put(world, "neon", "sepia", "comic")
    await world.parts.people.set_preferences(world.ann.id, "Ann", Preferences(style="neon"))
    imagine = {"prompt": "a cat --style sepia:0.7, comic:0.2 --seed 1"}
    await world.ann.slash(world.channel, "imagine", **imagine)
    assert (await made(world)).adapters == (
        AdapterWeight(sepia.sha256, 0.7, "sepia style"),
        AdapterWeight(comic.sha256, 0.2, "comic style"),
    )
    await world.ann.slash(world.channel, "imagine", **imagine, style="comic", style_strength=0.5)
    assert (await made(world, 2)).adapters == (AdapterWeight(comic.sha256, 0.5, "comic style"),)
    await world.ann.slash(world.channel, "imagine", prompt="x", style_strength=0.5)
    assert (await made(world, 3)).adapters == (AdapterWeight(neon.sha256, 0.5, "neon style"),)
    await world.ann.slash(world.channel, "imagine", prompt="x", style="none")
    assert (await made(world, 4)).adapters == ()


async def test_rerolls_keep_the_style_and_info_names_it(world: World) -> None:
    (neon,) = await put(world, "neon")
    await world.ann.slash(world.channel, "imagine", prompt="a cat", style="neon:0.7")
    first = await world.result()
    shown = await world.ann.click(first, label="Info")
    assert shown.response is not None
    (embed,) = shown.response.embeds
    assert "style:neon:0.7" in str(embed.description)
    fields = {field.name: field.value for field in embed.fields}
    assert (fields["Style"], fields["Read as"]) == ("neon:0.7", "neon style, a cat")
    await world.ben.click(first, label="Reroll")
    assert (await made(world, 2)).adapters == (AdapterWeight(neon.sha256, 0.7, "neon style"),)


async def test_a_style_that_is_gone_is_told_politely(world: World) -> None:
    (neon,) = await put(world, "neon")
    await world.ann.slash(world.channel, "style", name="neon")
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    first = await world.result()
    page = await world.ann.slash(world.channel, "styles browse")
    await world.parts.adapters.set_gone(neon.sha256)
    await world.parts.styles.load()
    answers = [
        await world.ben.click(first, label="Reroll"),
        await world.ann.slash(world.channel, "imagine", prompt="a cat"),
        await world.ann.slash(world.channel, "style"),
    ]
    assert all('The style "neon" was removed.' in said(answer) for answer in answers)
    assert "It is your default" in said(answers[1])
    used = await world.ann.click(page.response, label="neon")
    assert "not there any more" in said(used)
    assert len(world.results()) == 1
    await world.ben.click(first, label="Upscale")  # which needs no style
    assert (await made(world, 2)).upscaler is not None


async def test_browsing_shows_previews_words_and_buttons(world: World) -> None:
    empty = await world.ann.slash(world.channel, "styles browse")
    assert empty.response is not None
    assert "no styles here yet" in str(empty.response.embeds[0].description)
    await put(world, *(f"style {n}" for n in range(8)))
    first = await world.ann.slash(world.channel, "styles browse")
    assert first.response is not None
    assert "**style 0** — style 0 style" in str(first.response.embeds[0].description)
    assert labels(first.response) == [*(f"style {n}" for n in range(6)), "More"]
    assert first.response.attachments
    await world.ann.click(first.response, label="More")
    assert labels(first.response) == ["style 6", "style 7", "Back"]
    used = await world.ann.click(first.response, label="style 7")
    assert "Your style is **style 7**" in said(used)
    assert world.parts.people.preferences(world.ann.id).style == "style 7"
    found = await world.ann.slash(world.channel, "styles browse", query="STYLE 3")
    assert labels(found.response) == ["style 3"]


async def test_info_has_the_facts(world: World) -> None:
    await put(world, "neon", description="Glowing **lines**", default_weight=0.7)
    answer = await world.ann.slash(world.channel, "styles info", name="NEON")
    assert answer.response is not None
    (embed,) = answer.response.embeds
    assert embed.description == "Glowing \\*\\*lines\\*\\*"
    fields = {field.name: field.value for field in embed.fields}
    assert (fields["Called with"], fields["Made for"]) == ("neon style", "SD 1.5")
    assert labels(answer.response) == ["Use"]
    (choice,) = await world.ann.autocomplete(world.channel, "styles info", "name", "ne")
    assert choice["value"] == "neon"


async def test_a_mix_is_used_like_a_style(world: World) -> None:
    neon, sepia = await put(world, "neon", "sepia")
    ann, channel = world.ann, world.channel
    saved = await ann.slash(channel, "styles mix", name="Dusk", styles="neon:0.5, sepia:0.2")
    assert "Saved: **Dusk** is neon:0.5, sepia:0.2." in said(saved)
    for name, styles, words in (
        ("neon", "sepia", "a style &quot;neon&quot; already".replace("&quot;", '"')),
        ("a:b", "sepia", "without commas and colons"),
        ("night", "dusk, neon", "not of mixes"),
        ("other", "none", 'no mix "other"'),
    ):
        refused = await ann.slash(channel, "styles mix", name=name, styles=styles)
        assert words in said(refused).replace("\\", "")
    offered = await ann.autocomplete(channel, "imagine", "style", "du")
    assert [one["value"] for one in offered] == ["Dusk"]
    await ann.slash(channel, "imagine", prompt="a cat", style="dusk:0.5")
    assert [(a.sha256, a.weight) for a in (await made(world)).adapters] == [
        (neon.sha256, 0.25),
        (sepia.sha256, 0.1),
    ]
    await ann.slash(channel, "style", name="dusk")
    card = await ann.slash(channel, "settings")
    await ann.click(card.response, label="Reset")
    assert world.parts.people.preferences(ann.id) == Preferences(
        mixes={"Dusk": "neon:0.5, sepia:0.2"}
    )
    forgotten = await ann.slash(channel, "styles mix", name="DUSK", styles="none")
    assert "Forgotten" in said(forgotten)
    assert world.parts.people.preferences(ann.id) == Preferences()
    stranger = await world.ben.slash(channel, "imagine", prompt="a cat", style="dusk")
    assert 'There is no style "dusk"' in said(stranger)
