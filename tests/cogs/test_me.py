"""`/me`: allowance, waiting jobs, defaults and the plot."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cogs import _allowance
from storage.ledger import Usage
from storage.people import Preferences
from tests.cogs.conftest import World, labels, settings_for, world_of
from tests.cogs.test_buttons import made
from tests.storage.samples import NO_LIMITS, a_request, a_submission


def fields(answer: Any) -> dict[str, str]:
    assert answer.ephemeral
    (embed,) = answer.response.embeds
    return {field.name: field.value for field in embed.fields}


async def test_card_of_somebody_new(world: World) -> None:
    answer = await world.ann.slash(world.channel, "me")
    shown = fields(answer)
    assert shown["Allowance"].endswith("**50 left**: 0 of 50 pictures today")
    assert shown["Limits"].splitlines() == [
        "Jobs waiting or running: 4",
        "Jobs a minute: 10",
        "Standard pictures in 24 hours: 50",
    ]
    assert shown["Waiting"] == "You have no jobs waiting."
    assert shown["Defaults"] == "None set; **Change** does."
    assert answer.response is not None
    assert answer.response.attachments == []  # an empty plot shows nothing
    (card,) = answer.response.embeds
    assert "0 pictures in the last 28 days" in (card.footer.text or "")


async def test_card_counts_what_was_made_and_shows_what_is_set(world: World) -> None:
    await world.parts.people.set_preferences(
        world.ann.id, "Ann", Preferences(negative="*" * 900, count=2)
    )
    picture = await made(world, count=3, quality="draft")
    await world.ann.click(picture, label="Star")
    answer = await world.ann.slash(world.channel, "me")
    shown = fields(answer)
    assert "**48 left**: 2 of 50 pictures today\nAll of it is back <t:" in shown["Allowance"]
    assert "\n-# Exactly 1.5: drafts and small pictures" in shown["Allowance"]
    assert shown["In your history"] == "3 pictures · 1 star"
    assert "Pictures at a time: 2" in shown["Defaults"]
    assert all(len(value) <= 1024 for value in shown.values())
    assert answer.response is not None
    assert labels(answer.response) == ["Change", "Style, remix, language", "Reset"]
    (file,) = answer.response.attachments
    assert (file.description or "").endswith("3 of them today")
    plot = Image.open(io.BytesIO(await file.read(use_cached=True))).convert("RGBA")
    blue = [count for count, pixel in plot.getcolors(2**24) or [] if pixel == (88, 101, 242, 255)]
    assert sum(blue) > 1000  # the bar of today


@pytest.mark.parametrize(
    ("cost", "daily", "today", "left"),
    [
        (0.0, 50.0, "0 of 50 pictures today", 50),
        (3.55, 50.0, "4 of 50 pictures today", 46),
        (4.000000001, 50.0, "4 of 50 pictures today", 46),
        (0.01, 2.5, "1 of 2.5 pictures today", 2),
        (1200.5, 2000.0, "1,201 of 2,000 pictures today", 799),
        (51.0, 50.0, "51 of 50 pictures today", 0),
    ],
)
def test_what_was_used_is_told_in_whole_pictures(
    cost: float, daily: float, today: str, left: int
) -> None:
    usage = Usage(cost, daily, None, 0)
    assert _allowance.today(usage) == today
    assert _allowance.left(usage) == left


async def test_waiting_jobs_fit_into_the_card(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "--never-ready", daily_allowance=0)
    async with world_of(settings, ready=False) as world:
        for _ in range(7):
            request = a_request(prompt="*" * 500)
            submission = a_submission(world.ann.id, request=request)
            await world.parts.jobs.add(submission, cost=1, limits=NO_LIMITS)
        shown = fields(await world.ann.slash(world.channel, "me"))
        assert len(shown["Waiting"]) <= 1024
        assert shown["Waiting"].count("running") >= 3
        assert "there is no limit" in shown["Allowance"]
