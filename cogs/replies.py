"""Replies: people answer a picture, or mention the bot beside one, and get a new picture.

It needs no privileged intent. Discord shows the bot what a message says when the message mentions
it (a reply with the ping on does), in DMs, and never otherwise.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import Any, Protocol, cast

import discord
from discord.ext import commands

from cogs import _errors, _flags, _gate, _remix, _sources, _text, _wishes
from cogs._buttons import JobButton, Press
from cogs._by_message import ByMessage
from cogs._desk import Desk
from cogs._language import N_, of_place, speak, t
from cogs._options import Options
from cogs._sources import Source
from engine.errors import InvalidRequestError, NotAllowedError
from engine.types import Generation

log = logging.getLogger(__name__)

HOW_TO = N_(
    "I cannot see what you replied: Discord shows it to me only with the ping. Reply again with "
    "**@ ON** beside the text field, or open the picture's menu, Apps, **Remix this**."
)
SAY_WHAT = N_(
    "Reply with what the new picture should show, with `+words` or `-words` to change the prompt, or "
    "with a picture to remix."
)
USAGE = N_(
    "Mention me with a picture and what it should become, or reply to one of mine. "
    "From words alone, /imagine makes a picture."
)
ONLY_MINE = N_("That works with pictures that I made. Reply to one of them, or use /remix.")
ONE_FILE = N_("I took {name}; the other files of your message are not used. Send one at a time.")
PUBLIC = N_(
    "You have set your pictures to be private, and everybody sees a reply. "
    "Use /remix instead, or change that with /settings."
)
NO_PRIVATE = N_("Everybody sees a reply. For a private picture use /remix with private:True.")

_HINT_EVERY_S = 3600.0  # to one person; most replies without a ping are only chat
_HINTED = 1000
_REMEMBERED = 1000  # messages; the gateway may deliver one again
_KINDS = (discord.MessageType.default, discord.MessageType.reply)


class _Bot(Protocol):
    desk: Desk


class Replies(commands.Cog):
    """Listens for messages to the bot."""

    def __init__(self, bot: Any) -> None:
        """Takes the bot."""
        self._client = cast("discord.Client", bot)
        self._desk = cast("_Bot", bot).desk
        self._seen: dict[int, None] = {}
        self._hinted: dict[int, float] = {}

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        """Does what the message asks for, if it is for the bot; every error becomes words."""
        own = self._client.user
        if own is None or message.author.bot or message.webhook_id or message.type not in _KINDS:
            return
        quoted = _quoted(message)
        is_mine = quoted is not None and quoted.author.id == own.id
        is_mentioned = any(user.id == own.id for user in message.mentions)
        is_unknown = quoted is None and _is_reply(message)
        is_sent = message.guild is None  # whatever is written in a DM is for the bot
        if not (is_mine or is_mentioned or is_unknown or is_sent) or message.id in self._seen:
            return
        self._desk.handlers.note_this()
        self._seen[message.id] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        asked = ByMessage(self._client, message, quoted if is_mine else None)
        interaction = asked.cast_of()
        speak(of_place(interaction))
        try:
            about = await self._about(message, quoted)
            if is_mine or is_mentioned or is_sent or about is not None:
                await self._take(interaction, message, about, is_mentioned=is_mentioned)
        except Exception as error:  # the top of every reply
            await _errors.refuse(interaction, error)

    async def _about(
        self, message: discord.Message, quoted: discord.Message | None
    ) -> Source | None:
        """Returns what the message is a reply to, when that is a picture."""
        own_id = self._own_id()
        if quoted is not None:
            return await _sources.of_message(self._desk, quoted, own_id)
        reference = message.reference
        if reference is None or reference.message_id is None or not _is_reply(message):
            return None
        # Discord did not say what it is: deleted, or too old.
        generation = await self._desk.parts.history.by_message(reference.message_id)
        return Source(generation) if generation is not None else None

    async def _take(
        self,
        interaction: discord.Interaction,
        message: discord.Message,
        about: Source | None,
        *,
        is_mentioned: bool,
    ) -> None:
        own_id = self._own_id()
        sent = _sources.picture_in(message.attachments)
        wish = _wishes.read(message.content, own_id, JobButton.actions)
        if wish is None:
            if sent is None:
                return
            wish = _wishes.Wish()
        is_result = about is not None and about.generation is not None
        if (turned_away := _gate.refusal(interaction)) is not None:
            # Everybody sees the answer to a message, so it comes seldom.
            if self._may_hint(message.author.id):
                raise turned_away
            return
        if sent is None and not wish.text and wish.action is None:
            if is_mentioned or message.guild is None:
                await _errors.say(interaction, t(SAY_WHAT if about is not None else USAGE))
            elif is_result and self._may_hint(message.author.id):
                await _errors.say(interaction, t(HOW_TO))
            return
        if sent is None and wish.action is not None:
            if about is None or about.generation is None:
                raise InvalidRequestError(ONLY_MINE)
            await self._press(interaction, message, about.generation, wish)
            return
        if sent is not None:
            kept = about.generation if about is not None else None
            if kept is not None and kept.deleted_at is not None:
                kept = None  # its picture is not needed, its prompt is gone with it
            source = _sources.attached(sent, kept)
        elif about is not None:
            source = dataclasses.replace(about, index=wish.index)
        else:
            self._refuse_none(message, own_id)
            return
        await self._remix(interaction, source, wish.text)
        if len(message.attachments) > 1:
            used = _text.shown(sent.filename, 100) if sent is not None else ""
            await _errors.say(interaction, t(ONE_FILE, name=used))

    def _refuse_none(self, message: discord.Message, own_id: int) -> None:
        """Raises what to say to a message without a picture; nothing to plain chat."""
        quoted = _quoted(message)
        if quoted is not None and quoted.author.id != own_id:
            raise InvalidRequestError(_sources.NO_PICTURE)
        is_addressed = str(own_id) in message.content or message.guild is None
        if is_addressed and message.reference is None:
            raise InvalidRequestError(USAGE)

    async def _press(
        self,
        interaction: discord.Interaction,
        message: discord.Message,
        generation: Generation,
        wish: _wishes.Wish,
    ) -> None:
        """Does what the button of that name does."""
        action = wish.action or ""
        _ = Source(generation, wish.index).sha256  # there is such a picture
        if interaction.message is None and message.reference is not None:
            await self._look_up(interaction, message.reference)
        await JobButton.actions[action](interaction, Press(generation.id, action, wish.index))

    async def _look_up(
        self, interaction: discord.Interaction, reference: discord.MessageReference
    ) -> None:
        channel = interaction.channel
        if reference.message_id is None or not isinstance(channel, discord.abc.Messageable):
            return
        try:
            interaction.message = await channel.fetch_message(reference.message_id)
        except (discord.NotFound, discord.Forbidden):
            log.info("%s: the message it is about cannot be read", interaction.id)

    async def _remix(self, interaction: discord.Interaction, source: Source, text: str) -> None:
        preferences = self._desk.parts.people.preferences(interaction.user.id)
        if preferences.private and interaction.guild_id is not None:
            raise NotAllowedError(PUBLIC)
        options, private = _flags.read(Options(prompt=text))
        if private and interaction.guild_id is not None:
            raise NotAllowedError(NO_PRIVATE)
        generation = source.generation
        if generation is not None and isinstance(options.prompt, str):
            made = generation.request
            old = (made.prompt, str(options.negative or made.negative_prompt))
            if (edited := _remix.edited(options.prompt, *old)) is not None:
                options = dataclasses.replace(options, prompt=edited[0], negative=edited[1] or None)
        weight = options.image_weight
        strength = _remix.own_strength(self._desk, interaction.user.id, weight)
        await _remix.place(interaction, self._desk, source, options, strength=strength)

    def _may_hint(self, person_id: int) -> bool:
        now = time.monotonic()
        last = self._hinted.get(person_id)
        if last is not None and now - last < _HINT_EVERY_S:
            return False
        self._hinted.pop(person_id, None)
        self._hinted[person_id] = now
        if len(self._hinted) > _HINTED:
            del self._hinted[next(iter(self._hinted))]
        return True

    def _own_id(self) -> int:
        assert self._client.user is not None
        return self._client.user.id


def _is_reply(message: discord.Message) -> bool:
    """True for replies; a forwarded message is none."""
    reference = message.reference
    return reference is not None and reference.type is discord.MessageReferenceType.default


def _quoted(message: discord.Message) -> discord.Message | None:
    """Returns the message that it replies to, as far as Discord shows it."""
    resolved = message.reference.resolved if message.reference and _is_reply(message) else None
    return resolved if isinstance(resolved, discord.Message) else None


async def setup(bot: Any) -> None:
    """Adds the cog; called by discord.py."""
    await bot.add_cog(Replies(bot))
