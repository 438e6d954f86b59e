"""The lists of words that prompts may not have: what `/admin safety words` does."""

from __future__ import annotations

import io
import re

import discord

from cogs import _answer, _authority, _counts, _text
from cogs._desk import desk_of
from cogs._language import N_, t
from engine.errors import InvalidRequestError
from engine.moderation import EVERYWHERE

ADD, REMOVE, LIST = "add", "remove", "list"
SERVER, ALL = "server", "everywhere"

NO_WORDS = N_(
    "Say which: words or phrases with commas between them, `*` at the end for any ending."
)
ADDED = N_("{words} more on the list of this server, which has {total} now.")
ADDED_ALL = N_("{words} more on the list for all servers and DMs, which has {total} now.")
REMOVED = N_("{words} fewer on the list of this server, which has {total} now.")
REMOVED_ALL = N_("{words} fewer on the list for all servers and DMs, which has {total} now.")
LISTED = N_(
    "This server's list has {total}. They are found in upper and lower case, with accents, spaces or "
    "invisible characters in between, and with letters that only look the same."
)
LISTED_ALL = N_("The list for all servers and DMs has {total}.")

_SHOWN = 1200  # characters; a longer list is a file
_SEPARATORS = re.compile(r"[,;\n]")


async def run(interaction: discord.Interaction, action: str, words: str | None, scope: str) -> None:
    """Changes or shows the list of this server, or the one for all of them.

    Raises:
        RequestError: The person may not do this, or a word cannot be used.
    """
    guild_id = await list_of(interaction, scope)
    if action == LIST:
        await _show(interaction, guild_id)
        return
    given = [word.strip() for word in _SEPARATORS.split(words or "") if word.strip()]
    if not given:
        raise InvalidRequestError(NO_WORDS)
    moderation, actor_id = desk_of(interaction).parts.moderation, interaction.user.id
    if action == ADD:
        work = moderation.add(guild_id, given, actor_id=actor_id)
        template = ADDED if guild_id else ADDED_ALL
    else:
        work = moderation.remove(guild_id, given, actor_id=actor_id)
        template = REMOVED if guild_id else REMOVED_ALL
    count = await _answer.in_time(interaction, work, ephemeral=True)
    total = _counts.words(len(moderation.words(guild_id)))
    text = t(template, words=_counts.words(count), total=total)
    await _answer.answer(interaction, text, ephemeral=True)


async def list_of(interaction: discord.Interaction, scope: str) -> int:
    """Returns whose list is meant.

    Raises:
        NotAllowedError: It is not for this person to change or see.
    """
    if scope == ALL:
        await _authority.require_owner(interaction)
        return EVERYWHERE
    return _authority.require_manager(interaction)


async def _show(interaction: discord.Interaction, guild_id: int) -> None:
    words = desk_of(interaction).parts.moderation.words(guild_id)
    text = t(LISTED if guild_id else LISTED_ALL, total=_counts.words(len(words)))
    shown = ", ".join(_text.shown(word, 100) for word in words)
    if words and len(shown) <= _SHOWN:
        text = f"{text}\n||{shown}||"
    files = []
    if len(shown) > _SHOWN:
        files.append(discord.File(io.BytesIO("\n".join(words).encode()), "words.txt"))
    await _answer.answer(interaction, text, ephemeral=True, files=files)
