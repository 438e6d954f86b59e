"""A person's defaults: the form that sets them, and that they count where an option is left out."""

from __future__ import annotations

from typing import Any

import pytest
from simcord.results import InteractionResult

from cogs import _buttons, _defaults
from cogs._options import Options
from storage.people import Preferences
from tests.cogs.conftest import World, labels
from tests.cogs.test_styles import put

MINE = Preferences(aspect="16:9", count=2, negative="text", quality="draft")


async def fill(world: World, shown: InteractionResult, **entered: Any) -> InteractionResult:
    """Opens the form from the card and sends it."""
    form = await world.ann.click(shown.response, label="Change")
    unset = {"aspect": ["unset"], "count": ["unset"], "quality": "unset", "negative": ""}
    return await world.ann.submit_modal(form, unset | entered)


def fields(answer: InteractionResult) -> dict[str, str]:
    assert answer.response is not None
    (embed,) = answer.response.embeds
    return {str(field.name): str(field.value) for field in embed.fields}


@pytest.mark.parametrize(
    ("given", "private", "layers", "wanted"),
    [
        (Options("x"), None, [MINE],
         (Options("x", "16:9", "text", count=2, quality="draft", lowers_quality=True), False)),
        (Options("x", quality="hd"), None, [Preferences(quality="draft")],
         (Options("x", quality="hd"), False)),
        (Options("x", aspect="1:1"), None, [Preferences(aspect="16:9")], (Options("x", "1:1"), False)),
        (Options("x", width=64), None, [Preferences(aspect="16:9")], (Options("x", width=64), False)),
        (Options("x"), None, [Preferences(count=2), Preferences(count=3)], (Options("x", count=2), False)),
        (Options("x"), None, [Preferences(), Preferences(count=3)], (Options("x", count=3), False)),
        (Options("x"), None, [Preferences(private=True)], (Options("x"), True)),
        (Options("x"), False, [Preferences(private=True)], (Options("x"), False)),
    ],
)  # fmt: skip
def test_the_nearest_default_counts(
    given: Options, private: bool | None, layers: list[Preferences], wanted: tuple[Options, bool]
) -> None:
    assert _defaults.fill(given, private, *layers) == wanted


async def test_defaults_are_set_in_a_form_and_count_for_their_owner(world: World) -> None:
    card = await world.ann.slash(world.channel, "settings")
    assert card.ephemeral
    assert set(fields(card).values()) == {
        *("not set", "no", "everybody in the channel", "auto: as your Discord")
    }
    done = await fill(
        world, card, aspect=["3:2"], count=["2"], quality="draft", negative=" *text* "
    )
    assert done.acknowledged
    assert fields(card)["Shape"] == "3:2"
    assert fields(card)["Negative prompt"] == r"\*text\*"
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    await world.result()
    await world.ann.slash(world.channel, "imagine", prompt="a dog --ar 1:1", count=1, quality="hd")
    await world.result(2)
    await world.ben.slash(world.channel, "imagine", prompt="a cat")
    await world.result(3)
    dog, cat = await world.parts.history.recent(world.ann.id)
    (his,) = await world.parts.history.recent(world.ben.id)
    assert (cat.request.num_images, cat.request.negative_prompt) == (2, "*text*")
    assert cat.request.width > cat.request.height
    assert cat.request.num_inference_steps < his.request.num_inference_steps
    assert (dog.request.num_images, dog.request.width == dog.request.height) == (1, True)
    assert his.request.num_images == 1


async def test_the_form_shows_what_is_set(world: World) -> None:
    await world.parts.people.set_preferences(world.ann.id, "Ann", MINE)
    card = await world.ann.slash(world.channel, "settings")
    form = await world.ann.click(card.response, label="Change")
    spec = form._interaction.modal
    assert spec is not None
    inner = {c["component"]["custom_id"]: c["component"] for c in spec["components"]}
    assert inner["negative"]["value"] == "text"
    for name, value in (("aspect", "16:9"), ("count", "2"), ("quality", "draft")):
        assert [o["value"] for o in inner[name]["options"] if o.get("default")] == [value]


MORE = "Style, remix, language"


