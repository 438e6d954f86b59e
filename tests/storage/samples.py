"""What the tests of storage are made of: a clock turned by hand, submissions and results."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from engine.types import (
    Destination,
    Generation,
    GenerationRequest,
    GenerationResult,
    Limits,
    Picture,
    Sampler,
    Submission,
)
from storage.activity import Activities
from storage.audit import Audit
from storage.blocks import Blocks
from storage.database import Database
from storage.drafts import Drafts
from storage.gallery import Gallery
from storage.grants import GrantTable
from storage.history import History
from storage.jobs import JobTable
from storage.ledger import Ledger
from storage.people import People
from storage.pictures import PictureFiles
from storage.places import Places
from storage.poses import Poses
from storage.privacy import Privacy
from storage.reports import Reports
from storage.rules import Rules

NO_LIMITS = Limits(waiting=10_000, queue=10_000)


class HandClock:
    """Shows the time that it was set to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def turn(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Store:
    """Every part of storage over one database, as the composition root puts them together."""

    def __init__(self, db: Database, folder: Path, clock: Callable[[], datetime]) -> None:
        self.db = db
        self.folder = folder
        self.pictures = PictureFiles(folder / "pictures")
        self.jobs = JobTable(db, self.pictures, clock=clock)
        self.history = History(db, self.pictures, clock=clock)
        self.ledger = Ledger(db, clock=clock)
        self.gallery = Gallery(db, clock=clock)
        self.people = People(db, clock=clock)
        self.places = Places(db, clock=clock)
        self.poses = Poses(db, clock=clock)
        self.drafts = Drafts(db, clock=clock)
        self.privacy = Privacy(db, self.pictures, clock=clock)
        self.reports = Reports(db, clock=clock)
        self.rules = Rules(db, configured=NO_LIMITS, info=lambda: None, clock=clock)
        self.blocks = Blocks(db, clock=clock)
        self.grants = GrantTable(db, clock=clock)
        self.activities = Activities(db, clock=clock)
        self.audit = Audit(db, clock=clock)

    def files(self) -> set[str]:
        """Names of everything in the picture folders."""
        return {path.name for path in (self.folder / "pictures").glob("*/*")}


_origins = itertools.count()


def a_request(**changes: object) -> GenerationRequest:
    fields: dict[str, object] = {
        "prompt": "a red circle",
        "width": 128,
        "height": 128,
        "seed": 7,
        "num_inference_steps": 20,
        "guidance_scale": 7.5,
        "sampler": Sampler.EULER_A,
        "model": "pocket",
    }
    return GenerationRequest(**(fields | changes))  # type: ignore[arg-type]


def a_submission(
    owner_id: int = 1,
    *,
    origin: str | None = None,
    request: GenerationRequest | None = None,
    parent_id: str | None = None,
    guild_id: int | None = 20,
    role_ids: tuple[int, ...] = (),
) -> Submission:
    return Submission(
        origin=origin or f"interaction:{next(_origins)}",
        owner_id=owner_id,
        owner_name=f"person {owner_id}",
        destination=Destination(channel_id=10, guild_id=guild_id, spoiler=True, locale="de"),
        request=request or a_request(),
        parent_id=parent_id,
        role_ids=role_ids,
    )


def a_result(job_id: str, *contents: bytes) -> GenerationResult:
    return GenerationResult(
        job_id,
        tuple(
            Picture(index, seed=7 + index, width=128, height=96, png=content)
            for index, content in enumerate(contents)
        ),
        seconds=1.5,
        warnings=("The last 2 words were not read.",),
        receipt={"model": "pocket", "rows": [2, 2, 4]},
    )


async def make(
    store: Store, *contents: bytes, owner_id: int = 1, prompt: str = "a cat", **fields: object
) -> Generation:
    """A finished picture, as the history has it."""
    parent_id, inputs = fields.pop("parent_id", None), dict(fields)
    submission = a_submission(
        owner_id,
        request=a_request(prompt=prompt, **inputs),
        parent_id=parent_id,  # type: ignore[arg-type]
    )
    job, _ = await store.jobs.add(submission, cost=1.0, limits=NO_LIMITS)
    contents = contents or (f"picture of {job.id}".encode(),)
    await store.jobs.finish(job.id, a_result(job.id, *contents))
    return await store.history.get(job.id)
