"""Writes, edits and deletes messages, the same way for the bot's requests and for people."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass

from playground import permissions, validate
from playground.cdn import Cdn
from playground.errors import ApiError, FormErrors
from playground.gateway import INTENTS, Gateway
from playground.model import (
    COMPONENTS_V2,
    EPHEMERAL,
    LOADING,
    SILENT,
    SUPPRESS_EMBEDS,
    Attachment,
    Channel,
    Edit,
    Json,
    Message,
    User,
)
from playground.recorder import Recorder
from playground.world import World

NONCE_LIFETIME_S = 180.0
_SETTABLE = SUPPRESS_EMBEDS | EPHEMERAL | SILENT | COMPONENTS_V2


@dataclass(frozen=True)
class Upload:
    """A file of a multipart body: its `n` of `files[n]`, name and bytes."""

    index: int
    filename: str
    data: bytes


@dataclass(frozen=True)
class Origin:
    """Which interaction a message answers, for those sent through an interaction's token."""

    interaction_id: int
    metadata: Json
    invoker: User


class Messages:
    """The one place where messages change; every change is recorded and told to the gateway."""

    def __init__(self, world: World, cdn: Cdn, gateway: Gateway, recorder: Recorder) -> None:
        self._world = world
        self._cdn = cdn
        self._gateway = gateway
        self._recorder = recorder
        self._nonces: dict[tuple[int, int, str], tuple[float, Message]] = {}

    def create(
        self,
        channel: Channel,
        author: User,
        body: Json,
        uploads: list[Upload],
        *,
        kind: int = 0,
        origin: Origin | None = None,
        loading: bool = False,
        reference: Message | None = None,
        upload_limit: int | None = None,
    ) -> Message:
        """Stores a message and tells everybody.

        Args:
            channel: where.
            author: by whom.
            body: Discord's message body, already parsed.
            uploads: the files that came with it.
            kind: Discord's message type (0 plain, 19 reply, 20 slash answer).
            origin: set when this answers an interaction.
            loading: whether this is the "is thinking" of a deferred answer.
            reference: the message it answers, which need not be in `body`.
            upload_limit: bytes a file may have, instead of the channel's own limit.

        Raises:
            ApiError: the body is not acceptable.
        """
        flags = int(body.get("flags") or 0) & _SETTABLE
        if origin is None:
            flags &= ~EPHEMERAL
        validate.message_body(body, flags=flags)
        nonce = body.get("nonce")
        known = self._known_nonce(author, channel, body)
        if known is not None:
            return known
        files = self._store(channel, body, uploads, upload_limit, ephemeral=bool(flags & EPHEMERAL))
        content = str(body.get("content") or "").strip()
        message = Message(
            self._world.new_id(),
            channel.id,
            channel.guild_id,
            author,
            content,
            self._world.clock.time(),
            self._world.clock.monotonic(),
            type=kind,
            flags=flags | (LOADING if loading else 0),
            embeds=_embeds(body),
            components=_numbered(body.get("components") or []),
            attachments=files,
            nonce=None if nonce is None else str(nonce),
            allowed_mentions=copy.deepcopy(body.get("allowed_mentions")),
        )
        if not loading and _is_empty(message):
            raise ApiError(50006)
        if origin is not None:
            message.webhook_id = self._world.application_id
            message.interaction = origin.metadata
            message.interaction_id = origin.interaction_id
            if flags & EPHEMERAL:
                message.visible_to = origin.invoker.id
        self._refer(message, channel, body, reference)
        self._mention(message, channel, replied=True)
        channel.messages[message.id] = message
        if nonce is not None and body.get("enforce_nonce"):
            key = (author.id, channel.id, str(nonce))
            self._nonces[key] = (self._world.clock.monotonic(), message)
        self._note("message", message)
        self._gateway.dispatch_message("MESSAGE_CREATE", message)
        self._notify(message)
        return message

    def edit(
        self,
        message: Message,
        body: Json,
        uploads: list[Upload],
        *,
        upload_limit: int | None = None,
    ) -> Message:
        """Changes the fields that `body` names; what was thinking stops thinking."""
        channel = self._world.channel(message.channel_id)
        flags = message.flags
        if body.get("flags") is not None:
            wanted = int(body["flags"])
            flags = (flags & ~SUPPRESS_EMBEDS) | (wanted & (SUPPRESS_EMBEDS | COMPONENTS_V2))
        validate.message_body(body, flags=flags)
        kept = self._kept(message, body, uploads)
        added = self._store(
            channel, body, uploads, upload_limit, ephemeral=message.is_ephemeral, already=len(kept)
        )
        changed = copy.copy(message)
        if "content" in body:
            changed.content = str(body["content"] or "").strip()
        if "embeds" in body:
            changed.embeds = _embeds(body)
        if "components" in body:
            changed.components = _numbered(body["components"] or [])
        changed.attachments = kept + added
        if _is_empty(changed):
            raise ApiError(50006)
        was_loading = message.is_loading
        if not was_loading:
            message.edits.append(
                Edit(
                    self._world.clock.time(),
                    self._world.clock.monotonic(),
                    message.content,
                    message.components,
                    [one.filename for one in message.attachments],
                )
            )
            message.edited_at = self._world.clock.time()
        self._cdn.remove([one for one in message.attachments if one not in kept])
        message.content, message.embeds = changed.content, changed.embeds
        message.components, message.attachments = changed.components, changed.attachments
        message.flags = flags & ~LOADING
        if "allowed_mentions" in body:
            message.allowed_mentions = copy.deepcopy(body["allowed_mentions"])
        if "content" in body:
            self._mention(message, channel, replied=False)
        self._note("edit", message, was_loading=was_loading)
        self._gateway.dispatch_message("MESSAGE_UPDATE", message)
        self._notify(message)
        return message

    def delete(self, message: Message) -> None:
        message.deleted_at = self._world.clock.time()
        self._cdn.remove(message.attachments)
        self._recorder.add("delete", id=str(message.id), channel_id=str(message.channel_id))
        if not message.is_ephemeral:
            data: Json = {"id": str(message.id), "channel_id": str(message.channel_id)}
            if message.guild_id is not None:
                data["guild_id"] = str(message.guild_id)
            guild = message.guild_id
            self._gateway.dispatch(
                "MESSAGE_DELETE",
                lambda _: data,
                guild_id=guild,
                intent=INTENTS["direct_messages" if guild is None else "guild_messages"],
            )
        self._notify(message)

    def _notify(self, message: Message) -> None:
        self._world.signals.notify(("channel", message.channel_id), message)
        if message.interaction_id is not None:
            self._world.signals.notify(("interaction", message.interaction_id), message)

    def _known_nonce(self, author: User, channel: Channel, body: Json) -> Message | None:
        """The message that this nonce already made, if Discord still remembers it."""
        if body.get("nonce") is None or not body.get("enforce_nonce"):
            return None
        found = self._nonces.get((author.id, channel.id, str(body["nonce"])))
        if found is None or self._world.clock.monotonic() - found[0] > NONCE_LIFETIME_S:
            return None
        return found[1]

    def _store(
        self,
        channel: Channel,
        body: Json,
        uploads: list[Upload],
        upload_limit: int | None,
        *,
        ephemeral: bool,
        already: int = 0,
    ) -> list[Attachment]:
        """Puts new files on the CDN under the names and descriptions that the body gives."""
        if already + len(uploads) > validate.MAX_FILES:
            raise ApiError(30015)
        limit = upload_limit or self._world.upload_limit(channel)
        if any(len(upload.data) > limit for upload in uploads):
            raise ApiError(40005)
        listed = {str(entry.get("id")): entry for entry in body.get("attachments") or []}
        stored = []
        for upload in uploads:
            entry = listed.get(str(upload.index), {})
            filename = str(entry.get("filename") or upload.filename)
            if entry.get("is_spoiler") and not filename.startswith("SPOILER_"):
                filename = f"SPOILER_{filename}"
            stored.append(
                self._cdn.store(
                    channel.id,
                    filename,
                    upload.data,
                    description=entry.get("description"),
                    ephemeral=ephemeral,
                )
            )
        return stored

    @staticmethod
    def _kept(message: Message, body: Json, uploads: list[Upload]) -> list[Attachment]:
        """The files that an edit leaves in place."""
        if body.get("attachments") is None:
            return [] if "attachments" in body else list(message.attachments)
        present = {str(one.id): one for one in message.attachments}
        fresh = {str(upload.index) for upload in uploads}
        kept = []
        errors = FormErrors()
        for index, entry in enumerate(body["attachments"]):
            key = str(entry.get("id"))
            if key in present:
                kept.append(present[key])
            elif key not in fresh:
                errors.add(f"attachments.{index}.id", "ATTACHMENT_NOT_FOUND", "Unknown attachment")
        errors.raise_any()
        return kept

    def _refer(
        self, message: Message, channel: Channel, body: Json, reference: Message | None
    ) -> None:
        wanted = body.get("message_reference")
        if reference is None and wanted and wanted.get("type", 0) == 0:
            reference = channel.messages.get(int(wanted.get("message_id") or 0))
            gone = reference is None or reference.is_deleted or reference.is_ephemeral
            if gone and wanted.get("fail_if_not_exists", True):
                errors = FormErrors()
                errors.add("message_reference", "REPLIES_UNKNOWN_MESSAGE", "Unknown message")
                errors.raise_any()
            if gone:
                reference = None
        if reference is not None:
            message.reference, message.reference_id = reference, reference.id
            if message.type == 0:
                message.type = 19

    def _mention(self, message: Message, channel: Channel, *, replied: bool) -> None:
        """Works out who is notified, from the text and `allowed_mentions`."""
        allowed = message.allowed_mentions
        parse = ["users", "roles", "everyone"] if allowed is None else allowed.get("parse") or []
        may_all = permissions.has(
            self._world.permissions_in(channel, message.author.id), "mention_everyone"
        )
        text = re.sub(r"```.*?```|`[^`\n]*`", "", message.content, flags=re.DOTALL)
        people: dict[int, User] = {}
        named = {str(one) for one in (allowed or {}).get("users") or []}
        for user_id in re.findall(r"<@!?(\d{1,20})>", text):
            user = self._world.users.get(int(user_id))
            if user is not None and ("users" in parse or user_id in named):
                people[user.id] = user
        guild = self._world.guild_of(channel)
        roles = {str(one) for one in (allowed or {}).get("roles") or []}
        message.mention_roles = [
            int(role_id)
            for role_id in re.findall(r"<@&(\d{1,20})>", text)
            if guild is not None and int(role_id) in guild.roles and may_all
            if "roles" in parse or role_id in roles
        ]
        message.mention_everyone = (
            "everyone" in parse and may_all and bool(re.search(r"@(everyone|here)\b", text))
        )
        target = message.reference
        ping = allowed is None or bool(allowed.get("replied_user"))
        if replied:
            # Nobody is pinged by a reply to an interaction's answer (discord/discord-api-docs#5395).
            pingable = target is not None and target.webhook_id is None
            if target is not None and ping and pingable and target.author.id != message.author.id:
                people.setdefault(target.author.id, target.author)
        elif target is not None and target.author in message.mentions:
            people.setdefault(target.author.id, target.author)
        message.mentions = list(people.values())

    def _note(self, kind: str, message: Message, **more: object) -> None:
        self._recorder.add(
            kind,
            id=str(message.id),
            channel_id=str(message.channel_id),
            author_id=str(message.author.id),
            author=message.author.display_name,
            content=message.content,
            flags=message.flags,
            type=message.type,
            nonce=message.nonce,
            allowed_mentions=message.allowed_mentions,
            mentions=[str(user.id) for user in message.mentions],
            mention_everyone=message.mention_everyone,
            components=message.components,
            embeds=message.embeds,
            attachments=[
                {
                    "id": str(one.id),
                    "filename": one.filename,
                    "size": len(one.data),
                    "description": one.description,
                    "width": one.width,
                    "height": one.height,
                }
                for one in message.attachments
            ],
            reference=str(message.reference_id) if message.reference_id else None,
            interaction_id=str(message.interaction_id) if message.interaction_id else None,
            visible_to=str(message.visible_to) if message.visible_to else None,
            **more,
        )


def _embeds(body: Json) -> list[Json]:
    return [{"type": "rich"} | embed for embed in copy.deepcopy(body.get("embeds") or [])]


def _numbered(components: list[Json]) -> list[Json]:
    """A copy of the components with the ids that Discord gives to those without one."""
    numbered = copy.deepcopy(components)
    count = 0

    def walk(listed: list[Json]) -> None:
        nonlocal count
        for component in listed:
            count += 1
            component.setdefault("id", count)
            walk(component.get("components") or [])

    walk(numbered)
    return numbered


def _is_empty(message: Message) -> bool:
    return not (message.content or message.embeds or message.attachments or message.components)
