"""The log keeps secrets out and cannot be forged."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from cli.logs import SafeFormatter, set_up_logging
from engine.errors import StartError
from engine.secrecy import secrets_of
from engine.settings import Settings


def formatted(message: str, *args: object, secrets: tuple[str, ...] = (), exc: bool = False) -> str:
    info = sys.exc_info() if exc else None
    record = logging.LogRecord("easel", logging.INFO, __file__, 1, message, args, info)
    return SafeFormatter(secrets).format(record)


def test_message_cannot_start_a_new_line_or_colour_the_terminal() -> None:
    forged = "\n2026-01-01 00:00:00,000 ERROR   easel: forged"
    for hostile in (
        forged,
        f"\r{forged}",
        "\x1b[31m",
        "\x9b31m",
        "\x85x",
        "\u2028x",
        "\x00",
        "\x7f",
    ):
        line = formatted("prompt: %s", f"a cat{hostile}")
        assert line.isprintable(), hostile
        assert "prompt: a cat\\" in line


def test_message_cannot_turn_the_reading_direction_or_hide_letters() -> None:
    for hostile in "\u202e\u202d\u2066\u2067\u2069\u200b\u200f\u061c\ufeff\U000e0041\ud800":
        line = formatted("file %s", f"a{hostile}gnp.exe")
        assert hostile not in line
        assert "\\u" in line.lower()
    assert formatted("prompt: %s", "ein Föhn, 猫 🦊").endswith("prompt: ein Föhn, 猫 🦊")


def test_secrets_are_blanked_in_message_and_traceback() -> None:
    try:
        raise ValueError("token s3cret-value")
    except ValueError:
        text = formatted("with %s", "s3cret-value", secrets=("s3cret-value",), exc=True)
    assert "s3cret-value" not in text
    assert text.count("***") >= 2  # message, exception, and the source line that raised it
    assert "ValueError" in text


def test_interaction_tokens_in_addresses_are_blanked() -> None:
    text = formatted("POST /api/v10/webhooks/123/aW50ZXJhY3Rpb24-x_y/messages/@original failed")
    assert "/webhooks/123/***/messages/@original" in text
    text = formatted("POST /interactions/9/aW50ZXJ/callback")
    assert "/interactions/9/***/callback" in text


def test_traceback_keeps_its_lines() -> None:
    try:
        raise ValueError("x")
    except ValueError:
        text = formatted("failed", exc=True)
    assert len(text.splitlines()) > 3


def test_text_of_an_error_cannot_begin_a_line() -> None:
    forged = "2026-01-01 00:00:00,000 ERROR   easel: forged"
    try:
        raise ValueError(f"x\n{forged}\r\x1b[31m\u202e")
    except ValueError:
        first, *rest = formatted("failed", exc=True).split("\n")
    assert first.isprintable()
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
    assert any(forged in line for line in rest)


def test_what_is_secret_is_found_in_environment_and_settings() -> None:
    settings = Settings(discord_token=SecretStr("discord-canary"))
    environ = {
        "HF_TOKEN": "hub-canary",
        "AWS_SECRET_ACCESS_KEY": "aws-canary",
        "MY_PASSWORD": "pass-canary",
        "TOKENIZERS_PARALLELISM": "no-secret-at-all",
        "HOME": "/home/operator",
        "SOME_TOKEN": "short",
    }
    secrets = secrets_of(environ, settings)
    assert set(secrets) == {"discord-canary", "hub-canary", "aws-canary", "pass-canary"}
    for text in (*secrets, "Bearer abc.def", "hf_" + "a1B2" * 5, "http://me:word@proxy.example:80"):
        line = formatted("it says %s", f"'{text}'", secrets=secrets)
        assert text not in line
        assert "***" in line
    assert "https://huggingface.co/a/b:c" in formatted("https://huggingface.co/a/b:c")


@pytest.mark.parametrize("name", ["file/easel.log", "folder"])
def test_log_file_that_cannot_be_written_stops_the_start_with_a_sentence(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    before = logging.getLogger().handlers[:]
    with pytest.raises(StartError, match="EASEL_LOG_FILE"):
        set_up_logging(Settings(log_file=tmp_path / name))
    assert logging.getLogger().handlers == before
