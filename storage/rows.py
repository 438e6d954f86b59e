"""How times, requests, jobs and generations stand in rows, and back."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import TypeAdapter

from engine.errors import InvalidRequestError
from engine.types import (
    AdapterWeight,
    Control,
    Destination,
    Generation,
    GenerationRequest,
    Job,
    JobState,
    Sampler,
    SecondPass,
    Submission,
)

D = TypeVar("D", GenerationRequest, SecondPass, Control, AdapterWeight)
Clock = Callable[[], datetime]  # returns aware UTC

_REQUEST = TypeAdapter(GenerationRequest)


def utc_now() -> datetime:
    """Returns the time of this machine's clock."""
    return datetime.now(UTC)


def to_text(time: datetime) -> str:
    """Returns ISO 8601 in UTC with microseconds always there, so that texts sort as times do."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def to_time(text: str) -> datetime:
    """Returns the aware UTC time of a column."""
    return datetime.fromisoformat(text)


def request_to_json(request: GenerationRequest) -> str:
    """Returns every field, also those with their default, so that a later default changes nothing."""
    return _REQUEST.dump_json(request).decode()


def request_from_json(text: str) -> GenerationRequest:
    """Returns the request, also one of before a limit became tighter.

    It was accepted once, so it is not refused here, where it would keep all the others from being
    read: the engine refuses it with a sentence, and history shows it as it was.
    """
    try:
        return _REQUEST.validate_json(text)
    except InvalidRequestError:
        values = json.loads(text)
    if values.get("second_pass") is not None:
        values["second_pass"] = _unchecked(SecondPass, values["second_pass"])
    values["controls"] = tuple(_unchecked(Control, c) for c in values.get("controls", ()))
    values["adapters"] = tuple(_unchecked(AdapterWeight, a) for a in values.get("adapters", ()))
    return _unchecked(GenerationRequest, values | {"sampler": Sampler(values["sampler"])})


def job_from_row(row: sqlite3.Row) -> Job:
    """Returns the job of a row of jobs."""
    error = row["error"]
    return Job(
        id=row["id"],
        submission=_submission(row),
        state=JobState(row["state"]),
        cost=row["cost"],
        attempts=row["attempts"],
        created_at=to_time(row["created_at"]),
        started_at=_optional_time(row["started_at"]),
        finished_at=_optional_time(row["finished_at"]),
        error=None if error is None else _error(error),
        status_message_id=row["status_message_id"],
        result_message_id=row["result_message_id"],
        result_channel_id=row["result_channel_id"],
        sending_since=_optional_time(row["sending_since"]),
        delivered_at=_optional_time(row["delivered_at"]),
        bumped_at=_optional_time(row["bumped_at"]),
    )


def generation_from_row(row: sqlite3.Row) -> Generation:
    """Returns the generation of a row of `storage.history.GENERATIONS`."""
    pictures: list[tuple[str | None, int, float | None]] = json.loads(row["pictures"])
    return Generation(
        id=row["id"],
        submission=_submission(row),
        created_at=to_time(row["generated_at"]),
        seconds=row["seconds"],
        pictures=tuple(sha256 for sha256, _, _ in pictures if sha256 is not None),
        seeds=tuple(seed for _, seed, _ in pictures),
        warnings=tuple(json.loads(row["warnings"])),
        receipt=json.loads(row["receipt"]),
        message_id=row["result_message_id"],
        channel_id=row["result_channel_id"],
        deleted_at=_optional_time(row["deleted_at"]),
        scores=tuple(score for _, _, score in pictures),
    )


def to_json(value: Any) -> str:
    """Returns compact JSON; raises ValueError for NaN and infinities, which JSON does not have."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _submission(row: sqlite3.Row) -> Submission:
    return Submission(
        origin=row["origin"],
        owner_id=row["owner_id"],
        owner_name=row["owner_name"],
        destination=Destination(
            channel_id=row["channel_id"],
            guild_id=row["guild_id"],
            private=bool(row["private"]),
            spoiler=bool(row["spoiler"]),
            locale=row["locale"],
        ),
        request=request_from_json(row["request"]),
        action=row["action"],
        parent_id=row["parent_id"],
        pins_model=bool(row["pins_model"]),
    )


def _unchecked(cls: type[D], values: Mapping[str, Any]) -> D:
    """Returns a frozen dataclass without running its checks."""
    made = object.__new__(cls)
    for field in dataclasses.fields(cls):
        object.__setattr__(made, field.name, values.get(field.name, field.default))
    return made


def _error(text: str) -> tuple[str, str]:
    name, message = json.loads(text)
    return name, message


def _optional_time(text: str | None) -> datetime | None:
    return None if text is None else to_time(text)
