"""Takes a finished picture back before anybody has seen it: its job then is one that failed."""

from __future__ import annotations

from datetime import datetime

from engine.errors import EngineError
from engine.types import Job
from storage.database import Transaction
from storage.ledger import refund
from storage.rows import job_from_row, to_json


async def withdraw(
    tx: Transaction, job_id: str, error: EngineError, now: datetime
) -> tuple[Job, list[str]]:
    """Refunds a rendered job, takes it out of the history and sets it to failed and not delivered.

    Returns it, and the picture files to look after when the transaction has ended.
    """
    rows = await tx.rows(
        "SELECT sha256 FROM generation_pictures WHERE generation_id = ? AND sha256 IS NOT NULL",
        (job_id,),
    )
    for table in ("jobs", "generations"):  # made from it meanwhile
        await tx.rows(f"UPDATE {table} SET parent_id = NULL WHERE parent_id = ?", (job_id,))
    await tx.rows(
        "DELETE FROM stars WHERE number = (SELECT number FROM jobs WHERE id = ?)", (job_id,)
    )
    await tx.rows("DELETE FROM generation_pictures WHERE generation_id = ?", (job_id,))
    await tx.rows("DELETE FROM generations WHERE id = ?", (job_id,))
    row = await tx.row(
        "UPDATE jobs SET state = 'failed', error = ?, delivered_at = NULL, sending_since = NULL,"
        " result_message_id = NULL, result_channel_id = NULL WHERE id = ? RETURNING *",
        (to_json([type(error).__name__, str(error)]), job_id),
    )
    await refund(tx, job_id, now)
    assert row is not None  # the caller has looked
    return job_from_row(row), [str(row["sha256"]) for row in rows]
