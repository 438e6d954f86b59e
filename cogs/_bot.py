"""The bot: discord.py's client with our parts, its commands, and the tasks that show what happens."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable

import aiohttp
import discord
import yarl
from discord.ext import commands
from discord.gateway import DiscordWebSocket
from discord.http import Route

from cogs import (
    _actions,
    _acts,
    _authority,
    _batch,
    _erasure,
    _errors,
    _exports,
    _forms,
    _held,
    _language,
    _lora_pages,
    _lost_lines,
    _machine,
    _places,
    _pose,
    _pose_form,
    _poses,
    _purging,
    _remake,
    _remix_form,
    _reports,
    _settings,
    _sharing,
    _style_book,
    _unsafe,
)
from cogs._arrivals import Arrivals
from cogs._board import Board, Pace
from cogs._buttons import JobButton
from cogs._delivery import Delivery, Patience
from cogs._desk import Desk, Parts
from cogs._handlers import Handlers
from cogs._lora_files import LoraFiles
from cogs._mod_channel import ModChannel
from cogs._orders import Orders
from cogs._remix_form import Offers
from cogs._resolver import Resolver
from cogs._style_previews import StylePreviews
from cogs._tidier import Tidier
from engine.settings import Settings
from storage.safety import Classifier

log = logging.getLogger(__name__)

EXTENSIONS = (
    "cogs.imagine",
    "cogs.remix",
    "cogs.replies",
    "cogs.upscale",
    "cogs.inpaint",
    "cogs.pose",
    "cogs.menus",
    "cogs.styles",
    "cogs.history",
    "cogs.queue",
    "cogs.me",
    "cogs.settings",
    "cogs.admin",
    "cogs.privacy",
    "cogs.help",
)
ACTIONS = (
    _actions.ACTIONS
    | _remake.ACTIONS
    | _remix_form.ACTIONS
    | _sharing.ACTIONS
    | _exports.ACTIONS
    | _settings.ACTIONS
    | _places.ACTIONS
    | _style_book.ACTIONS
    | _lora_pages.ACTIONS
    | _pose.ACTIONS
    | _pose_form.ACTIONS
    | _poses.ACTIONS
    | _batch.ACTIONS
    | _erasure.ACTIONS
    | _machine.ACTIONS
    | _acts.ACTIONS
    | _purging.ACTIONS
    | _reports.ACTIONS
    | _held.ACTIONS
)
FORMS = (
    _settings.FORMS
    | _places.FORMS
    | _remix_form.FORMS
    | _pose.FORMS
    | _pose_form.FORMS
    | _reports.FORMS
)

_SYNC_AT_START_S = 5.0
_OWNERS_S = 900.0  # a person who left the application's team may act for so long
_MAX_RATELIMIT_TIMEOUT_S = 60.0  # a longer sleep inside discord.py would hide what is going on
_UNREACHABLE = (
    aiohttp.ClientError,
    OSError,
    discord.DiscordServerError,
    discord.GatewayNotFound,
    discord.RateLimited,
)


class EaselBot(commands.AutoShardedBot):
    """Answers people; the work is done by the parts it is given.

    The owner of the process runs `start` and, beside it, `serve`.
    """

    def __init__(
        self,
        *,
        parts: Parts,
        pace: Pace | None = None,
        patience: Patience | None = None,
        shard_count: int | None = None,
    ) -> None:
        """Connects nothing yet; `pace` and `patience` are for the tests."""
        use_endpoints(parts.settings)
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            tree_cls=_errors.Tree,
            intents=intents(),
            allowed_mentions=discord.AllowedMentions.none(),
            max_messages=None,
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            max_ratelimit_timeout=_MAX_RATELIMIT_TIMEOUT_S,
            shard_count=shard_count,
        )
        self._facts = parts.facts
        self._has_own_gateway = parts.settings.discord_gateway_url is not None
        self._logged_in = asyncio.Event()
        self._are_commands_sent = False
        self._patience = patience or Patience()
        previews = StylePreviews(parts)
        board = Board(
            client=self,
            queue=parts.queue,
            jobs=parts.jobs,
            pace=pace,
            may_preview=lambda place: _unsafe.mode_of(self, parts, place) is Classifier.OFF,
        )
        tidier = Tidier(client=self, privacy=parts.privacy, retry_s=self._patience.longest)
        self.desk = Desk(
            parts=parts,
            board=board,
            orders=Orders(queue=parts.queue, jobs=parts.jobs, pictures=parts.pictures, board=board),
            tidier=tidier,
            mod_channel=ModChannel(
                client=self, parts=parts, tidier=tidier, retry_s=self._patience.longest
            ),
            arrivals=Arrivals(client=self, parts=parts, board=board),
            offers=Offers(),
            lora_files=LoraFiles(settings=parts.settings, styles=parts.styles),
            previews=previews,
            handlers=Handlers(),
        )
        self._delivery = Delivery(
            client=self,
            parts=parts,
            board=board,
            previews=previews,
            tidier=tidier,
            mod_channel=self.desk.mod_channel,
            patience=self._patience,
        )

    async def login(self, token: str) -> None:
        """Logs in, as soon as Discord can be reached."""

        async def attempt() -> None:
            await self.http.close()  # with its connector, when there was a try before
            self.http.connector = aiohttp.TCPConnector(limit=0, resolver=Resolver())
            await super(EaselBot, self).login(token)

        await self._when_reachable(attempt)

    async def launch_shards(self) -> None:
        """Asks for the gateway and connects to it, as soon as Discord can be reached."""

        async def attempt() -> None:
            if self._has_own_gateway and not self.shard_count:  # None before the first time
                # When discord.py has to ask for the number of shards, it also takes the address
                # from the answer.
                self.shard_count, _, _ = await self.http.get_bot_gateway()
            await super(EaselBot, self).launch_shards()

        await self._when_reachable(attempt)

    async def setup_hook(self) -> None:
        """Loads the commands and buttons, and tells Discord about commands that changed."""
        assert self.application is not None  # the login asked for it
        self.owner_ids = _authority.owners_of(self.application)
        JobButton.actions = ACTIONS
        self.add_dynamic_items(JobButton)
        await self.desk.lora_files.sweep()
        _language.load()
        await self.tree.set_translator(_language.Translator())
        for extension in EXTENSIONS:
            await self.load_extension(extension)
        # Mostly there is nothing to send. When Discord is slow, people should not wait for it to
        # get answers from commands that it knows already.
        try:
            async with asyncio.timeout(_SYNC_AT_START_S):
                self._are_commands_sent = await self._sync_commands()
        except TimeoutError:
            log.warning("Discord takes long to accept the commands, trying again later")
        self._logged_in.set()

    async def serve(self) -> None:
        """Keeps status lines and delivers results until cancelled; waits for the login first."""
        await self._logged_in.wait()
        jobs, board = self.desk.parts.jobs, self.desk.board
        without_line = await _lost_lines.left_behind(jobs)
        async with self.desk.lora_files, asyncio.TaskGroup() as group:
            group.create_task(self.desk.board.run(), name="status lines")
            adopting = _lost_lines.adopt(self, jobs, board, without_line)
            group.create_task(adopting, name="lost status lines")
            group.create_task(self._delivery.run(), name="deliveries")
            group.create_task(self.desk.arrivals.run(), name="attached pictures")
            group.create_task(self.desk.previews.run(), name="previews of styles")
            group.create_task(self._sync_later(), name="commands")
            group.create_task(self._look_after_owners(), name="owners")
            group.create_task(self.desk.tidier.run(), name="messages of erasures")
            group.create_task(self.desk.mod_channel.run(), name="messages to moderators")

    async def close(self) -> None:
        """Ends the connection after the answers that are on their way, and with it every other one."""
        await self.desk.handlers.finish()
        await super().close()
        await self.desk.handlers.cancel()

    async def on_interaction(self, interaction: discord.Interaction, /) -> None:
        """Takes forms; discord.py itself takes commands and buttons."""
        await _forms.submitted(interaction, FORMS)

    async def on_message(self, message: discord.Message, /) -> None:
        """Does nothing: there are no commands by message; `cogs.replies` listens by itself."""

    async def _when_reachable(self, attempt: Callable[[], Awaitable[None]]) -> None:
        """Tries again without end: a machine may start before its network, or during an outage."""
        for pause in self._patience.pauses():
            try:
                await attempt()
                return
            except aiohttp.InvalidURL:
                raise
            except _UNREACHABLE as error:
                what = f"{type(error).__name__}: {error}"
                log.warning("Discord cannot be reached, next try in %.0f s (%s)", pause, what)
            await asyncio.sleep(pause)

    async def _look_after_owners(self) -> None:
        """Follows changes of the application's team; those known stay when Discord does not answer."""
        while True:
            await asyncio.sleep(_OWNERS_S)
            try:
                self.owner_ids = _authority.owners_of(await self.application_info())
            except (discord.HTTPException, discord.RateLimited, aiohttp.ClientError, OSError) as e:
                log.info("The owners of the application are not known anew: %r", e)

    async def _sync_later(self) -> None:
        for pause in self._patience.pauses():
            if self._are_commands_sent:
                return
            await asyncio.sleep(pause)
            self._are_commands_sent = await self._sync_commands()

    async def _sync_commands(self) -> bool:
        """Uploads the commands when they differ from what this application got last.

        Returns False when it is worth another try. A failure is logged: Discord keeps the commands
        of before.
        """
        key = f"commands:{self.application_id}"
        translator = self.tree.translator
        assert translator is not None  # set before
        payload = [
            await command.get_translated_payload(self.tree, translator)
            for command in self.tree.get_commands()
        ]
        payload.sort(key=lambda command: (command["type"], command["name"]))
        text = json.dumps(payload, sort_keys=True, ensure_ascii=False)
        digest = hashlib.sha256(text.encode()).hexdigest()
        if await self._facts.get(key) == digest:
            return True
        try:
            synced = await self.tree.sync()
        except (discord.RateLimited, aiohttp.ClientError, OSError) as error:
            log.warning("The commands are not sent to Discord yet: %r", error)
            return False
        except (discord.HTTPException, discord.app_commands.AppCommandError) as error:
            log.exception("The commands could not be sent to Discord; the old ones stay in use")
            return not (isinstance(error, discord.HTTPException) and error.status >= 500)
        log.info("Sent %d commands to Discord", len(synced))
        try:
            await self._facts.set(key, digest)
        except Exception:  # a full disk must not keep the bot from answering
            log.exception(
                "It cannot be noted that Discord has them: the next start sends them again"
            )
        return True


def intents() -> discord.Intents:
    """Returns what the gateway should send: no privileged intent, and nothing that is not used."""
    wanted = discord.Intents.none()
    wanted.guilds = True
    wanted.guild_messages = True
    wanted.dm_messages = True
    return wanted


def use_endpoints(settings: Settings) -> None:
    """Points discord.py to another Discord than the real one, when the settings name one."""
    if settings.discord_api_base is not None:
        Route.BASE = settings.discord_api_base.rstrip("/")
        discord.Asset.BASE = str(yarl.URL(Route.BASE).origin())  # avatars
    if settings.discord_gateway_url is not None:
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(settings.discord_gateway_url)
