"""The operator's web page at `/`: type commands, upload pictures and press buttons as a person."""

from __future__ import annotations

import asyncio
import json
from importlib import resources
from typing import TYPE_CHECKING, Any

from aiohttp import BodyPartReader, web

from playground import rules
from playground.commands import CHAT_INPUT, MESSAGE_MENU
from playground.conversation import entries, names, picture_file
from playground.errors import ClientRefused, NoResponse
from playground.forms import fields
from playground.invocation import Invocation
from playground.model import Channel, Json, Message
from playground.options import ATTACHMENT, CHANNEL, GROUP, SUBCOMMAND, USER, File
from playground.page import messages_html, reader, stylesheet
from playground.people import Person
from playground.places import ChannelHandle

if TYPE_CHECKING:
    from playground.server import Playground

_SHOWN = 100
_UPLOAD_BUDGET = 110 * 1024 * 1024


class Console:
    """Serves the page and turns what is done there into a person's doings."""

    def __init__(self, discord: Playground) -> None:
        self._discord = discord
        self._open_forms: dict[int, Invocation] = {}
        self._viewers: set[asyncio.Event] = set()
        discord.recorder.listeners.append(self._changed)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.page),
            web.get("/console/state", self.state),
            web.get("/console/live", self.live),
            web.get("/console/files/{name}", self.file),
            web.post("/console/act", self.act),
        ]

    async def page(self, request: web.Request) -> web.Response:
        source = (resources.files("playground") / "assets" / "console.html").read_text("utf-8")
        return web.Response(
            text=source.replace("/* page.css */", stylesheet()), content_type="text/html"
        )

    def _changed(self, record: Json) -> None:
        for viewer in self._viewers:
            viewer.set()

    def _check_origin(self, request: web.Request) -> None:
        """Only the page itself may act: other sites in the same browser could reach this port."""
        here = (f"http://127.0.0.1:{self._discord.port}", f"http://localhost:{self._discord.port}")
        if request.headers.get("Origin", here[0]) not in here:
            raise web.HTTPForbidden(text="Open the console itself.")

    async def live(self, request: web.Request) -> web.StreamResponse:
        """Says "changed" whenever something happened; the page then asks for the state."""
        self._check_origin(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        event = asyncio.Event()
        self._viewers.add(event)

        async def tell() -> None:
            while True:
                await event.wait()
                event.clear()
                await socket.send_str("changed")

        task = asyncio.create_task(tell())
        try:
            async for _ in socket:
                pass
        finally:
            self._viewers.discard(event)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return socket

    async def file(self, request: web.Request) -> web.Response:
        """A file of a living message, by the name that `picture_file` gives it."""
        wanted = "files/" + request.match_info["name"]
        for channel in self._discord.world.channels.values():
            for message in channel.messages.values():
                for attachment in [] if message.is_deleted else message.attachments:
                    if picture_file(attachment) == wanted:
                        return web.Response(
                            body=attachment.data,
                            headers={
                                "Content-Type": attachment.content_type,
                                "X-Content-Type-Options": "nosniff",
                                "Content-Security-Policy": "sandbox",
                            },
                        )
        raise web.HTTPNotFound

    # What the page shows

    async def state(self, request: web.Request) -> web.Response:
        person = self._person(request.query.get("person"))
        place = self._place(person, request.query.get("channel"))
        listed = entries(self._discord, place.channel, viewer=person.user, last=_SHOWN)
        body = {
            "people": list(self._discord.people),
            "person": person.name,
            "channel": str(place.id),
            "channels": [
                {"id": str(one.id), "name": one.name, "kind": _kind(one)}
                for one in self._places(person)
            ],
            "bot": self._discord.world.bot.display_name,
            "bot_online": bool(self._discord.gateway.connected),
            "commands": self._commands(person, place.channel),
            "menus": self._menus(place.channel),
            "log": messages_html(
                listed, reader(names(self._discord)), base="/console/", with_gone=False
            ),
        }
        return web.json_response(body)

    def _person(self, name: str | None) -> Person:
        people = self._discord.people
        return people.get(name or "") or next(iter(people.values()))

    def _places(self, person: Person) -> list[ChannelHandle]:
        own = [
            place
            for guild in self._discord.guilds
            if person.id in guild.guild.members
            for place in guild.channels
            if not place.channel.deleted
        ]
        return [*own, person.dm]

    def _place(self, person: Person, channel_id: str | None) -> ChannelHandle:
        places = self._places(person)
        return next((one for one in places if str(one.id) == channel_id), places[0])

    def _commands(self, person: Person, channel: Channel) -> list[Json]:
        """Every command line that can be typed here, subcommands spelled out."""
        found: list[Json] = []
        for command in self._discord.commands.visible(channel.guild_id):
            if command["type"] != CHAT_INPUT:
                continue
            try:
                rules.offered(self._discord, person.user, CHAT_INPUT, command["name"], channel)
            except ClientRefused:
                continue
            found += _leaves(command["name"], command)
        return sorted(found, key=lambda one: str(one["name"]))

    def _menus(self, channel: Channel) -> list[str]:
        visible = self._discord.commands.visible(channel.guild_id)
        return [one["name"] for one in visible if one["type"] == MESSAGE_MENU]

    # What is done there

    async def act(self, request: web.Request) -> web.Response:
        """Does one thing as a person; answers with an error text, a form or suggestions."""
        self._check_origin(request)
        what, files = await _read(request)
        person = self._person(what.get("person"))
        place = self._place(person, what.get("channel"))
        try:
            return web.json_response(await self._do(person, place, what, files))
        except (ClientRefused, NoResponse) as error:
            return web.json_response({"error": str(error)})

    async def _do(
        self, person: Person, place: ChannelHandle, what: Json, files: dict[str, list[File]]
    ) -> Json:
        match what["do"]:
            case "send":
                reply = self._message(place, what["reply_to"]) if what.get("reply_to") else None
                ping = bool(what.get("ping", True))
                attached = files.get("files", [])
                await person.send(what["text"], attached, reply_to=reply, ping=ping, where=place)
                return {}
            case "slash":
                values = self._values(what["options"], files)
                invocation = await person.slash(what["command"], values, where=place)
            case "complete":
                values = self._values(what["options"], {})
                choices = await person.autocomplete(
                    what["command"], what["option"], what["typed"], values, where=place
                )
                return {"choices": choices}
            case "press":
                message = self._message(place, what["message"])
                invocation = await person.press(message, custom_id=what["custom_id"])
            case "select":
                message = self._message(place, what["message"])
                invocation = await person.select(
                    message, *what["values"], custom_id=what["custom_id"]
                )
            case "menu":
                message = self._message(place, what["message"])
                invocation = await person.context_menu(what["name"], message)
            case "form":
                opened = self._open_forms.pop(int(what["id"]))
                values = what["values"] | {
                    key: file for key, file in files.items() if key != "files"
                }
                invocation = await person.submit_modal(opened, values)
            case "delete":
                await person.delete(self._message(place, what["message"]))
                return {}
            case other:
                raise ClientRefused(f"the console cannot do {other!r}")
        await invocation.acknowledged()
        modal = invocation.interaction.modal
        if modal is None:
            return {}
        self._open_forms[invocation.id] = invocation
        shown = [field | {"label": label} for field, label in fields(modal)]
        return {"form": {"id": str(invocation.id), "title": modal["title"], "fields": shown}}

    def _message(self, place: ChannelHandle, message_id: str) -> Message:
        message = place.channel.messages.get(int(message_id))
        if message is None:
            raise ClientRefused("the message is gone")
        return message

    def _values(self, options: list[Json], files: dict[str, list[File]]) -> dict[str, Any]:
        """Option values from the page: files, people and channels come by their names."""
        values: dict[str, Any] = {}
        for option in options:
            name, kind, value = option["name"], option["type"], option["value"]
            if kind == ATTACHMENT:
                if files.get(name):
                    values[name] = files[name][0]
            elif kind == USER:
                values[name] = self._person(str(value))
            elif kind == CHANNEL:
                found = self._discord.world.channels.get(int(value))
                values[name] = found and ChannelHandle(self._discord, found)
            else:
                values[name] = value
        return values


def _kind(place: ChannelHandle) -> str:
    return "direct" if place.channel.guild_id is None else "text"


def _leaves(name: str, node: Json) -> list[Json]:
    """A command or subcommand with its options, or those below it."""
    options = node.get("options") or []
    below = [option for option in options if option["type"] in (SUBCOMMAND, GROUP)]
    if below:
        return [leaf for one in below for leaf in _leaves(f"{name} {one['name']}", one)]
    return [{"name": name, "description": node["description"], "options": options}]


async def _read(request: web.Request) -> tuple[Json, dict[str, list[File]]]:
    """The JSON field `what` and the files of a form, by their fields' names."""
    what: Json = {}
    files: dict[str, list[File]] = {}
    budget = _UPLOAD_BUDGET
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            raise web.HTTPBadRequest
        data = bytearray()
        while chunk := await part.read_chunk():
            data += chunk
            if len(data) > budget:
                raise web.HTTPRequestEntityTooLarge(_UPLOAD_BUDGET, len(data))
        budget -= len(data)
        if part.name == "what":
            what = json.loads(bytes(data))
        elif part.filename:
            files.setdefault(part.name or "files", []).append(File(part.filename, bytes(data)))
    return what, files
