"""The gateway: sessions that outlive their sockets, resume with replay, intents and sharding."""

from __future__ import annotations

import asyncio
import importlib
import json
import secrets
import zlib
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from aiohttp import WSCloseCode, WSMsgType, web

from playground.model import Json, Message
from playground.payloads import Payloads
from playground.recorder import Recorder
from playground.world import World

INTENTS = {
    "guilds": 1 << 0,
    "guild_members": 1 << 1,
    "presences": 1 << 8,
    "guild_messages": 1 << 9,
    "guild_reactions": 1 << 10,
    "direct_messages": 1 << 12,
    "direct_reactions": 1 << 13,
    "message_content": 1 << 15,
}
_PRIVILEGED = INTENTS["guild_members"] | INTENTS["presences"] | INTENTS["message_content"]
_REPLAY_LIMIT = 10_000


class Connection:
    """One websocket: an ordered writer with the compression that the client asked for."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        compression: str | None,
    ) -> None:
        self.socket = socket
        self.transport = transport
        self._stream = _compressor(compression)
        self._outbox: asyncio.Queue[str | bytes] = asyncio.Queue()

    def send(self, payload: Json) -> None:
        text = json.dumps(payload, ensure_ascii=False)
        # Compressed here and not in the writer: the stream's order is the order of `send`.
        self._outbox.put_nowait(self._stream(text.encode()) if self._stream else text)

    async def write(self) -> None:
        """Sends what is queued until the socket closes."""
        with suppress(ConnectionError):
            while True:
                item = await self._outbox.get()
                if isinstance(item, str):
                    await self.socket.send_str(item)
                else:
                    await self.socket.send_bytes(item)


def _compressor(name: str | None) -> Callable[[bytes], bytes] | None:
    """A function that compresses one message of a shared stream.

    Raises:
        ValueError: the client wants a compression that this Python does not have.
    """
    if name is None:
        return None
    if name == "zlib-stream":
        stream = zlib.compressobj()
        return lambda data: stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)
    if name == "zstd-stream":
        # discord.py asks for this wherever either module is there.
        for module in ("compression.zstd", "zstandard"):
            with suppress(ImportError):
                zstd = importlib.import_module(module)
                if module == "zstandard":
                    chunker = zstd.ZstdCompressor().compressobj()
                    block = zstd.COMPRESSOBJ_FLUSH_BLOCK
                else:
                    chunker = zstd.ZstdCompressor()
                    block = zstd.ZstdCompressor.FLUSH_BLOCK
                return lambda data: bytes(chunker.compress(data) + chunker.flush(block))
    raise ValueError(f"no compression is called {name!r}")


class Session:
    """What IDENTIFY began: survives its socket so that RESUME can replay what was missed."""

    def __init__(self, intents: int, shard: tuple[int, int]) -> None:
        self.id = secrets.token_hex(16)
        self.intents = intents
        self.shard = shard
        self.seq = 0
        self.sent: deque[Json] = deque(maxlen=_REPLAY_LIMIT)
        self.connection: Connection | None = None
        self.lost_at: float | None = None

    def dispatch(self, event: str, data: Json) -> None:
        self.seq += 1
        payload: Json = {"op": 0, "s": self.seq, "t": event, "d": data}
        self.sent.append(payload)
        if self.connection is not None:
            self.connection.send(payload)

    def handles(self, guild_id: int | None) -> bool:
        """Whether events of that server (None = direct messages) belong to this shard."""
        number, count = self.shard
        return number == (0 if guild_id is None else (guild_id >> 22) % count)


class Gateway:
    """Accepts sockets and delivers events to the sessions that want them."""

    def __init__(
        self,
        world: World,
        payloads: Payloads,
        recorder: Recorder,
        *,
        token: str,
        allowed_privileged: int,
        resume_window_s: float,
        heartbeat_interval_s: float,
        application_flags: int,
    ) -> None:
        self._world = world
        self._payloads = payloads
        self._recorder = recorder
        self._token = token
        self._allowed_privileged = allowed_privileged
        self._resume_window_s = resume_window_s
        self._heartbeat_interval_s = heartbeat_interval_s
        self._application_flags = application_flags
        self.sessions: dict[str, Session] = {}
        self.url = ""

    @property
    def connected(self) -> list[Session]:
        return [session for session in self.sessions.values() if session.connection is not None]

    # Delivery

    def dispatch(
        self,
        event: str,
        build: Callable[[bool], Json],
        *,
        guild_id: int | None,
        intent: int = 0,
    ) -> int:
        """Sends an event to every session of the right shard with the intent; returns how many.

        Args:
            event: Discord's name of it.
            build: makes the data, told whether the session may read everybody's content.
            guild_id: the server it belongs to, None for direct messages.
            intent: the intent bit it needs, 0 for none.
        """
        now = self._world.clock.monotonic()
        reached = 0
        for session in list(self.sessions.values()):
            if session.lost_at is not None and now - session.lost_at > self._resume_window_s:
                del self.sessions[session.id]
                continue
            if not session.handles(guild_id) or (intent and not session.intents & intent):
                continue
            data = build(bool(session.intents & INTENTS["message_content"]))
            session.dispatch(event, data)
            if session.connection is not None:
                reached += 1
            self._recorder.add(
                "gateway",
                direction="out",
                event=event,
                session=session.id,
                delivered=session.connection is not None,
                data=_without_token(data),
            )
        return reached

    def dispatch_message(self, event: str, message: Message) -> None:
        """Sends MESSAGE_CREATE or MESSAGE_UPDATE, each session as its intents allow."""
        # Discord sends ephemeral messages as if they were direct ones (discord/discord-api-docs#4557).
        guild_id = None if message.is_ephemeral else message.guild_id
        self.dispatch(
            event,
            lambda allowed: self._payloads.message(message, content_allowed=allowed, event=True),
            guild_id=guild_id,
            intent=INTENTS["direct_messages" if guild_id is None else "guild_messages"],
        )

    # Faults that a test may cause

    async def drop(self, *, code: int | None = None) -> None:
        """Cuts every socket: with a close code, or like a broken line without one."""
        for session in self.connected:
            connection = session.connection
            if connection is None:
                continue
            if code is None:
                if connection.transport is not None:
                    connection.transport.abort()
            else:
                await connection.socket.close(code=code)

    async def change_token(self, token: str) -> None:
        """Closes every socket; only who knows the new token may identify or resume."""
        self._token = token
        await self.drop(code=4004)

    def ask_reconnect(self) -> None:
        """Sends RECONNECT, as Discord does before it restarts a gateway."""
        for session in self.connected:
            if session.connection is not None:
                session.connection.send({"op": 7, "d": None, "s": None, "t": None})

    def invalidate(self, *, resumable: bool = False) -> None:
        """Sends INVALID_SESSION; what is not resumable is forgotten."""
        for session in self.connected:
            if session.connection is not None:
                session.connection.send({"op": 9, "d": resumable, "s": None, "t": None})
            if not resumable:
                del self.sessions[session.id]

    def replay(self, event: str, matches: Callable[[Json], bool]) -> int:
        """Delivers an already sent event once more to the sessions that had it."""
        count = 0
        for session in list(self.sessions.values()):
            for payload in list(session.sent):
                if payload["t"] == event and matches(payload["d"]):
                    session.dispatch(event, payload["d"])
                    count += 1
                    break
        return count

    # Sockets

    async def handle(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=4096, compress=False, autoping=True)
        await socket.prepare(request)
        try:
            connection = Connection(socket, request.transport, request.query.get("compress"))
        except ValueError:
            await socket.close(code=4002, message=b"Unknown compression")
            return socket
        writer = asyncio.create_task(connection.write())
        interval_ms = int(self._heartbeat_interval_s * 1000)
        connection.send({"op": 10, "d": {"heartbeat_interval": interval_ms}, "s": None, "t": None})
        session: Session | None = None
        self._recorder.add("gateway", direction="open")
        try:
            session = await self._serve(connection)
        finally:
            writer.cancel()
            with suppress(asyncio.CancelledError):
                await writer
            self._recorder.add("gateway", direction="close", code=socket.close_code)
            await socket.close()
            self._world.signals.notify("gateway")
            if session is not None and session.connection is connection:
                session.connection = None
                session.lost_at = self._world.clock.monotonic()
                # Only the client's own clean close ends a session.
                if socket.close_code in (WSCloseCode.OK, WSCloseCode.GOING_AWAY):
                    self.sessions.pop(session.id, None)
                self._world.signals.notify("gateway")
        return socket

    async def _serve(self, connection: Connection) -> Session | None:
        """Reads one socket until it closes; returns the session it carried."""
        socket = connection.socket
        session: Session | None = None
        while True:
            try:
                frame = await socket.receive(timeout=self._heartbeat_interval_s * 1.5)
            except TimeoutError:
                await socket.close(code=4009, message=b"Session timed out")
                return session
            if frame.type is not WSMsgType.TEXT:
                return session
            try:
                payload = json.loads(frame.data)
                op, data = payload["op"], payload.get("d")
            except (ValueError, KeyError, TypeError):
                await socket.close(code=4002, message=b"Error while decoding payload.")
                return session
            if op != 1:
                self._recorder.add("gateway", direction="in", op=op, data=_without_token(data))
            if op == 1:
                connection.send({"op": 11, "d": None, "s": None, "t": None})
            elif op in (2, 6) and session is not None:
                await socket.close(code=4005, message=b"Already authenticated.")
                return session
            elif op == 2:
                session = await self._identify(connection, data)
                if session is None:
                    return None
            elif op == 6:
                session = await self._resume(connection, data)
            elif session is None:
                await socket.close(code=4003, message=b"Not authenticated.")
                return None
            elif op == 8:
                self._send_members(session, data)
            elif op not in (3, 4):
                await socket.close(code=4001, message=b"Unknown opcode.")
                return session

    async def _identify(self, connection: Connection, data: Json) -> Session | None:
        """Starts a session: READY, then one GUILD_CREATE for each server."""
        socket = connection.socket
        if data.get("token") != self._token:
            await socket.close(code=4004, message=b"Authentication failed.")
            return None
        number, count = data.get("shard") or (0, 1)
        if not 0 <= number < count:
            await socket.close(code=4010, message=b"Invalid shard.")
            return None
        intents = data.get("intents")
        if not isinstance(intents, int):
            await socket.close(code=4013, message=b"Invalid intent(s).")
            return None
        if intents & _PRIVILEGED & ~self._allowed_privileged:
            await socket.close(code=4014, message=b"Disallowed intent(s).")
            return None
        session = Session(intents, (number, count))
        session.connection = connection
        self.sessions[session.id] = session
        guilds = [
            guild
            for guild in self._world.guilds.values()
            if guild.bot_installed and session.handles(guild.id)
        ]
        session.dispatch(
            "READY",
            {
                "v": 10,
                "user": self._payloads.user(self._world.bot),
                "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
                "session_id": session.id,
                "resume_gateway_url": self.url,
                "shard": [number, count],
                "application": {
                    "id": str(self._world.application_id),
                    "flags": self._application_flags,
                },
                "private_channels": [],
            },
        )
        if intents & INTENTS["guilds"]:
            for guild in guilds:
                session.dispatch(
                    "GUILD_CREATE", self._payloads.guild(guild) | {"unavailable": False}
                )
        self._world.signals.notify("gateway")
        return session

    async def _resume(self, connection: Connection, data: Json) -> Session | None:
        """Continues a session and replays what its last socket missed."""
        session = self.sessions.get(data.get("session_id", ""))
        now = self._world.clock.monotonic()
        expired = session is not None and (
            session.lost_at is not None and now - session.lost_at > self._resume_window_s
        )
        seq = data.get("seq")
        if data.get("token") != self._token:
            await connection.socket.close(code=4004, message=b"Authentication failed.")
            return None
        if session is None or expired or not isinstance(seq, int):
            connection.send({"op": 9, "d": False, "s": None, "t": None})
            return None
        if seq > session.seq:
            await connection.socket.close(code=4007, message=b"Invalid seq.")
            return None
        session.connection = connection
        session.lost_at = None
        for payload in list(session.sent):
            if payload["s"] > seq:
                connection.send(payload)
        session.dispatch("RESUMED", {})
        self._world.signals.notify("gateway")
        return session

    def _send_members(self, session: Session, data: Json) -> None:
        guild = self._world.guilds.get(int(data.get("guild_id") or 0))
        if guild is None:
            return
        wanted = {int(one) for one in data.get("user_ids") or []}
        query = str(data.get("query") or "").lower()
        members = [
            self._payloads.member(member)
            for member in guild.members.values()
            if (member.user.id in wanted if wanted else member.user.name.startswith(query))
        ]
        chunk: Json = {
            "guild_id": str(guild.id),
            "members": members[: data.get("limit") or None],
            "chunk_index": 0,
            "chunk_count": 1,
            "not_found": [str(one) for one in wanted if one not in guild.members],
        }
        if data.get("nonce"):
            chunk["nonce"] = data["nonce"]
        session.dispatch("GUILD_MEMBERS_CHUNK", chunk)


def _without_token(data: object) -> object:
    """A copy of an event or command for the recorder, without the secret in it."""
    if isinstance(data, dict) and "token" in data:
        return data | {"token": "[token]"}
    return data
