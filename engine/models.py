"""Which of the named models is loaded, and how another one takes its place."""

from __future__ import annotations

import asyncio
import difflib
import logging
import re
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from engine.errors import InvalidRequestError, NotAllowedError
from engine.model_card import ModelCard, resolve_source
from engine.refit import refit
from engine.settings import Settings
from engine.shelf import NamedModel, expected_info, named_models, settings_for
from engine.types import EngineInfo, GenerationRequest, Job, ModelChoice, Submission
from engine.words import N_

_log = logging.getLogger(__name__)

_FRESH_S = 20.0  # what was read of the folder counts for so long
_LONGEST_NAME = 60
_UNWRITTEN = re.compile(r"[\s_-]+")

DENIED = N_(
    "This server does not draw with {model}, the model that is loaded now. Try again when another one "
    "is, or ask the people who manage this server to allow it."
)
NOT_LOADED = N_(
    "The model {name} is not loaded now, {loaded} is. Leave the model out to draw with {loaded}, or ask "
    "the operator of this bot for {name}."
)
UNKNOWN = N_("There is no model {name}. There are: {known}.")
UNUSABLE = N_("The model {name} cannot be used: the operator's log says why.")
LOADED = N_("{name} is loaded already.")
ON_ITS_WAY = N_("{name} is being loaded now. Try again when that is over.")


class Switch(Protocol):
    """What loads models; `engine.client.EngineClient`."""

    @property
    def info(self) -> EngineInfo | None:
        """What is known of the model that is loaded, or on its way."""

    def switch(self, settings: Settings, expected: EngineInfo) -> asyncio.Future[EngineInfo]:
        """Lets another engine take the place of this one."""


