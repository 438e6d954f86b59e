"""The log keeps secrets out and cannot be forged."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from cli.logs import SafeFormatter, set_up_logging
from engine.errors import StartError
from engine.settings import Settings


def formatted(message: str, *args: object, secrets: tuple[str, ...] = (), exc: bool = False) -> str:
    info = sys.exc_info() if exc else None
    record = logging.LogRecord("easel", logging.INFO, __file__, 1, message, args, info)
    return SafeFormatter(secrets).format(record)


def test_message_cannot_start_a_new_line_or_colour_the_terminal() -> None:
    line = formatted("prompt: %s", "a cat\n2026-01-01 ERROR easel: forged\x1b[31m\u2028x")
    assert "\n" not in line
    assert "\x1b" not in line
    assert "\u2028" not in line
    assert "a cat\\n2026-01-01" in line


def test_secrets_are_blanked_in_message_and_traceback() -> None:
    try:
        raise ValueError("token s3cret-value")
    except ValueError:
        text = formatted("with %s", "s3cret-value", secrets=("s3cret-value", ""), exc=True)
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
