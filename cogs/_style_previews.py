"""Previews of styles that have none, drawn by the engine in idle moments: jobs of nobody, kept instead of sent.

They go through the queue like any job, so that a restart loses none, but wait until no person's job does.
Without its preview a style works all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from cogs._desk import Parts
from engine.errors import EngineDiedError, QueueClosedError, QueueFullError, RequestError
from engine.types import (
    NOBODY,
    AdapterWeight,
    Destination,
    EngineInfo,
    GenerationRequest,
    InstalledAdapter,
    Job,
    JobState,
    Submission,
)

log = logging.getLogger(__name__)

ACTION = "preview"
SEED = 7
AGAIN_S = 30.0
_NAME = "Easel"
_PROMPTS = {"pocket": "a red circle on a blue background"}
_PROMPT = "a small house by a lake, mountains behind it"


class StylePreviews:
    """Asks for one preview after the other, the newest style's first."""

    def __init__(self, parts: Parts) -> None:
        """Asks for nothing before `run`."""
        self._parts = parts
        self._asked: set[str] = set()  # origins
        self._is_new = asyncio.Event()

    def wake(self) -> None:
        """A style was added."""
        self._is_new.set()

    async def run(self) -> None:
        """Looks for styles without a preview until cancelled."""
        while True:
            self._is_new.clear()
            try:
                while (style := await self._next()) is not None:
                    await self._draw(style)
            except (QueueFullError, QueueClosedError, EngineDiedError) as error:
                log.info("Previews of styles wait: %s", error)
            except Exception:  # nobody is to miss anything but a preview
                log.exception("The preview of a style could not be asked for")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S):
                    await self._is_new.wait()

    async def keep(self, job: Job) -> None:
        """Takes the picture of a finished job as the preview, and leaves nothing else of it."""
        parts = self._parts
        if job.state is not JobState.RENDERED:
            log.warning("A preview could not be drawn: %s", job.error)
            return
        style = parts.styles.get(job.request.adapters[0].sha256)
        generation = await parts.history.get(job.id)
        if style is not None and generation.pictures and await self._lacks_preview(style):
            try:
                picture = await parts.pictures.get(generation.pictures[0])
                await parts.styles.set_preview(style, picture)
            except RequestError as error:
                log.warning("The preview of the style %s is not used: %s", style.name, error)
        await parts.history.delete_pictures(job.id)

    async def _next(self) -> InstalledAdapter | None:
        if not self._parts.engine.is_ready:
            return None
        newest_first = sorted(
            self._parts.styles.usable(), key=lambda one: one.added_at, reverse=True
        )
        for style in newest_first:
            if _origin_of(style) not in self._asked:
                if await self._lacks_preview(style):
                    return style
                self._asked.add(_origin_of(style))
        return None

    async def _lacks_preview(self, style: InstalledAdapter) -> bool:
        return not style.is_gone and await self._parts.styles.preview(style.sha256) is None

    async def _draw(self, style: InstalledAdapter) -> None:
        info = self._parts.engine.info
        if info is None:
            raise EngineDiedError("no handshake yet")
        submission = Submission(
            origin=_origin_of(style),
            owner_id=NOBODY,
            owner_name=_NAME,
            destination=Destination(channel_id=0),
            request=_request(style, info),
            action=ACTION,
        )
        try:
            job = await self._parts.queue.submit(submission)
        except (QueueFullError, QueueClosedError):
            raise
        except RequestError as error:
            log.warning("The style %s gets no preview: %s", style.name, error)
            self._asked.add(submission.origin)
            return
        self._asked.add(submission.origin)
        async for _ in self._parts.queue.watch(job.id):
            pass


def _origin_of(style: InstalledAdapter) -> str:
    """Returns what makes each asking one job: of a style that was removed and added again another one."""
    return f"preview:{style.sha256[:32]}:{style.added_at:%Y%m%d%H%M%S%f}"


def _request(style: InstalledAdapter, info: EngineInfo) -> GenerationRequest:
    """Returns the same picture for every style, so that they can be compared."""
    trigger = style.trigger_words[0] if style.trigger_words else ""
    return GenerationRequest(
        prompt=_PROMPTS.get(info.family, _PROMPT),
        width=info.native_size,
        height=info.native_size,
        seed=SEED,
        num_inference_steps=info.default_steps,
        guidance_scale=info.default_guidance_scale,
        sampler=info.default_sampler,
        model=info.model,
        negative_prompt=info.default_negative_prompt,
        adapters=(AdapterWeight(style.sha256, style.default_weight or 1.0, trigger),),
    )
