"""A real bot with real storage and queue and a scripted engine process, in a simulated Discord."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import discord
import pytest
from simcord.actors import MemberActor
from simcord.builders import ChannelHandle, GuildHandle
from simcord.enums import AppCommandType
from simcord.env import Env

from cli.parts import Parts, open_parts
from cogs._board import Pace
from cogs._bot import EaselBot
from cogs._delivery import Patience
from engine.errors import RequestError
from engine.model_card import provisional_info
from engine.settings import Settings
from engine.types import EngineInfo, EngineReady
from tests.cogs.cdn import Cdn, cdn  # noqa: F401  # a fixture
from tests.faulty_engine import info_of, parse

SOON_S = 30.0
SETTLED_S = (
    10.0  # below the 15 s for which aiohttp keeps a connection: simcord would wait for its end
)
LOOKING = "Looking at your picture"  # in the first status line of an upload
ENGINE = Path(__file__).parents[1] / "faulty_engine.py"
FAST = Pace(
    running=0.01,
    near=0.01,
    far=0.01,
    refresh=0.05,
    retry=0.05,
    channel_edits=1000,
    channel_period=1.0,
)
ONE_PICTURE = [  # the buttons below it
    *("Vary (Subtle)", "Vary (Strong)", "Remix", "Reroll", "Upscale"),
    *("Zoom 1.5x", "Zoom 2x", "More"),
    *("Info", "Star", "Send to DM", "Delete"),
]
HASTY = Patience(first=0.01, longest=0.05)


class Requests(list[Any]):
    """The record of REST calls, which wakes those who wait for something to happen."""

    def __init__(self, changed: asyncio.Event) -> None:
        super().__init__()
        self._changed = changed

    def append(self, request: Any) -> None:
        super().append(request)
        asyncio.get_running_loop().call_soon(self._changed.set)  # when it has been answered


@dataclass
class World:
    """One server with a channel, Ann and Ben, and the bot."""

    env: Env
    settings: Settings
    process: AsyncExitStack
    parts: Parts
    bot: EaselBot
    state: Path
    guild: GuildHandle
    channel: ChannelHandle
    ann: MemberActor
    ben: MemberActor
    changed: asyncio.Event = field(default_factory=asyncio.Event)  # anything in Discord
    expected: list[type[BaseException]] = field(default_factory=list)  # errors besides refusals
    shown_admin: list[Any] = field(default_factory=list)  # people for whom /admin is not hidden

    def messages(self, channel: ChannelHandle | None = None) -> list[discord.Message]:
        """What everybody sees in the channel, oldest first."""
        return [m for m in (channel or self.channel).history() if not m.flags.ephemeral]

    def results(self, channel: ChannelHandle | None = None) -> list[discord.Message]:
        """Messages with a finished picture."""
        return [m for m in self.messages(channel) if "Reroll" in labels(m)]

    async def until(self, seen: Callable[[], Any], what: str = "") -> Any:
        """Returns what `seen` returns as soon as that is true."""
        try:
            async with asyncio.timeout(SOON_S):
                while not (found := seen()):
                    self.changed.clear()
                    await self.changed.wait()
                return found
        except TimeoutError:
            raise AssertionError(
                f"never: {what}; the channel has {[m.content for m in self.messages()]}"
            ) from None

    async def line(self, text: str) -> Any:
        """Returns the newest message once it contains the text."""

        def seen() -> discord.Message | None:
            return next((m for m in reversed(self.messages()) if text in m.content), None)

        return await self.until(seen, f"a message with {text!r}")

    async def gone(self, message: Any) -> None:
        """Returns when the message was deleted."""
        ids = {message.id}
        await self.until(lambda: not ids & {m.id for m in self.messages()}, "a deleted message")

    async def result(self, number: int = 1, channel: ChannelHandle | None = None) -> Any:
        """Returns the newest finished picture once there are so many and no status lines."""

        def seen() -> list[discord.Message]:
            found = self.results(channel)
            rest = [m for m in self.messages(channel) if _is_status_line(m)]
            return found if len(found) == number and not rest else []

        return (await self.until(seen, f"{number} results"))[-1]

    async def engine_ready(self) -> None:
        """Returns when the engine has loaded."""
        async with asyncio.timeout(SOON_S):
            async for state in self.parts.queue.engine_states():
                if isinstance(state, EngineReady):
                    return

    async def stop(self) -> None:
        """Ends the bot's process as a kill does: nothing is told to anybody."""
        await self.process.aclose()

    async def start(self) -> None:
        """Starts a new process on the same data, in the same Discord."""
        self.parts = await self.process.enter_async_context(parts_of(self.settings))
        self.bot = bot_of(self.parts)
        await self.env.restart_bot(self.bot)
        await self.process.enter_async_context(serving(self.env, self.bot))

    def moderator(self) -> MemberActor:
        """A person who may manage messages."""
        role = self.guild.create_role("mods", permissions=discord.Permissions(manage_messages=True))
        return self.guild.add_member(self.env.create_user("mod"), roles=[role])

    def manager(self, guild: GuildHandle | None = None) -> MemberActor:
        """A person who may manage the server, and owns nothing."""
        guild = guild or self.guild
        role = guild.create_role("managers", permissions=discord.Permissions(manage_guild=True))
        return guild.add_member(self.env.create_user("max"), roles=[role])

    def owner(self) -> MemberActor:
        """An owner of the bot, who is an ordinary member of the server; Discord shows them `/admin`."""
        person = self.guild.add_member(self.env.create_user("olga"))
        self.bot.owner_ids = {*(self.bot.owner_ids or ()), person.id}
        self.show_admin(person)
        return person

    def show_admin(self, *people: MemberActor) -> None:
        """Lets Discord offer `/admin` to people without the permission that it is hidden behind."""
        kind = AppCommandType.CHAT_INPUT
        command = self.env.backend.find_command("admin", self.guild.id, type=kind)
        assert command is not None
        self.shown_admin += people
        self.guild.set_command_permissions(
            int(command["id"]), dict.fromkeys(self.shown_admin, True)
        )

    def go(self) -> None:
        """Lets jobs with `engine:hold` go on."""
        (self.state / "go").touch()


