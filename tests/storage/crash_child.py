"""A process that works on a data directory and says what it was told is done, until it is killed."""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

from engine.errors import GenerationError
from engine.types import JobState
from storage.database import Database
from storage.rows import utc_now
from tests.storage.samples import NO_LIMITS, Store, a_result, a_submission


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def one_job(store: Store, origin: str, number: int) -> None:
    submission = a_submission(number % 3, origin=origin)
    job, _ = await store.jobs.add(submission, cost=1.0, limits=NO_LIMITS)
    say("added", job.id)
    if number % 7 == 6:
        return
    await store.jobs.mark_running(job.id)
    if number % 4 == 3:
        await store.jobs.end(job.id, JobState.FAILED, GenerationError("no"))
        say("failed", job.id)
        return
    contents = [f"{origin} {index}".encode() * 2000 for index in range(2)]
    await store.jobs.finish(job.id, a_result(job.id, *contents))
    say("rendered", job.id)
    if number % 5 == 4:
        await store.history.delete_pictures(job.id)
        say("deleted", job.id)


async def main(data_dir: Path, run: str) -> None:
    async with Database.open(data_dir) as db:
        store = Store(db, data_dir, utc_now)
        for first in itertools.count(step=4):
            await asyncio.gather(
                *(one_job(store, f"{run}:{n}", n) for n in range(first, first + 4))
            )


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
