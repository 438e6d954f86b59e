"""Opens storage, engine client and queue in one place and hands them down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from engine.client import EngineClient
from engine.intake.pool import Intake
from engine.model_card import provisional_info
from engine.models import Models
from engine.moderation import Moderation
from engine.queue import PACE, JobQueue
from engine.settings import Settings
from engine.styles import Styles
from engine.tally import Tally
from engine.types import EngineInfo, Limits, Submission
from storage.activity import Activities
from storage.adapters import AdapterTable
from storage.arrivals import Arrivals
from storage.audit import Audit
from storage.backups import Backups
from storage.blocked_words import BlockedWords
from storage.blocks import Blocks
from storage.cases import Cases
from storage.channel_rules import ChannelRules
from storage.database import Database
from storage.drafts import Drafts
from storage.facts import Facts
from storage.figures import Figures
from storage.gallery import Gallery
from storage.grants import GrantTable
from storage.history import History
from storage.jobs import JobTable
from storage.ledger import Ledger
from storage.operation import Operation
from storage.people import People
from storage.pictures import PictureFiles
from storage.places import Places
from storage.poses import Poses
from storage.privacy import Privacy
from storage.purge import Purge
from storage.references import collect_garbage
from storage.reports import Reports
from storage.rules import Rules
from storage.safety import ServerSafety
from storage.server_models import ServerModels


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
    rules: Rules
    blocks: Blocks
    channel_rules: ChannelRules
    grants: GrantTable
    activities: Activities
    history: History
    gallery: Gallery
    people: People
    operation: Operation
    places: Places
    moderation: Moderation
    poses: Poses
    drafts: Drafts
    privacy: Privacy
    facts: Facts
    reports: Reports
    cases: Cases
    safety: ServerSafety
    audit: Audit
    tally: Tally
    figures: Figures
    backups: Backups
    purge: Purge
    adapters: AdapterTable
    styles: Styles
    models: Models
    server_models: ServerModels
    engine: EngineClient
    queue: JobQueue


@asynccontextmanager
async def open_parts(
    settings: Settings, *, info: EngineInfo | None = None, pace: tuple[int, float] = PACE
) -> AsyncIterator[Parts]:
    """Opens the data directory; `engine.run()` and `queue.run()` are the caller's tasks.

    Args:
        settings: What the operator set.
        info: What is taken for the model until the engine tells; left out, what the settings say.
        pace: See `JobQueue`.

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
        operation = Operation(database)
        await operation.load()
        places = Places(database)
        await places.load()
        poses = Poses(database)
        await poses.load()
        tally = Tally()
        jobs = JobTable(database, pictures, tally=tally)
        engine = EngineClient(settings, info or provisional_info(settings), tally=tally)
        adapters = AdapterTable(database, settings.data_dir)
        await adapters.collect_garbage()
        styles = Styles(store=adapters, settings=settings, intake=intake, info=lambda: engine.info)
        await styles.load()
        rules = Rules(database, configured=limits, info=lambda: engine.info)
        await rules.load()
        blocks = Blocks(database)
        await blocks.load()
        channel_rules = ChannelRules(database)
        await channel_rules.load()
        safety = ServerSafety(database)
        await safety.load()
        server_models = ServerModels(database)
        await server_models.load()
        models = Models(
            settings=settings,
            engine=engine,
            save=operation.set_choice,
            allows=lambda guild_id, name: name not in server_models.of(guild_id).denied,
        )
        await models.refresh()

        def harmless(submission: Submission) -> tuple[str | None, ...]:
            """Returns what counts as negative prompt where nobody gives one."""
            info = engine.info
            return (
                settings.default_negative_prompt,
                info.default_negative_prompt if info is not None else None,
                *places.negative_prompts(submission.destination),
            )

        moderation = Moderation(store=BlockedWords(database), harmless=harmless)
        await moderation.load()
        yield Parts(
            settings=settings,
            limits=limits,
            database=database,
            pictures=pictures,
            jobs=jobs,
            arrivals=Arrivals(database),
            intake=intake,
            ledger=Ledger(database),
            rules=rules,
            blocks=blocks,
            channel_rules=channel_rules,
            grants=GrantTable(database),
            activities=Activities(database),
            history=History(database, pictures),
            gallery=Gallery(database),
            people=people,
            operation=operation,
            places=places,
            moderation=moderation,
            poses=poses,
            drafts=Drafts(database),
            privacy=privacy,
            facts=Facts(database),
            reports=Reports(database),
            cases=Cases(database, pictures),
            safety=safety,
            audit=Audit(database),
            tally=tally,
            figures=Figures(database),
            backups=Backups(database, settings.data_dir, keep=settings.backups_kept),
            purge=Purge(database, pictures),
            adapters=adapters,
            styles=styles,
            models=models,
            server_models=server_models,
            engine=engine,
            queue=JobQueue(
                store=jobs,
                engine=engine,
                limits=rules.of_submission,
                checks=[blocks.check, rules.check, styles.check, models.check, moderation.check],
                flow=operation.flow,
                refit=models.refit,
                pace=pace,
            ),
        )
