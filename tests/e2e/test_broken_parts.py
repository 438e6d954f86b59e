"""ControlNets and detectors that cannot be used: the real engine says so, its person reads what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.props import jumper
from engine.pocket import CONTROLNETS_DIR, POSE_DETECTOR_DIR
from playground import File, Person, Playground
from tests.checker.check import check
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


async def test_broken_weights_end_their_own_job_alone(
    discord: Playground, people: Callable[[int], list[Person]], tmp_path: Path
) -> None:
    def spoilt(kind: str, spoil: Callable[[bytes], bytes]) -> Path:
        folder = shutil.copytree(CONTROLNETS_DIR / "canny", tmp_path / kind)
        weights = folder / "diffusion_pytorch_model.safetensors"
        weights.write_bytes(spoil(weights.read_bytes()))
        return folder

    def without_numbers(data: bytes) -> bytes:
        end = 8 + int.from_bytes(data[:8], "little")
        return data[:end] + b"\xff" * (len(data) - end)

    nets = {
        "openpose": spoilt(
            "openpose", lambda data: data[: len(data) // 2]
        ),  # a download that broke off
        "canny": spoilt("canny", lambda data: b"<html>404 Not Found</html>"),
        "lineart": spoilt("lineart", lambda data: b""),
        "scribble": spoilt("scribble", without_numbers),
    }
    pose = shutil.copytree(POSE_DETECTOR_DIR, tmp_path / "pose")
    weights = pose / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    bot = WatchedBot(
        discord,
        tmp_path,
        EASEL_CONTROLNETS=",".join(f"{kind}={path}" for kind, path in nets.items()),
        EASEL_DETECTORS=f"pose={pose}",
        EASEL_MAX_WAITING_PER_PERSON="10",
    )
    ana, ben = people(2)
    drawn = File("map.png", jumper())
    async with bot:
        await ben.slash("imagine", prompt="a red circle", steps=60, count=4)
        await ben.place.wait_for(  # it runs, or is done already on a fast machine
            lambda m: "red circle" in m.content and ("Stop" in m.buttons or m.attachments),
            timeout_s=TIMEOUT_S,
        )
        engine = bot.engine()
        for kind in nets:
            last = ana.place.messages[-1]
            options = {"pose": "waving"} if kind == "openpose" else {"image": drawn}
            asked = await ana.slash("pose", options, prompt=f"a man, {kind}", control=kind)
            await asked.acknowledged()
            told = await ana.place.wait_for(
                lambda m: m.pings(ana.user) and not {"Cancel", "Stop"} & set(m.buttons),
                timeout_s=TIMEOUT_S,
                after=last,
            )
            assert f"The ControlNet for {kind} cannot be loaded" in told.content
            assert not told.attachments
        picture = await ana.slash("pose", prompt="a man", image=drawn, preview=True)
        refused = await picture.wait_for(lambda m: m.content.strip("…"), timeout_s=TIMEOUT_S)
        assert "What reads this control from pictures does not work here" in refused.content
        result = await ben.place.wait_for(
            lambda m: m.attachments and m.pings(ben.user) and "Info" in m.buttons,
            timeout_s=TIMEOUT_S,
        )
        assert len(result.attachments) == 4
        assert bot.engine() == engine, "nothing of this ends the engine"
    for kind in nets:
        assert f"The ControlNet {kind} cannot be loaded from {nets[kind]}" in bot.log()
    assert str(pose) in bot.log()
    await check(bot, has_tracebacks=True)