def labels(message: Any) -> list[str]:
    """The labels of a message's buttons."""
    rows = message.components
    buttons: Iterable[Any] = [
        child
        for row in rows
        for child in (row["components"] if isinstance(row, dict) else row.children)
    ]
    return [b["label"] if isinstance(b, dict) else b.label for b in buttons]


def settings_for(tmp_path: Path, *engine: str, **fields: Any) -> Settings:
    """Settings with the scripted engine; `engine` are its options."""
    state = tmp_path / "engine"
    state.mkdir(exist_ok=True)
    command = (sys.executable, str(ENGINE), "--state", str(state), *engine)
    return Settings(data_dir=tmp_path / "data", engine_command=command, model="pocket", **fields)


@asynccontextmanager
async def parts_of(settings: Settings) -> AsyncIterator[Parts]:
    """Opens storage and runs engine and queue."""
    async with open_parts(settings, info=_expected(settings), pace=(1000, 1.0)) as parts:
        parts.models.restore(parts.operation.choice)
        async with running(parts.engine.run(), parts.queue.run(), parts.models.run()):
            yield parts


def _expected(settings: Settings) -> EngineInfo:
    if "--by-settings" in (settings.engine_command or ()):
        return provisional_info(settings)
    return info_of(parse(["--state", "unused"]))


@asynccontextmanager
async def running(*work: Awaitable[None]) -> AsyncIterator[None]:
    """Runs endless tasks for the length of the body."""

    async def endless(one: Awaitable[None]) -> None:
        await one

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(endless(one)) for one in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def _is_status_line(message: discord.Message) -> bool:
    return bool(set(labels(message)) & {"Cancel", "Stop"}) or LOOKING in message.content


