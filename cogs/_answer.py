"""Answers an interaction within Discord's 3 seconds, however slow the work behind it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from typing import TypeVar

import aiohttp
import discord
from discord.utils import MISSING

from cogs import _errors

log = logging.getLogger(__name__)

DEFER_AFTER_S = 1.0  # the rest of the 3 s is for Discord's own way to us and back

_T = TypeVar("_T")


async def in_time(interaction: discord.Interaction, work: Awaitable[_T], *, ephemeral: bool) -> _T:
    """Returns the result of the work, or raises its error; defers the answer when it is slow.

    The work goes on when deferring fails: what was asked is done, only the answer is lost.
    """

    async def settle() -> tuple[_T | None, Exception | None]:
        try:
            return await work, None
        except Exception as error:  # not handled: raised again below, outside of the task group
            return None, error

    async with asyncio.TaskGroup() as group:
        task = group.create_task(settle())
        done, _ = await asyncio.wait((task,), timeout=DEFER_AFTER_S)
        if not done and not interaction.response.is_done():
            await _defer(interaction, ephemeral)
    result, error = task.result()
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # None only when the work returned None


async def answer(
    interaction: discord.Interaction,
    content: str | None = None,
    *,
    ephemeral: bool,
    view: discord.ui.View | None = None,
    embed: discord.Embed | None = None,
    files: Sequence[discord.File] = (),
) -> int | None:
    """Sends the answer, or fills in the deferred one, and returns its message id if known.

    Raises:
        discord.HTTPException: See `_errors.is_stale` for the harmless ones.
    """
    if not interaction.response.is_done():
        response = await interaction.response.send_message(
            content,
            ephemeral=ephemeral,
            view=view or MISSING,
            embed=embed or MISSING,
            files=files or MISSING,
        )
        return response.message_id
    message = await interaction.edit_original_response(
        content=content,
        view=view or MISSING,
        embed=embed or MISSING,
        attachments=files or MISSING,
    )
    return message.id


async def answer_once(
    interaction: discord.Interaction,
    content: str,
    *,
    ephemeral: bool,
    view: discord.ui.View | None = None,
) -> int | None:
    """Sends the answer like `answer`; after a try of unknown outcome looks for it before another.

    Raises:
        discord.HTTPException: There is no answer, as far as can be known.
        aiohttp.ClientError, OSError: The same.
    """
    try:
        return await answer(interaction, content, ephemeral=ephemeral, view=view)
    except (discord.DiscordServerError, aiohttp.ClientError, OSError) as error:
        log.info("interaction %s: answered or not: %r", interaction.id, error)
    except discord.HTTPException as error:
        if error.code != _errors.ALREADY_ANSWERED:  # discord.py had tried twice, or it came twice
            raise
    try:
        return (await interaction.original_response()).id
    except (discord.NotFound, discord.ClientException):
        return await answer(interaction, content, ephemeral=ephemeral, view=view)


async def _defer(interaction: discord.Interaction, ephemeral: bool) -> None:
    try:
        await interaction.response.defer(ephemeral=ephemeral, thinking=True)
    except (discord.HTTPException, discord.InteractionResponded, aiohttp.ClientError, OSError) as e:
        level = logging.INFO if _errors.is_stale(e) else logging.WARNING
        log.log(level, "interaction %s could not be deferred: %s", interaction.id, e)
