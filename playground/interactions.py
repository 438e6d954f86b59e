"""The life of an interaction: delivered, answered within 3 s, usable for 15 min, or failed."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Literal

from playground import validate
from playground.clock import Timer
from playground.errors import ApiError, FormErrors
from playground.gateway import Gateway
from playground.messages import Messages, Origin, Upload
from playground.model import EPHEMERAL, Channel, Json, Message, User
from playground.payloads import Payloads
from playground.recorder import Recorder
from playground.world import World

COMMAND, COMPONENT, AUTOCOMPLETE, MODAL_SUBMIT = 2, 3, 4, 5

MESSAGE, DEFER_MESSAGE, DEFER_UPDATE, UPDATE, CHOICES, MODAL = 4, 5, 6, 7, 8, 9

ANSWER_WINDOW_S = 3.0
TOKEN_LIFETIME_S = 15 * 60.0

_ALLOWED = {
    COMMAND: {MESSAGE, DEFER_MESSAGE, MODAL},
    COMPONENT: {MESSAGE, DEFER_MESSAGE, DEFER_UPDATE, UPDATE, MODAL},
    AUTOCOMPLETE: {CHOICES},
    MODAL_SUBMIT: {MESSAGE, DEFER_MESSAGE, DEFER_UPDATE, UPDATE},
}


@dataclass(frozen=True)
class Ack:
    """The first answer: its callback type and how long it took, in seconds."""

    type: int
    latency_s: float
    monotonic: float


@dataclass(eq=False)
class Interaction:
    """One interaction and what became of it."""

    id: int
    token: str
    type: int
    user: User
    channel: Channel
    data: Json
    payload: Json
    created: float
    description: str
    source: Message | None = None
    state: Literal["waiting", "answered", "failed"] = "waiting"
    ack: Ack | None = None
    original: Message | None = None
    followups: list[Message] = field(default_factory=list)
    choices: list[Json] | None = None
    modal: Json | None = None
    timer: Timer | None = None

    @property
    def name(self) -> str:
        return str(self.data.get("name") or self.data.get("custom_id"))


class Interactions:
    """Delivers interactions to the bot and takes its answers."""

    def __init__(
        self,
        world: World,
        payloads: Payloads,
        gateway: Gateway,
        messages: Messages,
        recorder: Recorder,
    ) -> None:
        self._world = world
        self._payloads = payloads
        self._gateway = gateway
        self._messages = messages
        self._recorder = recorder
        self.all: dict[int, Interaction] = {}
        self._by_token: dict[str, Interaction] = {}

    def start(
        self,
        kind: int,
        user: User,
        channel: Channel,
        data: Json,
        *,
        description: str,
        source: Message | None = None,
    ) -> Interaction:
        """Creates an interaction and sends it to the bot if the bot is there."""
        interaction_id = self._world.new_id()
        token = secrets.token_urlsafe(48)
        interaction = Interaction(
            interaction_id,
            token,
            kind,
            user,
            channel,
            data,
            {},
            self._world.clock.monotonic(),
            description,
            source=source,
        )
        interaction.payload = self._payload(interaction)
        self.all[interaction_id] = interaction
        self._by_token[token] = interaction
        reached = self._gateway.dispatch(
            "INTERACTION_CREATE", lambda _: interaction.payload, guild_id=channel.guild_id
        )
        self._recorder.add(
            "interaction",
            id=str(interaction_id),
            type=kind,
            user_id=str(user.id),
            user=user.display_name,
            channel_id=str(channel.id),
            name=interaction.name,
            text=description,
            data=data,
            delivered=reached > 0,
            source=str(source.id) if source else None,
        )
        interaction.timer = self._world.clock.call_later(
            ANSWER_WINDOW_S, lambda: self._expire(interaction)
        )
        return interaction

    def redeliver(self, interaction: Interaction) -> int:
        """Sends the same interaction once more, as Discord does at times."""
        return self._gateway.dispatch(
            "INTERACTION_CREATE",
            lambda _: interaction.payload,
            guild_id=interaction.channel.guild_id,
        )

    def _payload(self, interaction: Interaction) -> Json:
        channel, user = interaction.channel, interaction.user
        guild = self._world.guild_of(channel)
        body: Json = {
            "id": str(interaction.id),
            "application_id": str(self._world.application_id),
            "type": interaction.type,
            "token": interaction.token,
            "version": 1,
            "data": interaction.data,
            "channel_id": str(channel.id),
            "channel": self._payloads.channel(channel, for_user=user.id),
            "locale": user.locale,
            "entitlements": [],
            "entitlement_sku_ids": [],
            "attachment_size_limit": self._world.upload_limit(channel),
            "app_permissions": str(self._world.permissions_in(channel, self._world.bot.id)),
        }
        if guild is None:
            body |= {
                "user": self._payloads.user(user),
                "context": 1,
                "authorizing_integration_owners": {"1": str(user.id)},
            }
        else:
            member = self._payloads.member(guild.members[user.id])
            member["permissions"] = str(self._world.permissions_in(channel, user.id))
            owners = {"0": str(guild.id)} if guild.bot_installed else {"1": str(user.id)}
            body |= {
                "member": member,
                "guild_id": str(guild.id),
                "guild": {"id": str(guild.id), "locale": guild.locale, "features": []},
                "guild_locale": guild.locale,
                "context": 0,
                "authorizing_integration_owners": owners,
            }
        if interaction.source is not None:
            body["message"] = self._payloads.message(interaction.source)
        return body

    def _expire(self, interaction: Interaction) -> None:
        """Three seconds passed: "The application did not respond"."""
        if interaction.state == "waiting":
            interaction.state = "failed"
            self._recorder.add("unanswered", id=str(interaction.id))
            self._notify(interaction)

    def _notify(self, interaction: Interaction) -> None:
        self._world.signals.notify(("interaction", interaction.id), interaction)

    # The bot's side

    def answer(
        self, interaction_id: int, token: str, body: Json, uploads: list[Upload]
    ) -> Interaction:
        """Takes the first answer (POST .../callback).

        Raises:
            ApiError: 10062 too late or unknown, 40060 already answered, 50035 a wrong answer.
        """
        interaction = self.all.get(interaction_id)
        if interaction is None or not secrets.compare_digest(interaction.token, token):
            raise ApiError(10062)
        if interaction.ack is not None:
            raise ApiError(40060)
        now = self._world.clock.monotonic()
        if interaction.state == "failed" or now - interaction.created > ANSWER_WINDOW_S:
            raise ApiError(10062)
        kind = body.get("type")
        allowed = _ALLOWED[interaction.type]
        if kind not in allowed or (kind in (DEFER_UPDATE, UPDATE) and interaction.source is None):
            errors = FormErrors()
            wanted = ", ".join(str(one) for one in sorted(allowed))
            errors.add("type", "BASE_TYPE_CHOICES", f"Value must be one of {{{wanted}}}.")
            errors.raise_any()
        data = body.get("data") or {}
        if kind == MODAL:
            validate.modal_body(data)
            interaction.modal = data
        elif kind == CHOICES:
            interaction.choices = _choices(data)
        elif kind == MESSAGE:
            interaction.original = self._reply(interaction, data, uploads)
        elif kind == DEFER_MESSAGE:
            interaction.original = self._reply(interaction, data, [], loading=True)
        elif kind == UPDATE and interaction.source is not None:
            interaction.original = self._update_source(interaction.source, data, uploads)
        else:
            interaction.original = interaction.source
        interaction.state = "answered"
        interaction.ack = Ack(int(body["type"]), now - interaction.created, now)
        if interaction.timer is not None:
            interaction.timer.cancel()
        self._recorder.add(
            "ack",
            id=str(interaction.id),
            type=kind,
            latency_s=round(interaction.ack.latency_s, 6),
            ephemeral=bool(interaction.original and interaction.original.is_ephemeral),
        )
        self._notify(interaction)
        return interaction

    def callback_body(self, interaction: Interaction) -> Json:
        """What `with_response=1` asks for."""
        ack, original = interaction.ack, interaction.original
        about: Json = {"id": str(interaction.id), "type": interaction.type}
        body: Json = {"interaction": about}
        if ack is None or original is None or ack.type not in (MESSAGE, DEFER_MESSAGE, UPDATE):
            return body
        about |= {
            "response_message_id": str(original.id),
            "response_message_loading": original.is_loading,
            "response_message_ephemeral": original.is_ephemeral,
        }
        body["resource"] = {"type": ack.type, "message": self._payloads.message(original)}
        return body

    def of_token(self, application_id: int, token: str) -> Interaction:
        """The interaction that a webhook token belongs to, while it is valid.

        Raises:
            ApiError: 10015 unknown or not answered yet, 50027 older than 15 minutes.
        """
        interaction = self._by_token.get(token)
        if interaction is None or application_id != self._world.application_id:
            raise ApiError(10015)
        if self._world.clock.monotonic() - interaction.created > TOKEN_LIFETIME_S:
            raise ApiError(50027)
        if interaction.ack is None:
            raise ApiError(10015)
        return interaction

    def original(self, interaction: Interaction) -> Message:
        message = interaction.original
        if message is None or message.is_deleted:
            raise ApiError(10008)
        return message

    def message_of(self, interaction: Interaction, message_id: str) -> Message:
        """`@original`, or a message that this interaction's token wrote."""
        if message_id == "@original":
            return self.original(interaction)
        mine = [*interaction.followups, interaction.original]
        for message in mine:
            if message is not None and str(message.id) == message_id and not message.is_deleted:
                return message
        raise ApiError(10008)

    def follow_up(self, interaction: Interaction, body: Json, uploads: list[Upload]) -> Message:
        """Adds a message through the token; the first after a deferral fills the waiting one."""
        original = interaction.original
        if original is not None and original.is_loading and not original.is_deleted:
            message = self._messages.edit(
                original, body, uploads, upload_limit=self._limit(interaction)
            )
        else:
            reference = original if original and not original.is_deleted else None
            message = self._reply(interaction, body, uploads, reference=reference)
            interaction.followups.append(message)
        self._notify(interaction)
        return message

    def edit(
        self, interaction: Interaction, message: Message, body: Json, uploads: list[Upload]
    ) -> Message:
        self._messages.edit(message, body, uploads, upload_limit=self._limit(interaction))
        self._notify(interaction)
        return message

    def delete(self, interaction: Interaction, message: Message) -> None:
        self._messages.delete(message)
        self._notify(interaction)

    def _limit(self, interaction: Interaction) -> int:
        return self._world.upload_limit(interaction.channel)

    def _reply(
        self,
        interaction: Interaction,
        body: Json,
        uploads: list[Upload],
        *,
        loading: bool = False,
        reference: Message | None = None,
    ) -> Message:
        channel = self._world.channel(interaction.channel.id)
        kind = 0
        if interaction.type == COMMAND and reference is None:
            kind = 20 if interaction.data.get("type", 1) == 1 else 23
        elif reference is None:
            reference = interaction.source
        return self._messages.create(
            channel,
            self._world.bot,
            body,
            uploads,
            kind=kind,
            origin=Origin(interaction.id, self._metadata(interaction), interaction.user),
            loading=loading,
            reference=reference,
            upload_limit=self._limit(interaction),
        )

    def _update_source(self, source: Message, data: Json, uploads: list[Upload]) -> Message:
        if source.is_deleted:
            raise ApiError(10008)
        return self._messages.edit(source, data, uploads)

    def _metadata(self, interaction: Interaction) -> Json:
        body: Json = {
            "id": str(interaction.id),
            "type": interaction.type,
            "user": self._payloads.user(interaction.user),
            "authorizing_integration_owners": interaction.payload["authorizing_integration_owners"],
        }
        if interaction.type == COMMAND:
            body |= {
                "name": interaction.name,
                "command_type": interaction.data.get("type", 1),
            }
        if interaction.source is not None:
            body["interacted_message_id"] = str(interaction.source.id)
        return body


def _choices(data: Json) -> list[Json]:
    choices = data.get("choices") or []
    errors = FormErrors()
    if len(choices) > 25:
        message = "Must be between 0 and 25 in length."
        errors.add("data.choices", "BASE_TYPE_BAD_LENGTH", message)
    for index, choice in enumerate(choices):
        errors.length(f"data.choices.{index}.name", choice.get("name"), 1, 100)
        if isinstance(choice.get("value"), str):
            errors.length(f"data.choices.{index}.value", choice["value"], 1, 100)
    errors.raise_any()
    return list(choices)


def is_hidden_from(message: Message, user_id: int) -> bool:
    """Whether a message is ephemeral and for somebody else."""
    return bool(message.flags & EPHEMERAL) and message.visible_to != user_id