class Models:
    """The named models. What is asked while somebody types comes from memory."""

    def __init__(
        self,
        *,
        settings: Settings,
        engine: Switch,
        save: Callable[..., Awaitable[None]],
        allows: Callable[[int | None, str], bool] = lambda _, __: True,
    ) -> None:
        """Knows none before `refresh`.

        Args:
            settings: Which models there are.
            engine: Loads them.
            save: Stores a `ModelChoice`, with its name and `actor_id`.
            allows: Whether a server takes a model.
        """
        self._settings = settings
        self._engine = engine
        self._save = save
        self._allows = allows
        self._group: asyncio.TaskGroup | None = None
        self._known: list[NamedModel] = []
        self._read_at = -_FRESH_S
        self._told: set[str] = set()  # problems that the log has
        self._coming: str | None = None

    async def refresh(self) -> None:
        """Looks at the operator's list and folder, unless it was done a moment ago."""
        if time.monotonic() - self._read_at < _FRESH_S:
            return
        self._known = await asyncio.to_thread(named_models, self._settings)
        self._read_at = time.monotonic()
        for model in self._known:
            if model.problem and model.problem not in self._told:
                self._told.add(model.problem)
                _log.warning("The model %s cannot be used: %s", model.source, model.problem)

    @property
    def known(self) -> list[NamedModel]:
        """All of them, also those that cannot be used."""
        return self._known

    @property
    def coming(self) -> str | None:
        """The one that is being loaded in place of another one."""
        return self._coming

    def names(self) -> list[str]:
        """Returns the names of those that can be loaded."""
        return [model.name for model in self._known if not model.problem]

    def find(self, name: str) -> NamedModel:
        """Returns the model that is called so, however it is written.

        Raises:
            InvalidRequestError: There is none, or it cannot be used.
        """
        for model in self._known:
            if key_of(model.name) == key_of(name):
                if model.problem:
                    raise InvalidRequestError(UNUSABLE, name=model.name)
                return model
        shown = " ".join(name.split())[:_LONGEST_NAME]
        raise InvalidRequestError(UNKNOWN, name=shown, known=", ".join(self.names()))

    def matching(self, typed: str, limit: int) -> list[str]:
        """Returns names that contain what was typed; the nearest one when none does."""
        names = self.names()
        found = [name for name in names if key_of(typed) in key_of(name)]
        return (found or difflib.get_close_matches(typed, names, n=1, cutoff=0.5))[:limit]

    def check_named(self, name: object) -> None:
        """Refuses a request that names another model than the loaded one.

        Raises:
            InvalidRequestError: It is one of the others; what is none at all is not told here.
        """
        info = self._engine.info
        if info is None or not isinstance(name, str) or not key_of(name):
            return
        if key_of(name) == key_of(info.model):
            return
        for model in self._known:
            if key_of(model.name) == key_of(name):
                raise InvalidRequestError(NOT_LOADED, name=model.name, loaded=info.model)

    async def check(self, submission: Submission) -> None:
        """Refuses what a server does not draw with; one of the queue's checks.

        Raises:
            NotAllowedError: The request's model is not used there.
        """
        request = submission.request
        if request.upscaler is None and not self.is_allowed(submission, request.model):
            raise NotAllowedError(DENIED, model=request.model)

    def is_allowed(self, submission: Submission, model: str) -> bool:
        """Returns whether the place of a submission takes a model."""
        return self._allows(submission.destination.guild_id, model)

    def refit(self, job: Job, info: EngineInfo) -> GenerationRequest:
        """Returns what the loaded model makes for a waiting job, see `engine.refit`."""
        return refit(job, info, card_of=self.card_of, allows=self._allows)

    def card_of(self, name: str) -> ModelCard | None:
        """Returns what is known of a model."""
        return next((one.card for one in self._known if one.name == name), None)

    def restore(self, choice: ModelChoice | None) -> None:
        """Loads the model that was chosen before this start; the configured one when that fails."""
        if choice is None or choice.configured != resolve_source(self._settings):
            return
        model = next((m for m in self._known if m.source == choice.source and not m.problem), None)
        info = self._engine.info
        if model is None:
            _log.warning("The model %s is named no more: the configured one counts.", choice.source)
        elif info is None or model.name != info.model:
            self._switch(model).add_done_callback(self._ended)

    def check_load(self, name: str) -> NamedModel:
        """Returns the model of that name when it can be loaded now.

        Raises:
            InvalidRequestError: It cannot.
        """
        if self._coming is not None:
            raise InvalidRequestError(ON_ITS_WAY, name=self._coming)
        model = self.find(name)
        info = self._engine.info
        if info is not None and model.name == info.model:
            raise InvalidRequestError(LOADED, name=model.name)
        return model

    def begin(self, model: NamedModel, actor_id: int) -> asyncio.Task[EngineInfo]:
        """Lets a model take the place of the loaded one, also when nobody waits for it.

        Returns:
            Ends when the model is loaded and the choice stored; or with a ModelLoadError, when it
            cannot be loaded and the one of before is loaded again.
        """
        if self._group is None:
            raise RuntimeError("not running")
        loaded = self._switch(model)

        async def load() -> EngineInfo:
            try:
                info = await loaded
            finally:
                self._coming = None
            choice = ModelChoice(model.source, resolve_source(self._settings))
            await self._store(choice, model.name, actor_id)
            return info

        task = asyncio.ensure_future(load())
        self._group.create_task(_until_done(task))
        return task

    async def run(self) -> None:
        """Looks after the changes of models until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                await asyncio.Event().wait()
        finally:
            self._group = None

    async def _store(self, choice: ModelChoice, name: str, actor_id: int) -> None:
        try:
            await self._save(choice, name, actor_id=actor_id)
        except Exception:  # it is loaded; only the next start would not know
            _log.exception("That %s was chosen is not stored.", name)

    def _switch(self, model: NamedModel) -> asyncio.Future[EngineInfo]:
        expected = expected_info(self._settings, model)
        loaded = self._engine.switch(settings_for(self._settings, model), expected)
        self._coming = model.name
        return loaded

    def _ended(self, loaded: asyncio.Future[EngineInfo]) -> None:
        self._coming = None
        if loaded.done() and not loaded.cancelled():
            loaded.exception()  # the client's log has it


async def _until_done(task: asyncio.Task[EngineInfo]) -> None:
    """Ends with the task, whichever way, and ends it when cancelled."""
    try:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # whoever waits has it, and the client's log
    finally:
        task.cancel()


def key_of(name: str) -> str:
    """Returns what is left of a name however it is written."""
    return _UNWRITTEN.sub("", name.casefold())