async def test_style_remix_strength_and_language_have_a_form_of_their_own(world: World) -> None:
    (neon,) = await put(world, "neon")
    await world.parts.people.set_preferences(world.ann.id, "Ann", Preferences(count=1))
    card = await world.ann.slash(world.channel, "settings")
    form = await world.ann.click(card.response, label=MORE)
    entered = {"style": "neon:0.5", "remix_strength": "subtle", "language": ["en"]}
    await world.ann.submit_modal(form, entered)
    mine = Preferences(count=1, style="neon:0.5", remix_strength="subtle", language="en")
    assert world.parts.people.preferences(world.ann.id) == mine
    assert {"neon:0.5", "Subtle", "English"} <= set(fields(card).values())
    await world.ann.slash(world.channel, "imagine", prompt="a cat", seed=1)
    await world.result()
    await world.ann.slash(world.channel, "remix", source="cat")
    await world.result(2)
    remix, cat = await world.parts.history.recent(world.ann.id)
    assert [one.sha256 for one in cat.request.adapters] == [neon.sha256]
    assert remix.request.strength == 0.35
    await world.ann.slash(world.channel, "remix", source="cat", strength="strong")
    await world.result(3)
    assert (await world.parts.history.recent(world.ann.id))[0].request.strength == 0.75
    form = await world.ann.click(world.results()[0], label="Remix")
    chosen = inner_of(form)["strength"]["options"]
    assert [o["value"] for o in chosen if o.get("default")] == ["subtle"]
    form = await world.ann.click(card.response, label=MORE)
    inner = inner_of(form)
    assert inner["style"]["value"] == "neon:0.5"
    for name, value in (("remix_strength", "subtle"), ("language", "en")):
        assert [o["value"] for o in inner[name]["options"] if o.get("default")] == [value]
    unset = {"style": "none", "remix_strength": "unset", "language": ["unset"]}
    await world.ann.submit_modal(form, unset)
    assert world.parts.people.preferences(world.ann.id) == Preferences(count=1, style="none")
    assert "auto: as your Discord" in fields(card).values()
    form = await world.ann.click(card.response, label=MORE)
    await world.ann.submit_modal(form, unset | {"language": ["de"]})
    assert world.parts.people.language(world.ann.id) == "de"
    assert "Deutsch" in fields(card).values()


async def test_a_style_that_is_not_there_is_refused(world: World) -> None:
    card = await world.ann.slash(world.channel, "settings")
    form = await world.ann.click(card.response, label=MORE)
    unset = {"remix_strength": "unset", "language": ["unset"]}
    answer = await world.ann.submit_modal(form, unset | {"style": "neon"})
    assert answer.response is not None
    assert "There is no style" in answer.response.content
    assert world.parts.people.preferences(world.ann.id) == Preferences()


def inner_of(form: InteractionResult) -> dict[str, Any]:
    """The fields of an open form."""
    spec = form._interaction.modal
    assert spec is not None
    return {c["component"]["custom_id"]: c["component"] for c in spec["components"]}


async def test_private_by_default_unless_said_otherwise(world: World) -> None:
    await world.parts.people.set_preferences(world.ann.id, "Ann", Preferences(private=True))
    hidden = await world.ann.slash(world.channel, "imagine", prompt="a secret")
    assert hidden.ephemeral
    shown = await world.ann.slash(world.channel, "imagine", prompt="no secret", private=False)
    assert not shown.ephemeral
    await world.result()


async def test_card_and_form_work_after_a_restart(world: World) -> None:
    card = await world.ann.slash(world.channel, "settings")
    form = await world.ann.click(card.response, label="Change")
    await world.stop()
    await world.start()
    entered = {"aspect": ["unset"], "count": ["3"], "quality": "unset", "negative": ""}
    await world.ann.submit_modal(form, entered)
    assert world.parts.people.preferences(world.ann.id) == Preferences(count=3)
    assert fields(card)["Pictures at a time"] == "3"
    await world.ann.click(card.response, label="Reset")
    assert world.parts.people.preferences(world.ann.id) == Preferences()
    assert fields(card)["Pictures at a time"] == "not set"


async def test_a_form_of_another_version_is_answered(world: World) -> None:
    card = await world.ann.slash(world.channel, "settings")
    form = await world.ann.click(card.response, label="Change")
    spec = form._interaction.modal
    assert spec is not None
    spec["custom_id"] = "easel:me:teleport:0"
    entered = {"aspect": ["unset"], "count": ["3"], "quality": "unset"}
    answer = await world.ann.submit_modal(form, entered)
    assert answer.response is not None
    assert "do not know this form" in answer.response.content


async def test_forged_values_are_refused_with_words(world: World) -> None:
    card = await world.ann.slash(world.channel, "settings")
    form = await world.ann.click(card.response, label="Change")
    spec = form._interaction.modal
    assert spec is not None
    inner = {c["component"]["custom_id"]: c["component"] for c in spec["components"]}
    inner["aspect"]["options"].append({"label": "x", "value": "7:1"})
    entered = {"aspect": ["7:1"], "count": ["3"], "quality": "unset"}
    answer = await world.ann.submit_modal(form, entered)
    assert answer.response is not None
    assert "There is no shape" in answer.response.content
    assert world.parts.people.preferences(world.ann.id) == Preferences()


async def test_every_button_fits_into_what_discord_keeps(world: World) -> None:
    longest = _buttons.Press("a" * 13, _buttons.OLDER, 1, "20260101:" + "x" * 60)
    assert len(longest.custom_id) <= 100
    assert _buttons.parse(longest.custom_id) == longest
    card = await world.ann.slash(world.channel, "settings")
    assert labels(card.response) == ["Change", "Style, remix, language", "Reset"]


def test_a_picture_to_start_from_decides_the_shape() -> None:
    filled, _ = _defaults.fill(Options("x"), None, MINE, has_picture=True)
    assert (filled.aspect, filled.count) == (None, 2)
