"""ControlNets and detectors that cannot be used: the real engine says so, its person reads what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cli.props import jumper
from engine.pocket import CONTROLNETS_DIR
from playground import File, Person, Playground
from tests.checker.watched_bot import WatchedBot

pytest.importorskip("torch")
TIMEOUT_S = 120


async def test_a_control_that_cannot_be_loaded_is_told_with_the_next_step(
    discord: Playground, people: Callable[[int], list[Person]], tmp_path: Path
) -> None:
    broken = tmp_path / "openpose"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    nets = f"openpose={broken},canny={CONTROLNETS_DIR / 'canny'}"
    bot = WatchedBot(discord, tmp_path, EASEL_CONTROLNETS=nets, EASEL_DETECTORS=f"pose={broken}")
    (ana,) = people(1)
    async with bot:
        await (await ana.slash("pose", prompt="a man", pose="waving")).acknowledged()
        told = await ana.place.wait_for(
            lambda m: m.pings(ana.user) and "ControlNet" in m.content, timeout_s=TIMEOUT_S
        )
        assert "The ControlNet for openpose cannot be loaded" in told.content
        assert "Choose another control" in told.content
        assert "seed" not in told.content

        picture = File("jump.png", jumper())
        preview = await ana.slash("pose", prompt="a man", image=picture, preview=True)
        refused = await preview.response(timeout_s=TIMEOUT_S)
        assert "What reads this control from pictures does not work here" in refused.content
        options = {"control": "canny", "preview": True}
        preview = await ana.slash("pose", options, prompt="a man", image=picture)
        assert "control map (canny)" in (await preview.response(timeout_s=TIMEOUT_S)).content
    assert "cannot be loaded from" in bot.log()
