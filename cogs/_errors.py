"""Turns every error into one sentence for the person who met it; the only place that does.

`words` looks a class up along its MRO. A `RequestError` speaks for itself (escaped); anything else
gets a fixed sentence. What nobody foresaw is logged once, with its traceback and a short reference
that the person sees too.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable
from datetime import datetime

import aiohttp
import discord
from discord import app_commands

from cogs import _gate, _text
from cogs._desk import desk_of
from cogs._language import N_, speak_to, t, told
from engine.errors import (
    BrokenPictureError,
    DatabaseVersionError,
    DataDirectoryError,
    EngineDiedError,
    EngineError,
    EngineOutOfMemoryError,
    GenerationCancelledError,
    GenerationError,
    JobSetAsideError,
    ModelLoadError,
    NotReleasedError,
    QuotaExceededError,
    RequestError,
    StartError,
    UnsafePictureError,
)
from engine.protocol import ProtocolError
from storage.database import is_of_disk

log = logging.getLogger(__name__)

UNKNOWN_INTERACTION = 10062  # answered too late, or delivered a second time after its end
ALREADY_ANSWERED = 40060
INVALID_TOKEN = 50027
THREAD_ARCHIVED = 50083  # and locked, or a message would open it again

OUTDATED_COMMAND = N_(
    "This command changed a moment ago. Restart Discord (Ctrl+R), or try again in a few minutes."
)
UNEXPECTED = N_(
    "Something went wrong on my side. Try again; if it stays, tell the operator of this bot the "
    "reference `{reference}`."
)

NO_STORAGE = N_(
    "The bot cannot use its storage now. The operator of this bot has to look at the log."
)

NOT_ANSWERED = N_(
    "Discord did not take my answer. Look whether it was done all the same, and try again if not."
)

_MAX_WORDS = 1500

_Words = str | Callable[[BaseException], str]


def stamp(when: datetime, style: str = "R") -> str:
    """Returns a time that every reader sees in their own language and time zone."""
    return discord.utils.format_dt(when, style)  # type: ignore[arg-type]


def _own_words(error: BaseException) -> str:
    # Notes are added in this package, with markup of ours.
    return " ".join([_text.shown(told(error), _MAX_WORDS), *getattr(error, "__notes__", ())])


def _quota(error: BaseException) -> str:
    text = _own_words(error)
    if isinstance(error, QuotaExceededError) and error.retry_at is not None:
        text += " " + t("You can try again {when}.", when=stamp(error.retry_at))
    return text


_TABLE: dict[type[BaseException], _Words] = {
    RequestError: _own_words,
    QuotaExceededError: _quota,
    EngineOutOfMemoryError: N_(
        "This picture does not fit into the memory of the engine. Try a smaller "
        "size, fewer pictures or a lower quality."
    ),
    BrokenPictureError: N_(
        "The model gave a broken picture. Try another seed, a lower guidance or another sampler."
    ),
    JobSetAsideError: N_(
        "The engine broke down twice on this picture, so it was set aside. "
        "Try a smaller size, another sampler or other words."
    ),
    UnsafePictureError: N_(
        "This server shows only pictures that the safety checker finds safe, and this one is not. Try "
        "other words, or another seed."
    ),
    NotReleasedError: N_(
        "The moderators of this server looked at this picture and do not want it shown here."
    ),
    GenerationCancelledError: N_("The job was cancelled."),
    GenerationError: N_("The picture could not be made. Try again, or with another seed."),
    EngineDiedError: N_("The engine stopped and is starting again. Try again in a minute."),
    ModelLoadError: N_(
        "The engine cannot load its model, so no pictures can be made now. "
        "The operator of this bot has to look at the log."
    ),
    DataDirectoryError: NO_STORAGE,
    DatabaseVersionError: N_(
        "The bot cannot use its database now. The operator of this bot has to look at the log."
    ),
    StartError: N_(
        "The bot could not start completely. The operator of this bot has to look at the log."
    ),
    ProtocolError: N_(
        "The engine and the bot do not understand each other. "
        "The operator of this bot has to look at the log."
    ),
    app_commands.CommandNotFound: OUTDATED_COMMAND,
    app_commands.CommandSignatureMismatch: OUTDATED_COMMAND,
    app_commands.TransformerError: N_(
        "One of the options has a value of the wrong kind. Check it and try again."
    ),
    app_commands.NoPrivateMessage: N_("This command works in servers only."),
    app_commands.MissingPermissions: N_("You do not have the permission that this needs."),
    app_commands.BotMissingPermissions: N_("I do not have the permission that this needs here."),
    app_commands.CommandOnCooldown: N_("That was too fast. Try again in a moment."),
    app_commands.CheckFailure: N_("You may not use this here."),
}


def find(error: BaseException) -> str | None:
    """Returns the sentence for the error, or None when nobody foresaw it."""
    for cls in type(error).__mro__:
        entry = _TABLE.get(cls)
        if entry is not None:
            return t(entry) if isinstance(entry, str) else entry(error)
    return None


def words(error: BaseException, doing: str = "") -> str:
    """Returns the sentence for the person; logs the error with a reference when it is unexpected."""
    if isinstance(error, app_commands.CommandInvokeError):
        error = error.original
    text = find(error)
    if text is None and is_of_disk(error):
        log.error("%s failed", doing or "an action", exc_info=error)
        return t(NO_STORAGE)
    if text is None and is_of_connection(error):
        log.warning("%s: Discord did not take the answer: %r", doing or "an action", error)
        return t(NOT_ANSWERED)
    if text is None:
        reference = secrets.token_hex(4)
        log.error("%s failed (reference %s)", doing or "an action", reference, exc_info=error)
        return t(UNEXPECTED, reference=reference)
    if isinstance(error, EngineError) and not isinstance(error, RequestError):
        log.warning("%s: %s: %s", doing or "an action", type(error).__name__, error)
    return text


def is_stale(error: BaseException) -> bool:
    """True when there is nobody left to answer: the interaction ended, or was answered before."""
    return isinstance(error, discord.HTTPException) and error.code in (
        UNKNOWN_INTERACTION,
        ALREADY_ANSWERED,
    )


def is_of_connection(error: BaseException) -> bool:
    """True when a request to Discord failed on its way, or Discord itself did: nothing of ours is wrong."""
    if isinstance(error, discord.HTTPException):
        return is_passing(error)
    return isinstance(error, discord.RateLimited | aiohttp.ClientError | ConnectionError)


def is_unreachable(error: BaseException) -> bool:
    """True when the place is closed to the bot for good: gone, or forbidden.

    Discord's own refusals carry a code; those of a proxy or of its front do not, and pass.
    """
    if not isinstance(error, discord.HTTPException):
        return False
    is_refused = isinstance(error, discord.Forbidden | discord.NotFound) and error.code != 0
    return is_refused or error.code == THREAD_ARCHIVED


def is_passing(error: discord.HTTPException) -> bool:
    """True when the same request may succeed later: it says nothing about the request itself.

    401: the token was reset; the gateway tells so, too, and the next start has another.
    """
    return (
        error.status in (401, 429)
        or error.status >= 500
        or (error.status in (403, 404) and error.code == 0)
    )


async def refuse(interaction: discord.Interaction, error: BaseException) -> None:
    """Tells the person alone what went wrong, whichever way the interaction can still be answered."""
    if isinstance(error, app_commands.CommandInvokeError):
        error = error.original
    doing = _doing(interaction)
    if is_stale(error):
        log.info("%s: nobody left to answer (%s)", doing, error)
        return
    await say(interaction, words(error, doing))


async def say(interaction: discord.Interaction, text: str) -> None:
    """Sends the person an ephemeral sentence, as the answer or after it; never raises for Discord."""
    try:
        if not interaction.response.is_done():
            await interaction.response.send_message(text, ephemeral=True)
            return
        if (
            interaction.response.type
            is not discord.InteractionResponseType.deferred_channel_message
        ):
            await interaction.followup.send(text, ephemeral=True)
            return
        # The first follow-up fills in the "thinking" line, which everybody may see.
        await interaction.edit_original_response(content=_text.ELLIPSIS)
        await interaction.followup.send(text, ephemeral=True)
        await interaction.delete_original_response()
    except discord.HTTPException as error:
        if is_stale(error) or is_unreachable(error):
            log.info("%s: nobody left to answer (%s)", _doing(interaction), error)
        else:
            log.warning("%s: the answer was not sent: %s", _doing(interaction), error)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        log.warning("%s: the answer was not sent: %r", _doing(interaction), error)


def _doing(interaction: discord.Interaction) -> str:
    command = interaction.command
    what = f"/{command.qualified_name}" if command is not None else str(interaction.custom_id)
    return f"{what} (interaction {interaction.id})"


class Tree(app_commands.CommandTree[discord.Client]):
    """The command tree whose errors become words."""

    async def interaction_check(self, interaction: discord.Interaction, /) -> bool:
        """Speaks the person's language from here on; refuses those who were turned away."""
        desk_of(interaction).handlers.note_this()
        speak_to(interaction)
        error = _gate.refusal(interaction)
        if error is None or _gate.is_open(interaction):
            return True
        if interaction.type is discord.InteractionType.autocomplete:
            with contextlib.suppress(discord.HTTPException, aiohttp.ClientError, OSError):
                await interaction.response.autocomplete([])
        else:
            await refuse(interaction, error)
        return False

    async def on_error(
        self, interaction: discord.Interaction, error: app_commands.AppCommandError
    ) -> None:
        """Answers with the error's sentence."""
        await refuse(interaction, error)
