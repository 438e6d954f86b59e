"""Opens storage, engine client and queue in one place and hands them down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from engine.client import EngineClient
from engine.model_card import provisional_info
from engine.queue import JobQueue
from engine.settings import Settings
from engine.types import Limits
from storage.database import Database
from storage.facts import Facts
from storage.history import History
from storage.jobs import JobTable
from storage.ledger import Ledger
from storage.pictures import PictureFiles
from storage.references import collect_garbage


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What every subcommand that makes pictures is built from."""

    settings: Settings
    limits: Limits
    database: Database
    pictures: PictureFiles
    jobs: JobTable
    ledger: Ledger
    history: History
    facts: Facts
    engine: EngineClient
    queue: JobQueue


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[Parts]:
    """Opens the data directory; `engine.run()` and `queue.run()` are the caller's tasks.

    Raises:
        StartError: The data directory or the database cannot be used.
    """
    limits = Limits(
        waiting=settings.max_waiting_per_person,
        queue=settings.max_queue_length,
        daily=settings.daily_allowance,
        per_minute=settings.per_minute,
    )
    async with Database.open(settings.data_dir) as database:
        pictures = PictureFiles(settings.data_dir / "pictures")
        await collect_garbage(database, pictures)
        jobs = JobTable(database, pictures)
        engine = EngineClient(settings, provisional_info(settings))
        yield Parts(
            settings=settings,
            limits=limits,
            database=database,
            pictures=pictures,
            jobs=jobs,
            ledger=Ledger(database),
            history=History(database, pictures),
            facts=Facts(database),
            engine=engine,
            queue=JobQueue(store=jobs, engine=engine, limits=lambda submission: limits),
        )
