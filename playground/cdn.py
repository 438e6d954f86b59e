"""The loopback's CDN: signed attachment links, avatars, and 404 for what was deleted."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from urllib.parse import quote

from aiohttp import web

from playground import pictures
from playground.model import Attachment, User
from playground.world import World

LINK_LIFETIME_S = 24 * 3600.0


def safe_name(name: str) -> str:
    """A file name as Discord keeps it: no folders, spaces as underscores, plain characters."""
    name = re.split(r"[/\\]", name)[-1].strip().replace(" ", "_")
    return re.sub(r"[^A-Za-z0-9._-]", "", name)[-200:].lstrip(".") or "unknown"


class Cdn:
    """Stores attachments' bytes and serves them under links that expire."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._key = secrets.token_bytes(16)
        self._attachments: dict[int, Attachment] = {}
        self.base = ""

    def store(
        self,
        channel_id: int,
        filename: str,
        data: bytes,
        *,
        description: str | None = None,
        ephemeral: bool = False,
    ) -> Attachment:
        filename = safe_name(filename)
        attachment = Attachment(
            self._world.new_id(),
            channel_id,
            filename,
            data,
            pictures.content_type(filename),
            self._world.clock.time(),
            description=description,
            ephemeral=ephemeral,
        )
        size = pictures.size_of(data) if attachment.content_type.startswith("image/") else None
        if size is not None:
            attachment.width, attachment.height = size
        self._attachments[attachment.id] = attachment
        return attachment

    def remove(self, attachments: list[Attachment]) -> None:
        """Makes the files' links answer 404."""
        for attachment in attachments:
            self._attachments.pop(attachment.id, None)

    def url(self, attachment: Attachment) -> str:
        """A link to the file, signed and valid for a day as Discord's are."""
        folder = "ephemeral-attachments" if attachment.ephemeral else "attachments"
        path = f"{folder}/{attachment.channel_id}/{attachment.id}/{quote(attachment.filename)}"
        now = self._world.clock.time()
        issued, expires = f"{int(now):x}", f"{int(now + LINK_LIFETIME_S):x}"
        return f"{self.base}/{path}?ex={expires}&is={issued}&hm={self._sign(attachment, expires)}&"

    def avatar_url(self, user: User) -> str:
        return f"{self.base}/avatars/{user.id}/{user.avatar}.png?size=256"

    def _sign(self, attachment: Attachment, expires: str) -> str:
        text = f"{attachment.id}:{attachment.filename}:{expires}".encode()
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answers GET of an attachment link."""
        gone = web.Response(status=404, text="This content is no longer available.")
        attachment = self._attachments.get(int(request.match_info["attachment_id"]))
        expires = request.query.get("ex", "")
        if attachment is None:
            return gone
        if attachment.filename != request.match_info["filename"]:
            return gone
        if not hmac.compare_digest(self._sign(attachment, expires), request.query.get("hm", "")):
            return gone
        if int(expires, 16) < self._world.clock.time():
            return gone
        return web.Response(
            body=attachment.data,
            headers={"Content-Type": attachment.content_type, "Cache-Control": "private"},
        )

    async def serve_avatar(self, request: web.Request) -> web.StreamResponse:
        """Answers GET of an avatar: a flat picture in the person's colour."""
        user = self._world.users.get(int(request.match_info["user_id"]))
        if user is None or user.avatar != request.match_info["avatar"]:
            return web.Response(status=404)
        try:
            side = min(512, max(16, int(request.query.get("size", "128"))))
        except ValueError:
            side = 128
        body = pictures.flat_png(pictures.colour_of(user.name), side)
        return web.Response(body=body, content_type="image/png")

    def routes(self) -> list[web.RouteDef]:
        tail = r"/{channel_id:\d+}/{attachment_id:\d+}/{filename}"
        return [
            web.get("/attachments" + tail, self.serve),
            web.get("/ephemeral-attachments" + tail, self.serve),
            web.get(
                r"/avatars/{user_id:\d+}/{avatar:[0-9a-f]+}.{ext:png|webp|jpg}", self.serve_avatar
            ),
        ]
