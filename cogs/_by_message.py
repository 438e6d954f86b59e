"""A message that asks for something, in the shape of an interaction.

What buttons and commands do takes an interaction. A reply in a channel means the same, so it comes in
the same shape: answers become replies to it, and what an interaction would tell the asker alone
becomes a reply that mentions the asker alone. There is no deadline, no form and nothing private.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import discord
from discord.utils import MISSING

from cogs import _language, _text
from cogs._language import N_
from engine.errors import NotAllowedError

NO_FORMS = N_("That needs a form, which a reply cannot open. Use the button below the picture.")


class ByMessage:
    """One message; `cast_of` gives it as the interaction that it stands for."""

    type = discord.InteractionType.application_command
    command = None
    custom_id = "a message"

    def __init__(
        self, client: discord.Client, asked: discord.Message, on: discord.Message | None = None
    ) -> None:
        """Sends nothing yet; `on` is the message of ours that it is about."""
        self.client = client
        self.id = asked.id
        self.origin = f"message:{asked.id}"  # delivered twice, it causes one thing
        self.user = asked.author
        self.channel = asked.channel
        self.channel_id = asked.channel.id
        self.guild = asked.guild
        self.guild_id = asked.guild.id if asked.guild is not None else None
        self.message = on
        self.response = _Response(self)
        self.followup = _Followup(self)
        self._asked = asked
        self._answer: discord.Message | None = None
        self._sent = 0

    @property
    def locale(self) -> str:
        """That of the person's Discord as a command or button has said it, or else the server's."""
        if (known := _language.heard(self.user.id)) is not None:
            return known
        return str(self.guild.preferred_locale) if self.guild is not None else _language.ENGLISH

    @property
    def permissions(self) -> discord.Permissions:
        """What the person may do here."""
        return self._permissions_of(self.user)

    @property
    def app_permissions(self) -> discord.Permissions:
        """What the bot may do here."""
        if self.guild is None:
            return discord.Permissions.text()
        return self._permissions_of(self.guild.me, unknown=discord.Permissions.all())

    @property
    def filesize_limit(self) -> int:
        """Bytes of one file here."""
        if self.guild is None:
            return discord.utils.DEFAULT_FILE_SIZE_LIMIT_BYTES
        return self.guild.filesize_limit

    def cast_of(self) -> discord.Interaction[Any]:
        """Returns this for code that takes interactions."""
        return cast("discord.Interaction[Any]", self)

    async def original_response(self) -> discord.Message:
        """Returns the answer. Raises discord.ClientException when there is none yet."""
        if self._answer is None:
            raise discord.ClientException("not answered yet")
        return self._answer

    async def edit_original_response(
        self,
        *,
        content: str | None = MISSING,
        view: discord.ui.View | None = MISSING,
        embed: discord.Embed | None = MISSING,
        attachments: Sequence[discord.File] = MISSING,
        allowed_mentions: discord.AllowedMentions | None = None,
    ) -> discord.Message:
        """Edits the answer."""
        message = await self.original_response()
        changes: dict[str, Any] = {
            "content": content,
            "view": view,
            "embed": embed,
            "attachments": attachments,
        }
        given = {name: value for name, value in changes.items() if value is not MISSING}
        if allowed_mentions is not None:
            given["allowed_mentions"] = allowed_mentions
        self._answer = await message.edit(**given)
        return self._answer

    async def delete_original_response(self) -> None:
        """Deletes the answer; before there is one, the message that this is about, as a button's."""
        if self._answer is not None:
            answer, self._answer = self._answer, None
            await answer.delete()
        elif self.message is not None:
            await self.message.delete()

    async def reply(
        self,
        content: str | None,
        *,
        for_asker: bool,
        files: Sequence[discord.File] = MISSING,
        view: discord.ui.View = MISSING,
        embed: discord.Embed = MISSING,
    ) -> discord.Message:
        """Sends a reply; one that is for the asker mentions the asker, and none mentions others."""
        pinged: list[discord.abc.Snowflake] = []
        if for_asker:
            mention = f"<@{self.user.id}>"
            room = _text.MAX_CONTENT - len(mention) - 1
            content = f"{mention} {content[:room]}" if content else mention
            pinged.append(self.user)
        optional: dict[str, Any] = {
            "reference": self._reference(),
            "files": list(files or ()),
            "view": view,
            "embed": embed,
        }
        message = await self.channel.send(
            content,
            nonce=f"{self.id}:{self._sent}",  # a second try makes no second message
            allowed_mentions=discord.AllowedMentions(
                everyone=False, roles=False, replied_user=False, users=pinged
            ),
            **{name: value for name, value in optional.items() if value},
        )
        self._sent += 1
        return message

    def _reference(self) -> discord.MessageReference | None:
        """Returns what a reply refers to; None where the bot may not reply, but only write."""
        if not self.app_permissions.read_message_history:
            return None
        return self._asked.to_reference(fail_if_not_exists=False)

    async def answer(self, content: str | None, *, for_asker: bool, **rest: Any) -> discord.Message:
        """Sends a reply that counts as the answer."""
        self._answer = await self.reply(content, for_asker=for_asker, **rest)
        return self._answer

    @property
    def is_answered(self) -> bool:
        """True when an answer was sent."""
        return self._answer is not None

    def _permissions_of(
        self, person: discord.abc.User, unknown: discord.Permissions | None = None
    ) -> discord.Permissions:
        nothing = unknown or discord.Permissions.none()
        channel = self.channel
        if not isinstance(person, discord.Member) or not isinstance(
            channel, discord.abc.GuildChannel | discord.Thread
        ):
            return nothing
        try:
            return channel.permissions_for(person)
        except discord.ClientException:  # a thread whose channel is not known
            return nothing


class _Response:
    """What `discord.Interaction.response` does, by replies."""

    type = discord.InteractionResponseType.channel_message

    def __init__(self, asked: ByMessage) -> None:
        self._asked = asked

    def is_done(self) -> bool:
        return self._asked.is_answered

    async def defer(self, *, ephemeral: bool = False, thinking: bool = False) -> None:
        """Has nothing to do: a message waits as long as it takes."""

    async def send_message(
        self, content: str | None = None, *, ephemeral: bool = False, **parts: Any
    ) -> _Sent:
        return _Sent(await self._asked.answer(content, for_asker=ephemeral, **parts))

    async def edit_message(self, **changes: Any) -> None:
        if self._asked.message is not None:
            await self._asked.message.edit(**changes)

    async def send_modal(self, modal: discord.ui.Modal) -> None:
        raise NotAllowedError(NO_FORMS)


class _Sent:
    """What `InteractionResponse.send_message` returns."""

    def __init__(self, message: discord.Message) -> None:
        self.resource = message
        self.message_id = message.id


class _Followup:
    """What `discord.Interaction.followup` does, by replies."""

    def __init__(self, asked: ByMessage) -> None:
        self._asked = asked

    async def send(
        self, content: str | None = None, *, ephemeral: bool = False, **parts: Any
    ) -> discord.Message:
        return await self._asked.reply(content, for_asker=ephemeral, **parts)
