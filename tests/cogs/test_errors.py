"""Every error has words, and nobody sees a traceback."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import discord
import pytest
from discord import app_commands

import engine.protocol  # its error belongs to the tree, too
from cogs import _errors
from engine import errors


def tree(cls: type[errors.EngineError]) -> Iterator[type[errors.EngineError]]:
    yield cls
    for child in cls.__subclasses__():
        yield from tree(child)


def made(cls: type[errors.EngineError]) -> errors.EngineError:
    """An error of the class, with arguments that fit."""
    values = {
        "waiting": 3,
        "limit": 4,
        "message": "The <@1> option is *wrong*.",
        "retry_at": datetime(2030, 1, 1, tzinfo=UTC),
    }
    if not inspect.isfunction(cls.__init__):
        return cls(values["message"])
    parameters = inspect.signature(cls).parameters.values()
    return cls(*(values[one.name] for one in parameters if one.name in values))


@pytest.mark.parametrize(
    "cls", [c for c in tree(errors.EngineError) if c is not errors.EngineError]
)
def test_every_engine_error_has_words(cls: type[errors.EngineError]) -> None:
    if cls.__module__.startswith("tests"):
        pytest.skip("made by a test")
    text = _errors.find(made(cls))
    assert text is not None, f"{cls.__name__} has no words"
    assert text.endswith((".", ">."))
    assert len(text) < 300
    assert "<@1>" not in text
    assert "Traceback" not in text


def test_text_of_a_refusal_is_shown_escaped() -> None:
    text = _errors.words(errors.InvalidRequestError("No sampler @everyone."))
    assert text == r"No sampler \@everyone."


def test_quota_says_when_to_try_again() -> None:
    when = datetime(2030, 1, 1, tzinfo=UTC)
    text = _errors.words(errors.QuotaExceededError("You have used 50 of 50.", when))
    assert text == f"You have used 50 of 50. You can try again <t:{int(when.timestamp())}:R>."
    never = _errors.words(errors.QuotaExceededError("Too large.", None))
    assert never == "Too large."


def test_unexpected_error_is_logged_once_with_the_reference_that_is_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        text = _errors.words(ZeroDivisionError("secret detail"), "/imagine")
    (record,) = caplog.records
    reference = text.split("`")[1]
    assert reference in record.getMessage()
    assert record.exc_info is not None
    assert "secret" not in text


@pytest.mark.parametrize(
    "error",
    [
        app_commands.CheckFailure("x"),
        app_commands.NoPrivateMessage(),
        app_commands.MissingPermissions(["manage_messages"]),
        app_commands.CommandNotFound("x", []),
        app_commands.CommandOnCooldown(app_commands.Cooldown(1, 1), 1.0),
    ],
)
def test_errors_of_discord_py_have_words(error: Exception) -> None:
    assert _errors.find(error) is not None


class Response:
    """What discord.py reads of an HTTP response."""

    status = 404
    reason = "Not Found"


@pytest.mark.parametrize("code", [10062, 40060])
def test_interaction_that_ended_needs_no_answer(code: int) -> None:
    error = discord.NotFound(Response(), {"code": code, "message": "x"})  # type: ignore[arg-type]
    assert _errors.is_stale(error)
    assert not _errors.is_stale(
        discord.NotFound(Response(), {"code": 10003, "message": "x"})  # type: ignore[arg-type]
    )


def test_protocol_error_is_part_of_the_tree() -> None:
    assert engine.protocol.ProtocolError in set(tree(errors.EngineError))
