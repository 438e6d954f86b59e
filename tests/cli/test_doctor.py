"""The doctor says what is there, what is missing and how to get it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.doctor import (
    PERMISSIONS,
    Finding,
    _discord_findings,
    _disk_finding,
    _model_finding,
    invite_link,
)
from engine.settings import Settings
from playground import Playground


async def findings(settings: Settings) -> list[Finding]:
    return [finding async for finding in _discord_findings(settings)]


async def test_a_good_token_gives_the_invite_link() -> None:
    async with Playground() as discord:
        settings = Settings(discord_token=discord.token, discord_api_base=discord.api_base)
        found = await findings(settings)
        assert all(finding.ok for finding in found)
        link = found[-1].text
        assert f"client_id={discord.world.application_id}" in link
        assert f"permissions={PERMISSIONS}" in link
        assert "applications.commands" in link


async def test_a_wrong_token_and_a_missing_one_must_be_mended() -> None:
    async with Playground() as discord:
        wrong = Settings(discord_token="wrong.to.ken", discord_api_base=discord.api_base)
        [finding] = await findings(wrong)
    assert finding.ok is False
    assert "wrong.to.ken" not in finding.text
    [finding] = await findings(Settings())
    assert finding.ok is False
    assert "discord.com/developers" in finding.text


async def test_no_network_is_said_plainly() -> None:
    settings = Settings(discord_token="a.b.c", discord_api_base="http://127.0.0.1:9/api/v10")
    [finding] = await findings(settings)
    assert finding.ok is False
    assert "cannot be reached" in finding.text


def test_a_folder_that_cannot_be_made_must_be_mended(tmp_path: Path) -> None:
    assert _disk_finding(tmp_path / "new" / "data").ok in (True, None)
    assert not (tmp_path / "new").exists()
    file = tmp_path / "file"
    file.write_text("")
    assert _disk_finding(file / "data").ok is False


@pytest.mark.parametrize("model", ["pocket", "auto"])
def test_the_model_is_named(model: str) -> None:
    finding = _model_finding(Settings(model=model), has_gpu=False)
    assert finding.ok
    assert "pocket" in finding.text


def test_a_hub_model_is_announced_as_a_download() -> None:
    finding = _model_finding(Settings(model="someone/model"), has_gpu=True)
    assert finding.ok is None
    assert "someone/model" in finding.text


def test_the_guide_has_the_same_invite_link() -> None:
    guide = Path(__file__).parents[2] / "docs" / "operating.md"
    assert f" {invite_link('APPLICATION_ID')}\n" in guide.read_text()
