"""What somebody takes with them: their pictures with metadata, or everything stored about them."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import discord

from cogs import _answer, _archive, _buttons, _counts, _search
from cogs._archive import Archive, Entry
from cogs._buttons import Action, Press
from cogs._desk import Desk, desk_of
from cogs._language import N_, t
from engine.types import Generation
from storage.gallery import Wanted
from storage.privacy import Record

NOTHING = N_("There is nothing to export.")
PICTURES = N_("{pictures} of {jobs}, the newest first, with everything that made them.")
EVERYTHING = N_(
    "Everything that is stored about you: `about-me.json` and, newest first, {jobs} with "
    "{pictures}."
)
EVERYTHING_MORE = N_("Further {jobs} with {pictures}.")

_AT_ONCE = 50


async def pictures(
    interaction: discord.Interaction, desk: Desk, wanted: Wanted, before: str | None = None
) -> None:
    """Answers with the person's pictures."""
    entries = _pictures(desk, interaction.user.id, wanted, before)
    limit = interaction.filesize_limit
    archive = await _answer.in_time(
        interaction, _archive.pack(entries, desk.parts.pictures, limit), ephemeral=True
    )
    index, rest = _search.encoded(wanted)
    following = Press(archive.last or "", _buttons.EXPORT, index, rest)
    await _send(interaction, archive, PICTURES, "pictures", following)


async def everything(
    interaction: discord.Interaction, desk: Desk, before: str | None = None
) -> None:
    """Answers with all that is stored about the person."""
    person_id = interaction.user.id
    privacy = desk.parts.privacy

    async def work() -> Archive:
        first = None
        if before is None:
            await privacy.note_export(person_id)
            first = ("about-me.json", await privacy.about(person_id))
        return await _archive.pack(
            _everything(desk, person_id, before),
            desk.parts.pictures,
            interaction.filesize_limit,
            first=first,
        )

    archive = await _answer.in_time(interaction, work(), ephemeral=True)
    following = Press(archive.last or "", _buttons.EXPORT_ALL)
    text = EVERYTHING if before is None else EVERYTHING_MORE
    await _send(interaction, archive, text, "everything", following)


async def _send(
    interaction: discord.Interaction, archive: Archive, text: str, name: str, following: Press
) -> None:
    if not archive.files:
        await _answer.answer(interaction, t(NOTHING), ephemeral=True)
        return
    words = [
        t(
            text,
            pictures=_counts.pictures(archive.pictures),
            jobs=_counts.jobs(archive.jobs),
        ),
        *archive.notes(interaction.filesize_limit),
    ]
    files = archive.attachments(name)
    try:
        await _answer.answer(
            interaction,
            " ".join(words),
            ephemeral=True,
            files=files,
            view=_buttons.view_of(following) if archive.last is not None else None,
        )
    finally:
        for file in files:
            file.close()  # discord.py keeps its files from being closed before this
        archive.close()


async def _pictures(
    desk: Desk, person_id: int, wanted: Wanted, before: str | None
) -> AsyncIterator[Entry]:
    while True:
        page = await desk.parts.gallery.find(person_id, wanted, limit=_AT_ONCE, before=before)
        for generation in page:
            yield _entry(generation)
        if len(page) < _AT_ONCE:
            return
        before = page[-1].id


async def _everything(desk: Desk, person_id: int, before: str | None) -> AsyncIterator[Entry]:
    while True:
        page = await desk.parts.privacy.records(person_id, limit=_AT_ONCE, before=before)
        for record in page:
            yield _entry_of(record)
        if len(page) < _AT_ONCE:
            return
        before = page[-1].job_id


def _entry(generation: Generation) -> Entry:
    submission = generation.submission
    metadata: dict[str, Any] = {
        "id": generation.id,
        "made_at": generation.created_at.isoformat(),
        "action": submission.action,
        "made_from": submission.parent_id,
        "seeds": generation.seeds,
        "seconds": generation.seconds,
        **dataclasses.asdict(submission.request),
        "warnings": generation.warnings,
        "receipt": dict(generation.receipt),
    }
    return Entry(
        generation.id,
        _name(generation.created_at, generation.id),
        metadata,
        tuple((f"-{number}", sha256) for number, sha256 in enumerate(generation.pictures, 1)),
    )


def _entry_of(record: Record) -> Entry:
    made = [(f"-{number}", sha256) for number, sha256 in enumerate(record.pictures, 1)]
    inputs = [(f"-input-{number}", sha256) for number, sha256 in enumerate(record.inputs, 1)]
    asked_at = datetime.fromisoformat(record.values["created_at"])
    return Entry(record.job_id, _name(asked_at, record.job_id), record.values, tuple(made + inputs))


def _name(when: datetime, job_id: str) -> str:
    return f"{when:%Y-%m-%d}-{job_id}"


async def more_pictures(interaction: discord.Interaction, press: Press) -> None:
    """Sends what did not fit before."""
    desk = desk_of(interaction)
    wanted = _search.decoded(desk, press.index, press.rest)
    await pictures(interaction, desk, wanted, before=press.job_id)


async def more_of_everything(interaction: discord.Interaction, press: Press) -> None:
    """Sends what did not fit before."""
    await everything(interaction, desk_of(interaction), before=press.job_id)


ACTIONS: dict[str, Action] = {
    _buttons.EXPORT: more_pictures,
    _buttons.EXPORT_ALL: more_of_everything,
}
