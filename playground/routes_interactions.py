"""REST routes that need no bot token: interaction callbacks and webhook messages."""

from __future__ import annotations

from playground.api import Call, Route
from playground.errors import ApiError
from playground.interactions import Interaction, Interactions
from playground.model import Json
from playground.payloads import Payloads


class InteractionRoutes:
    """The answers to interactions, by their ids and tokens."""

    def __init__(self, interactions: Interactions, payloads: Payloads) -> None:
        self._interactions = interactions
        self._payloads = payloads

    def routes(self) -> list[Route]:
        hook = "/webhooks/{application_id}/{token}"
        message = hook + "/messages/{message}"

        def open_route(method: str, path: str, handler: object, bucket: str | None) -> Route:
            return Route(method, path, handler, bucket, auth=False, is_global=False)  # type: ignore[arg-type]

        return [
            open_route(
                "POST", "/interactions/{interaction_id}/{token}/callback", self.callback, None
            ),
            open_route("POST", hook, self.follow_up, "webhook"),
            open_route("GET", message, self.get, "webhook"),
            open_route("PATCH", message, self.edit, "webhook"),
            open_route("DELETE", message, self.delete, "webhook"),
        ]

    def _interaction(self, call: Call) -> Interaction:
        return self._interactions.of_token(call.number("application_id"), call.path["token"])

    async def callback(self, call: Call) -> Json | None:
        if not isinstance(call.body, dict):
            raise ApiError(50109)
        interaction = self._interactions.answer(
            call.number("interaction_id"), call.path["token"], call.body, call.uploads
        )
        if call.query.get("with_response") in ("1", "true"):
            return self._interactions.callback_body(interaction)
        return None

    async def follow_up(self, call: Call) -> Json | None:
        interaction = self._interaction(call)
        message = self._interactions.follow_up(interaction, call.body or {}, call.uploads)
        # Discord answers interaction follow-ups with the message whatever `wait` says.
        return self._payloads.message(message)

    async def get(self, call: Call) -> Json:
        interaction = self._interaction(call)
        return self._payloads.message(
            self._interactions.message_of(interaction, call.path["message"])
        )

    async def edit(self, call: Call) -> Json:
        interaction = self._interaction(call)
        message = self._interactions.message_of(interaction, call.path["message"])
        return self._payloads.message(
            self._interactions.edit(interaction, message, call.body or {}, call.uploads)
        )

    async def delete(self, call: Call) -> None:
        interaction = self._interaction(call)
        message = self._interactions.message_of(interaction, call.path["message"])
        self._interactions.delete(interaction, message)
