"""The REST front: parses requests, checks tokens, limits and faults, answers JSON, records all."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from aiohttp import BodyPartReader, web

from playground.errors import ApiError, Unauthorized
from playground.faults import (
    Asked,
    Fault,
    FaultHook,
    Limited,
    Phase,
    Refused,
    Reset,
    no_faults,
)
from playground.messages import Upload
from playground.model import Json
from playground.ratelimits import RateLimits, Verdict
from playground.recorder import Recorder
from playground.world import World

BASE = "/api/v10"
_BODY_BUDGET = 120 * 1024 * 1024


@dataclass
class Call:
    """One REST request, parsed."""

    path: dict[str, str]
    query: dict[str, str]
    body: Any = None
    uploads: list[Upload] = field(default_factory=list)

    def number(self, name: str) -> int:
        """A path parameter as an id."""
        return int(self.path[name])


# What a handler gives back: JSON to send with 200, or None for 204.
Handler = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True)
class Route:
    """A method and path template with its handler and rate-limit bucket."""

    method: str
    path: str
    handler: Handler
    bucket: str | None = None
    auth: bool = True
    # Interactions and webhooks do not count against the bot's global limit.
    is_global: bool = True


class Api:
    """Registers routes and wraps every handler in what all requests share."""

    def __init__(self, world: World, recorder: Recorder, limits: RateLimits, token: str) -> None:
        self._world = world
        self._recorder = recorder
        self._limits = limits
        self.token = token
        self.faults: FaultHook = no_faults
        # Errors of the loopback itself, so that a test fails on them instead of seeing a 500.
        self.bugs: list[Exception] = []

    def register(self, app: web.Application, routes: list[Route]) -> None:
        for route in routes:
            path = re.sub(r"\{(\w+_id)\}", r"{\1:\\d+}", BASE + route.path)
            app.router.add_route(route.method, path, self._wrap(route))
        app.router.add_route("*", BASE + "/{tail:.*}", self._unknown)

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        body = {"message": "404: Not Found", "code": 0}
        self._recorder.add(
            "request", method=request.method, path=request.path, status=404, response=body
        )
        return _json(404, body)

    def _wrap(self, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            started = self._world.clock.monotonic()
            status, answer, headers, call, fault = await self._run(route, request)
            note: Json = {
                "method": route.method,
                "path": route.path,
                "params": {k: v for k, v in request.match_info.items() if k != "token"},
                "query": dict(request.query),
                "status": status,
                "ms": round((self._world.clock.monotonic() - started) * 1000, 3),
                "request": call.body if call else None,
                "files": _described(call.uploads) if call else [],
                "response": answer,
                **({"fault": fault} if fault else {}),
            }
            if isinstance(answer, Reset):
                note["status"], note["response"] = 0, "connection reset"
                self._recorder.add("request", **note)
                _reset(request)
                return web.Response(status=500)
            self._recorder.add("request", **note)
            return _json(status, answer, headers)

        return handle

    async def _run(
        self, route: Route, request: web.Request
    ) -> tuple[int, Any, dict[str, str], Call | None, Phase | None]:
        """Handles one request; returns status, answer, headers, what was parsed, and when it was failed."""
        call: Call | None = None
        verdict = Verdict(True, {})
        try:
            if route.auth and request.headers.get("Authorization") != f"Bot {self.token}":
                raise Unauthorized
            call = await parse(request)
            verdict = self._limits.take(
                route.bucket, major(request.match_info), counts_globally=route.is_global
            )
            if not verdict.passed:
                return *_limited(verdict), call, None
            asked = Asked(route.method, route.path, call.path, call.body)
            fault = await self.faults(asked, "before")
            if fault is not None:
                return *_failed(fault), call, "before"
            answer = await route.handler(call)
            fault = await self.faults(asked, "after")
            if fault is not None:
                return *_failed(fault), call, "after"
        except Unauthorized:
            return 401, {"message": "401: Unauthorized", "code": 0}, {}, call, None
        except ApiError as error:
            return error.status, error.body(), verdict.headers, call, None
        except (ConnectionError, web.HTTPException):
            raise
        except Exception as error:
            self.bugs.append(error)
            raise
        return 204 if answer is None else 200, answer, verdict.headers, call, None


async def parse(request: web.Request) -> Call:
    """Reads a JSON or multipart body.

    Raises:
        ApiError: 50109 for broken JSON, 40005 for too much.
    """
    call = Call(
        {key: unquote(value) for key, value in request.match_info.items()}, dict(request.query)
    )
    if request.content_type.startswith("multipart/"):
        budget = _BODY_BUDGET
        reader = await request.multipart()
        async for part in reader:
            if not isinstance(part, BodyPartReader):
                raise ApiError(50046)
            data = bytearray()
            while chunk := await part.read_chunk():
                data += chunk
                if len(data) > budget:
                    raise ApiError(40005)
            budget -= len(data)
            name = re.fullmatch(r"files?\[?(\d*)\]?", part.name or "")
            if part.name == "payload_json":
                call.body = _load(bytes(data))
            elif name:
                index = int(name[1] or 0)
                call.uploads.append(Upload(index, part.filename or "unknown", bytes(data)))
    else:
        raw = await request.read()
        if raw:
            call.body = _load(raw)
    return call


def _load(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        raise ApiError(50109) from None


def major(path: Any) -> str:
    """The part of a path that has a bucket of its own: channel, server or webhook token."""
    return "+".join(str(path[key]) for key in ("channel_id", "guild_id", "token") if key in path)


def _limited(verdict: Verdict) -> tuple[int, Any, dict[str, str]]:
    body = {
        "message": "You are being rate limited.",
        "retry_after": verdict.retry_after_s,
        "global": verdict.is_global,
    }
    headers = verdict.headers | {
        "Retry-After": str(int(verdict.retry_after_s) + 1),
        "X-RateLimit-Scope": "global" if verdict.is_global else "user",
    }
    return 429, body, headers


def _failed(fault: Fault) -> tuple[int, Any, dict[str, str]]:
    if isinstance(fault, Reset):
        return 0, fault, {}
    if isinstance(fault, Refused):
        error = ApiError(fault.code)
        return error.status, error.body(), {}
    if isinstance(fault, Limited):
        if not fault.via:
            return 429, "<html>error code: 1015</html>", {}
        return _limited(Verdict(False, {}, fault.retry_after_s, is_global=fault.is_global))
    page = f"<html>{fault.code}</html>" if fault.page is None else fault.page
    return fault.code, page, {}


def _json(status: int, answer: Any, headers: dict[str, str] | None = None) -> web.Response:
    # Without "Via" discord.py takes a 429 for a ban by Cloudflare.
    named = dict(headers or {})
    if not (status == 429 and isinstance(answer, str)):
        named["Via"] = "1.1 google"
    if status == 204:
        return web.Response(status=204, headers=named)
    if isinstance(answer, str):
        return web.Response(status=status, text=answer, content_type="text/html", headers=named)
    # discord.py compares the type exactly, so no charset may follow it.
    named["Content-Type"] = "application/json"
    body = json.dumps(answer, ensure_ascii=False).encode()
    return web.Response(status=status, body=body, headers=named)


def _reset(request: web.Request) -> None:
    """Ends the connection with RST instead of FIN."""
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _described(uploads: list[Upload]) -> list[Json]:
    return [
        {
            "index": upload.index,
            "filename": upload.filename,
            "size": len(upload.data),
            "sha256": hashlib.sha256(upload.data).hexdigest(),
        }
        for upload in uploads
    ]
