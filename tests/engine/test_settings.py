"""Settings are read as an operator means them, and a wrong one is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.errors import StartError
from engine.settings import Settings, load_settings


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment and a working directory without settings."""
    for name in list(os.environ):
        if name.upper().startswith(("EASEL_", "DISCORD_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


@pytest.mark.parametrize("name", [*Settings.model_fields])
def test_variable_that_is_set_to_nothing_is_as_good_as_none(
    environ: pytest.MonkeyPatch, name: str
) -> None:
    variable = "DISCORD_TOKEN" if name == "discord_token" else f"EASEL_{name.upper()}"
    defaults = Settings()
    environ.setenv(variable, "")
    settings = load_settings()
    if name == "default_negative_prompt":
        assert settings.default_negative_prompt == ""
    else:
        assert settings == defaults


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("EASEL_LOG_LEVEL", "loud", "'DEBUG'"),
        ("EASEL_DTYPE", "fp16", "'float16'"),
        ("EASEL_THREADS", "many", "threads"),
        ("EASEL_DEFAULT_NEGATIVE_PROMPT", "x" * 1501, "1500"),
        ("EASEL_ENGINE_COMMAND", "a 'b", "engine_command"),
    ],
)
def test_wrong_value_is_named_with_what_is_right(
    environ: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    environ.setenv(variable, value)
    with pytest.raises(StartError, match=words):
        load_settings()


def test_file_and_secrets_are_read_and_the_environment_wins(
    environ: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "easel.toml").write_text('model = "a/b"\nper_minute = 3\n')
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "DISCORD_TOKEN").write_text("s3cret\n")
    environ.setenv("EASEL_PER_MINUTE", "7")
    settings = load_settings()
    assert settings.model == "a/b"
    assert settings.per_minute == 7
    assert settings.discord_token is not None
    assert settings.discord_token.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(settings)
    assert "DISCORD_TOKEN" not in settings.engine_environment()
    assert "s3cret" not in str(settings.engine_environment())


@pytest.mark.parametrize("text", ['modle = "pocket"', "model = ", "per_minute = 'many'"])
def test_file_that_cannot_be_used_is_a_sentence(
    environ: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    (tmp_path / "easel.toml").write_text(text)
    with pytest.raises(StartError, match="The settings cannot be"):
        load_settings()
