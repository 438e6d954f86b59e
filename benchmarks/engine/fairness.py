"""How evenly the real queue and engine process serve people who always have something waiting.

Three people ask at once: one for single pictures, one for pairs, one for four at a time. Until the first
of them has nothing left to start, all are backlogged; what each was served until then is compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.client import EngineClient
from engine.errors import EngineDiedError
from engine.model_card import provisional_info
from engine.queue import JobQueue
from engine.settings import Settings
from engine.types import (
    Destination,
    EngineDied,
    EngineInfo,
    EngineReady,
    GenerationRequest,
    GenerationResult,
    Limits,
    Progress,
    Sampler,
    Started,
    Submission,
)
from storage.database import Database
from storage.jobs import JobTable
from storage.pictures import PictureFiles

_PICTURES = (1, 2, 4)  # of each person's jobs
_JOBS_OF_FOUR = 24  # the others ask for as many pictures in all
_STEPS = 8
_NO_LIMITS = Limits(waiting=10_000, queue=10_000)


@dataclass(frozen=True, slots=True)
class Fairness:
    """What people were served while all of them waited.

    Attributes:
        served: Work of each person in row-step-megapixels, by pictures of a job.
        ratio: The most served against the least served.
        jobs: Jobs that were started in that time.
    """

    served: Mapping[int, float]
    ratio: float
    jobs: int


def measure(model: Path, folder: Path) -> Fairness:
    """Runs the queue on an engine process with `model`; `folder` becomes its data directory."""
    return asyncio.run(_measure(model, folder))


async def _measure(model: Path, folder: Path) -> Fairness:
    settings = Settings.model_validate({"model": str(model), "device": "cpu", "data_dir": folder})
    engine = EngineClient(settings, provisional_info(settings))
    async with Database.open(folder) as database:
        queue = JobQueue(
            store=JobTable(database, PictureFiles(folder / "pictures")),
            engine=engine,
            limits=lambda _: _NO_LIMITS,
            pace=(10_000, 1.0),  # pacing is not what is measured
        )
        running = [asyncio.create_task(engine.run()), asyncio.create_task(queue.run())]
        try:
            info = await _ready(queue)
            return await _serve(queue, info.model, info.native_size)
        finally:
            for task in reversed(running):
                task.cancel()
                await asyncio.wait([task])


async def _ready(queue: JobQueue) -> EngineInfo:
    async for state in queue.engine_states():
        match state:
            case EngineReady(info=info):
                return info
            case EngineDied(message=message):
                raise EngineDiedError(message)
    raise EngineDiedError("The engine stopped before it was ready.")


async def _serve(queue: JobQueue, model: str, side: int) -> Fairness:
    jobs: dict[int, dict[str, float]] = {pictures: {} for pictures in _PICTURES}  # id -> share done
    works: dict[int, float] = {}
    started: set[str] = set()
    somebody_is_through = asyncio.Event()
    watching = []

    async def watch(job_id: str, pictures: int) -> None:
        async for event in queue.watch(job_id):
            match event:
                case Started():
                    started.add(job_id)
                case Progress(step=step, total=total):
                    started.add(job_id)
                    if not somebody_is_through.is_set():
                        jobs[pictures][job_id] = step / total
                case GenerationResult():
                    started.add(job_id)
                    if not somebody_is_through.is_set():
                        jobs[pictures][job_id] = 1.0
            if jobs[pictures].keys() <= started:
                somebody_is_through.set()

    for number in range(_JOBS_OF_FOUR * max(_PICTURES)):
        for pictures in _PICTURES:
            if number >= _JOBS_OF_FOUR * max(_PICTURES) // pictures:
                continue
            request = GenerationRequest(
                prompt=f"job {number}", width=side, height=side, seed=number,
                num_inference_steps=_STEPS, guidance_scale=5.0, sampler=Sampler.DDIM, model=model,
                num_images=pictures,
            )  # fmt: skip
            works[pictures] = request.work
            origin = f"benchmark:{pictures}:{number}"
            submission = Submission(origin, pictures, f"{pictures}", Destination(1), request)
            job_id = (await queue.submit(submission)).id
            jobs[pictures][job_id] = 0.0
            watching.append(asyncio.create_task(watch(job_id, pictures)))
    await somebody_is_through.wait()
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    served = {pictures: works[pictures] * sum(jobs[pictures].values()) for pictures in _PICTURES}
    return Fairness(served, max(served.values()) / min(served.values()), len(started))