@asynccontextmanager
async def world_of(
    settings: Settings, *, ready: bool = True, pace: Pace = FAST
) -> AsyncIterator[World]:
    """Opens everything: the bot's process and, around it, a Discord with a few people."""
    process = AsyncExitStack()
    async with AsyncExitStack() as around:
        parts = await process.enter_async_context(parts_of(settings))
        bot = bot_of(parts, pace)
        env = Env(bot, settle_timeout=SETTLED_S)  # some answers wait for the intake's process
        await env.start()
        around.push_async_callback(env.shutdown)
        around.push_async_callback(process.aclose)
        await process.enter_async_context(serving(env, bot))
        guild = env.create_guild()
        everyone = discord.Permissions(
            view_channel=True,
            send_messages=True,
            attach_files=True,
            read_message_history=True,
            use_application_commands=True,
            send_messages_in_threads=True,
            create_public_threads=True,
        )
        guild._guild.everyone_role.permissions = everyone.value
        world = World(
            env=env,
            settings=settings,
            process=process,
            parts=parts,
            bot=bot,
            state=settings.data_dir.parent / "engine",
            guild=guild,
            channel=guild.create_text_channel("pictures"),
            ann=guild.add_member(env.create_user("ann")),
            ben=guild.add_member(env.create_user("ben")),
        )
        env.backend.http_requests = Requests(world.changed)
        if ready:
            await world.engine_ready()
        yield world
        check_messages(world)
        check_errors(world)


def bot_of(parts: Parts, pace: Pace = FAST) -> EaselBot:
    """A bot that does not wait long for anything."""
    return EaselBot(parts=parts, pace=pace, patience=HASTY, shard_count=1)


@asynccontextmanager
async def serving(env: Env, bot: EaselBot) -> AsyncIterator[None]:
    """Runs the bot's own tasks with simcord's transport, but not as work that has to settle."""
    async with asyncio.TaskGroup() as group:
        with env.time_context():
            task = group.create_task(bot.serve())
        try:
            yield
        finally:
            task.cancel()


def check_errors(world: World) -> None:
    """Nothing was raised but refusals, which simcord sees on their way to becoming words."""
    for error in world.env.errors:
        cause = getattr(error, "original", error)
        assert isinstance(cause, (RequestError, *world.expected)), repr(cause)


def check_messages(world: World) -> None:
    """Every message that the bot sent or edited pings at most one person: its owner."""
    for request in world.env.http_requests:
        body = request.json
        if not isinstance(body, dict) or request.method not in ("POST", "PATCH"):
            continue
        if body.get("type") == discord.InteractionResponseType.modal.value:
            continue  # nobody is pinged by a form
        data = body.get("data") or body
        if not {"content", "embeds", "components"} & data.keys() or "choices" in data:
            continue
        allowed = data.get("allowed_mentions")
        assert allowed is not None, f"{request.method} {request.path} may ping anybody"
        assert not allowed.get("parse"), allowed
        assert not allowed.get("roles"), allowed
        assert not allowed.get("replied_user"), allowed
        users = allowed.get("users", [])
        assert len(users) <= 1, allowed
        content = data.get("content") or ""
        assert all(f"<@{user}>" in content for user in users), data
        assert len(content) <= 2000


@pytest.fixture
async def world(
    tmp_path: Path,
    request: pytest.FixtureRequest,
    cdn: Cdn,  # noqa: F811
) -> AsyncIterator[World]:
    """The world, in which pictures can be attached.

    `@pytest.mark.parametrize("world", [...], indirect=True)` gives engine options.
    """
    options: tuple[str, ...] = getattr(request, "param", ())
    async with world_of(settings_for(tmp_path, *options, attachment_hosts=cdn.hosts)) as opened:
        cdn.stand_in(opened)
        yield opened
