"""Discord's host of attachments, on this machine, and pictures to attach."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from PIL import Image

if TYPE_CHECKING:
    from tests.cogs.conftest import World


@dataclass
class Cdn:
    """Discord's host of attachments."""

    base: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    anything: bytes | None = None  # at every other address
    asked: int = 0
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def hosts(self) -> tuple[str, ...]:
        """What `Settings.attachment_hosts` has to name."""
        return (self.base.removeprefix("http://"),)

    async def serve(self, request: web.Request) -> web.Response:
        self.asked += 1
        self.was_asked.set()
        await self.may_answer.wait()
        data = self.files.get(request.match_info["name"], self.anything)
        return web.Response(status=404) if data is None else web.Response(body=data)

    def stand_in(self, world: World) -> None:
        """Serves what people attach in this world."""
        backend = world.env.backend.cdn
        store = backend.store_attachment

        def stored(attachment_id: int, channel_id: int, name: str, data: bytes, *rest: Any) -> Any:
            payload = store(attachment_id, channel_id, name, data, *rest)
            self.files[str(attachment_id)] = data
            return payload | {"url": f"{self.base}/{attachment_id}?ex=1&hm=2"}

        backend.store_attachment = stored


@pytest.fixture
async def cdn() -> AsyncIterator[Cdn]:
    served = Cdn()
    served.may_answer.set()
    app = web.Application()
    app.router.add_get("/{name:.+}", served.serve)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(shutdown_timeout=0.1)
    served.base = f"http://127.0.0.1:{server.port}"
    yield served
    served.may_answer.set()
    await server.close()


def photo(width: int = 120, height: int = 60, **options: Any) -> tuple[str, bytes]:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 80, 40)).save(file, "PNG", **options)
    return "photo.png", file.getvalue()
