"""Starts the loopback Discord: one HTTP server with REST, gateway and CDN, and the driver's door."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import TracebackType

from aiohttp import web

from playground.api import Api
from playground.cdn import Cdn
from playground.clock import Clock
from playground.commands import CHAT_INPUT, Commands
from playground.errors import NoResponse
from playground.faults import FaultHook
from playground.gateway import INTENTS, Gateway
from playground.interactions import Interactions
from playground.messages import Messages
from playground.payloads import Payloads
from playground.people import Person
from playground.places import GuildHandle
from playground.ratelimits import DEFAULT_LIMITS, Limit, RateLimits
from playground.recorder import Recorder
from playground.routes_application import ApplicationRoutes
from playground.routes_interactions import InteractionRoutes
from playground.routes_messages import MessageRoutes
from playground.world import World

_APPLICATION_FLAGS = {"guild_members": 1 << 15, "message_content": 1 << 19, "presences": 1 << 13}


class Playground:
    """A loopback Discord: `async with Playground() as discord: ...`.

    Args:
        bot_name: the bot's name.
        token: the bot's token; a random one if not given.
        port: where to listen; 0 takes a free port.
        privileged_intents: of "message_content", "guild_members" and "presences", those that are
            switched on for the bot as in Discord's developer portal; asking for others ends in
            close code 4014.
        rate_limits: buckets by name as in `ratelimits.DEFAULT_LIMITS`, None for no limits at all.
        shards: how many shards `/gateway/bot` recommends.
        resume_window_s: how long a session may be resumed after its socket was lost.
        heartbeat_interval_s: what HELLO asks for.
        keep_payloads: whether the recorder keeps answers and events whole.
    """

    def __init__(
        self,
        *,
        bot_name: str = "Easel",
        token: str | None = None,
        port: int = 0,
        privileged_intents: tuple[str, ...] = (),
        rate_limits: Mapping[str, Limit] | None = DEFAULT_LIMITS,
        shards: int = 1,
        resume_window_s: float = 120.0,
        heartbeat_interval_s: float = 41.25,
        keep_payloads: bool = True,
    ) -> None:
        self.tokens = [token or _new_token()]
        self.clock = Clock()
        self.recorder = Recorder(self.clock, keep_payloads=keep_payloads)
        self.world = World(self.clock, bot_name)
        self.cdn = Cdn(self.world)
        self.payloads = Payloads(self.world, self.cdn)
        self.commands = Commands(self.world)
        self.limits = RateLimits(self.clock, rate_limits)
        flags = sum(_APPLICATION_FLAGS[name] for name in privileged_intents)
        self.gateway = Gateway(
            self.world,
            self.payloads,
            self.recorder,
            token=self.token,
            allowed_privileged=sum(INTENTS[name] for name in privileged_intents),
            resume_window_s=resume_window_s,
            heartbeat_interval_s=heartbeat_interval_s,
            application_flags=flags,
        )
        self.messages = Messages(self.world, self.cdn, self.gateway, self.recorder)
        self.interactions = Interactions(
            self.world, self.payloads, self.gateway, self.messages, self.recorder
        )
        self._api = Api(self.world, self.recorder, self.limits, self.token)
        self._application = ApplicationRoutes(
            self.world,
            self.payloads,
            self.gateway,
            self.commands,
            shards=shards,
            flags=flags,
        )
        self._channel_routes = MessageRoutes(
            self.world,
            self.payloads,
            self.gateway,
            self.messages,
            reads_all_content="message_content" in privileged_intents,
        )
        self._wanted_port = port
        self._runner: web.AppRunner | None = None
        self.port = 0
        self.guilds: list[GuildHandle] = []
        self.people: dict[str, Person] = {}

    # Life

    async def __aenter__(self) -> Playground:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()
        if self._api.bugs and error is None:
            raise ExceptionGroup("the loopback itself failed", self._api.bugs)

    async def start(self, extra_routes: Iterable[web.RouteDef] = ()) -> None:
        """Listens on 127.0.0.1; the operator's console adds its own routes."""
        app = web.Application(client_max_size=128 * 1024 * 1024)
        self._api.register(
            app,
            [
                *self._application.routes(),
                *self._channel_routes.routes(),
                *InteractionRoutes(self.interactions, self.payloads).routes(),
            ],
        )
        app.router.add_routes(self.cdn.routes())
        app.router.add_get("/gateway", self.gateway.handle)
        app.router.add_get("/gateway/", self.gateway.handle)
        app.router.add_routes(extra_routes)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._wanted_port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.cdn.base = f"http://127.0.0.1:{self.port}"
        self.gateway.url = f"ws://127.0.0.1:{self.port}/gateway"

    async def stop(self) -> None:
        """Closes every connection and stops listening."""
        self.clock.stop()
        await self.gateway.drop(code=1001)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # What a bot is told

    @property
    def token(self) -> str:
        """The bot's token; `tokens` has those of before a reset, too."""
        return self.tokens[-1]

    @property
    def api_base(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v10"

    @property
    def gateway_url(self) -> str:
        return self.gateway.url

    @property
    def cdn_base(self) -> str:
        return self.cdn.base

    def env(self) -> dict[str, str]:
        """The environment variables that point Easel at this server."""
        return {
            "DISCORD_TOKEN": self.token,
            "EASEL_DISCORD_API_BASE": self.api_base,
            "EASEL_DISCORD_GATEWAY_URL": self.gateway_url,
            "EASEL_ATTACHMENT_HOSTS": f"127.0.0.1:{self.port}",
        }

    # Setting the scene

    def guild(self, name: str, *, bot_installed: bool = True, premium_tier: int = 0) -> GuildHandle:
        """Makes a server; without the bot in it, the bot is only there as a person's own app."""
        guild = self.world.add_guild(name, bot_installed=bot_installed, premium_tier=premium_tier)
        handle = GuildHandle(self, guild)
        self.guilds.append(handle)
        if bot_installed:
            body = self.payloads.guild(guild)
            self.gateway.dispatch(
                "GUILD_CREATE", lambda _: body, guild_id=guild.id, intent=INTENTS["guilds"]
            )
        return handle

    def person(self, name: str) -> Person:
        """A person by name; made when new, in no server yet."""
        if name not in self.people:
            user = self.world.add_user(name.lower().replace(" ", "_"), name)
            self.people[name] = Person(self, user)
        return self.people[name]

    @property
    def operator(self) -> Person:
        """The owner of the application and of every server."""
        person = Person(self, self.world.owner)
        if self.guilds and self.guilds[0].channels:
            person.place = self.guilds[0].channels[0]
        return person

    async def reset_token(self) -> None:
        """Gives the bot a new token; the old one is refused everywhere, and its sockets are closed."""
        self.tokens.append(_new_token())
        self._api.token = self.token
        await self.gateway.change_token(self.token)

    # Watching the bot

    async def ready(self, timeout_s: float = 15.0) -> None:
        """Waits until a bot is on the gateway."""
        await self._until("gateway", lambda: bool(self.gateway.connected), timeout_s, "no bot")

    async def offline(self, timeout_s: float = 15.0) -> None:
        """Waits until no bot is on the gateway."""
        await self._until(
            "gateway", lambda: not self.gateway.connected, timeout_s, "the bot is still there"
        )

    async def reconnected(
        self, cause: Callable[[], Awaitable[None] | None], timeout_s: float = 15.0
    ) -> None:
        """Cuts the bot's line by `cause` and waits until it is back on another one."""
        before = {session.connection for session in self.gateway.connected}
        if (cutting := cause()) is not None:
            await cutting

        def is_back() -> bool:
            return bool({one.connection for one in self.gateway.connected} - before)

        await self._until("gateway", is_back, timeout_s, "the bot is not back")

    async def synced(self, *names: str, timeout_s: float = 15.0) -> None:
        """Waits until the bot has registered these slash commands globally (or any at all)."""

        def check() -> bool:
            if not names:
                return bool(self.commands.listed(None))
            return all(self.commands.find(CHAT_INPUT, name, None) for name in names)

        await self._until("commands", check, timeout_s, f"commands missing of {names}")

    async def _until(
        self, topic: str, check: Callable[[], bool], timeout_s: float, complaint: str
    ) -> None:
        if check():
            return
        try:
            await self.world.signals.wait(topic, lambda _: True if check() else None, timeout_s)
        except TimeoutError:
            raise NoResponse(f"{complaint} after {timeout_s:g} s") from None

    # Faults

    @property
    def faults(self) -> FaultHook:
        """The hook asked before and after each REST request; see `playground.faults`."""
        return self._api.faults

    @faults.setter
    def faults(self, hook: FaultHook) -> None:
        self._api.faults = hook


def _new_token() -> str:
    return ".".join(secrets.token_urlsafe(size) for size in (18, 5, 28))
