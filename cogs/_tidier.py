"""Deletes our messages in Discord whose pictures were erased here, slowly, also after a restart."""

from __future__ import annotations

import asyncio
import logging

import aiohttp
import discord

from cogs import _errors
from storage.privacy import Privacy

log = logging.getLogger(__name__)

_AT_ONCE = 50


class Tidier:
    """Works off the list that erasures leave behind."""

    def __init__(
        self,
        *,
        client: discord.Client,
        privacy: Privacy,
        pause_s: float = 1.1,
        retry_s: float = 60.0,
    ) -> None:
        """Discord allows about one deletion a second in a channel; `retry_s` is after a failure."""
        self._client = client
        self._privacy = privacy
        self._pause_s = pause_s
        self._retry_s = retry_s
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Says that there are new messages to delete."""
        self._woken.set()

    async def add(self, channel_id: int, message_id: int) -> None:
        """Notes a message that came too late for the erasure, and has it deleted."""
        await self._privacy.add_message_to_delete(channel_id, message_id)
        self.wake()

    async def run(self) -> None:
        """Deletes until cancelled; begins with what earlier runs left."""
        while True:
            self._woken.clear()
            try:
                is_done = await self._delete_some()
            except Exception:  # the database fails, for example: the list stays
                log.exception("Messages of an erasure are not deleted yet")
                await asyncio.sleep(self._retry_s)
                continue
            if is_done:
                await self._woken.wait()

    async def _delete_some(self) -> bool:
        """Deletes some messages; True when there are no more."""
        messages = await self._privacy.messages_to_delete(_AT_ONCE)
        for channel_id, message_id in messages:
            if not await self._delete(channel_id, message_id):
                await asyncio.sleep(self._retry_s)
                return False
            await self._privacy.message_deleted(message_id)
            await asyncio.sleep(self._pause_s)
        return not messages

    async def _delete(self, channel_id: int, message_id: int) -> bool:
        """Deletes a message; False when another try may succeed."""
        try:
            channel = self._client.get_partial_messageable(channel_id)
            await channel.get_partial_message(message_id).delete()
        except discord.HTTPException as error:
            if _errors.is_passing(error):
                log.info("Message %d is not deleted yet: %s", message_id, error)
                return False
            log.info("Message %d cannot be deleted: %s", message_id, error)
        except (aiohttp.ClientError, OSError, TimeoutError, discord.RateLimited) as error:
            log.info("Message %d is not deleted yet: %r", message_id, error)
            return False
        return True
