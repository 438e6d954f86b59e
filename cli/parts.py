"""Opens storage, engine client and queue in one place and hands them down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from engine import sheets
from engine.client import EngineClient
from engine.intake.pool import Intake
from engine.model_card import provisional_info
from engine.queue import JobQueue
from engine.settings import Settings
from engine.styles import Styles
from engine.types import Limits
from storage.adapters import AdapterTable
from storage.arrivals import Arrivals
from storage.database import Database
from storage.facts import Facts
from storage.gallery import Gallery
from storage.history import History
from storage.jobs import JobTable
from storage.ledger import Ledger
from storage.people import People
from storage.pictures import PictureFiles
from storage.privacy import Privacy
from storage.references import collect_garbage
from storage.reports import Reports


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What every subcommand that makes pictures is built from."""

    settings: Settings
    limits: Limits
    database: Database
    pictures: PictureFiles
    jobs: JobTable
    arrivals: Arrivals
    intake: Intake
    ledger: Ledger
    history: History
    gallery: Gallery
    people: People
    privacy: Privacy
    facts: Facts
    reports: Reports
    adapters: AdapterTable
    styles: Styles
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
    async with Database.open(settings.data_dir) as database, Intake(settings) as intake:
        pictures = PictureFiles(settings.data_dir / "pictures")
        await collect_garbage(database, pictures)
        privacy = Privacy(database, pictures)
        await privacy.finish_interrupted()
        people = People(database)
        await people.load()
        jobs = JobTable(database, pictures)
        engine = EngineClient(settings, provisional_info(settings))
        adapters = AdapterTable(database, settings.data_dir)
        styles = Styles(store=adapters, settings=settings, intake=intake, info=lambda: engine.info)
        await styles.load()
        yield Parts(
            settings=settings,
            limits=limits,
            database=database,
            pictures=pictures,
            jobs=jobs,
            arrivals=Arrivals(database),
            intake=intake,
            ledger=Ledger(database),
            history=History(database, pictures),
            gallery=Gallery(database),
            people=people,
            privacy=privacy,
            facts=Facts(database),
            reports=Reports(database),
            adapters=adapters,
            styles=styles,
            engine=engine,
            queue=JobQueue(
                store=jobs,
                engine=engine,
                limits=lambda submission: sheets.limits_for(submission, limits),
                checks=[styles.check],
            ),
        )
