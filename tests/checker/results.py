"""Promises 2, 3 and 7: an acknowledged job has exactly one result or one apology; calm status lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from engine.types import NOBODY
from tests.checker.evidence import Evidence, Json, Row, Violation, buttons

RESULT_BUTTONS = {"reroll", "info"}
FAILURE_BUTTONS = {"retry"}
LINE_BUTTONS = {"cancel"}
EDIT_SPACING_S = 2.0
TOKEN_LIFE_S = 15 * 60.0
_PURPOSES = ("r", "f")
_CLOSED = (403, 404)


def check_results(evidence: Evidence, *, is_drained: bool) -> Iterator[Violation]:
    yield from _nonces_are_stable(evidence)
    yield from _progress_is_calm(evidence)
    yield from _ends_are_single(evidence)
    if is_drained:
        yield from _every_acknowledged_job_ended(evidence)
        yield from _no_line_is_left(evidence)


def acknowledged(evidence: Evidence) -> dict[str, str | None]:
    """Job ids that a status line was seen of, with the interaction that the line answers."""
    seen: dict[str, str | None] = {}
    for record in evidence.written("message", "edit"):
        for job_id, action in buttons(record["components"]):
            if action in LINE_BUTTONS:
                seen.setdefault(job_id, record["interaction_id"])
    return seen


def ends(evidence: Evidence) -> dict[str, set[str]]:
    """The ids of the messages that brought each job's result or apology."""
    lines = acknowledged(evidence)
    found: dict[str, set[str]] = defaultdict(set)
    for record in evidence.written("message", "edit"):
        job_id, _, purpose = str(record["nonce"] or "").partition(":")
        if record["kind"] == "message" and purpose in _PURPOSES:
            found[job_id].add(record["id"])
        elif record["interaction_id"] is not None:  # a private line becomes the result
            for job, action in buttons(record["components"]):
                is_own = record["interaction_id"] in (lines.get(job), _asked_by(evidence, job))
                if action in RESULT_BUTTONS | FAILURE_BUTTONS and is_own:
                    found[job].add(record["id"])
    return found


def _asked_by(evidence: Evidence, job_id: str) -> str | None:
    row = evidence.jobs.get(job_id)
    kind, _, number = row["origin"].partition(":") if row is not None else ("", "", "")
    return number if kind == "interaction" else None


def _sheet(row: Row) -> str | None:
    kind, number, *_ = row["origin"].split(":")
    return f"{kind}:{number}" if kind == "sheet" else None


def _ends_are_single(evidence: Evidence) -> Iterator[Violation]:
    for job_id, messages in ends(evidence).items():
        if len(messages) > 1:
            yield Violation("one end", f"job {job_id} was told {len(messages)} times")


def _every_acknowledged_job_ended(evidence: Evidence) -> Iterator[Violation]:
    told = ends(evidence)
    gone = set(acknowledged(evidence)) - set(evidence.jobs)
    if gone and not _has_erased(evidence):
        yield Violation("no job lost", f"acknowledged and not stored: {sorted(gone)}")
    sheets = {_sheet(row) for row in evidence.jobs.values() if told.get(row["id"])}
    for job_id, row in evidence.jobs.items():
        sheet = _sheet(row)
        if row["state"] not in ("rendered", "failed") or (sheet and sheet in sheets):
            continue
        if row["owner_id"] == NOBODY:  # the preview of a style
            continue
        if not told.get(job_id) and not _was_turned_away(evidence, job_id):
            text = f"job {job_id} ({row['state']}) of {row['owner_name']} ended in silence"
            yield Violation("one end", text)


def _has_erased(evidence: Evidence) -> bool:
    return any("erase" in str(record["data"]) for record in evidence.of("interaction"))


def _was_turned_away(evidence: Evidence, job_id: str) -> bool:
    """True when every door was closed: the pictures are kept for /history."""
    row = evidence.jobs[job_id]
    return row["delivered_at"] is not None and any(
        record["status"] in _CLOSED and not record.get("fault")
        for record in evidence.of("request")
        if isinstance(record["request"], dict)
        and record["request"].get("nonce") in [f"{job_id}:{purpose}" for purpose in _PURPOSES]
    )


def _no_line_is_left(evidence: Evidence) -> Iterator[Violation]:
    """The last thing of a job is that its line goes, or says that it was cancelled."""
    for message_id, record in open_lines(evidence.records, evidence.bot_id).items():
        jobs = {job_id for job_id, _ in buttons(record["components"])}
        states = [evidence.jobs.get(job_id, {}).get("state", "unknown") for job_id in jobs]
        yield Violation("no line left", f"message {message_id} of job {jobs} ({states}) stayed")

    yield from _answers_that_stayed(evidence)


def _answers_that_stayed(evidence: Evidence) -> Iterator[Violation]:
    """Also a line without buttons goes: "Looking at your picture", or "is thinking"."""
    asked_by = {
        interaction_id: row["id"]
        for row in evidence.jobs.values()
        if row["state"] in ("rendered", "failed")
        and not row["private"]
        and (interaction_id := _asked_by(evidence, row["id"])) is not None  # others by a message
    }
    deleted = {record["id"] for record in evidence.of("delete")}
    channels = {record["data"]["id"] for record in evidence.of("gateway")
                if record.get("event") == "CHANNEL_DELETE"}  # fmt: skip
    told = ends(evidence)
    for record in evidence.written("message"):
        job_id = asked_by.get(record["interaction_id"])
        if job_id is None or record["visible_to"] or record["channel_id"] in channels:
            continue
        if record["id"] in deleted | told[job_id]:
            continue
        yield Violation("no line left", f"the answer that asked for job {job_id} stayed")


def open_lines(records: list[Json], bot_id: str) -> dict[str, Json]:
    """The newest record of each message that still is a status line.

    Only a token leads to a line that one person sees: until it expires, or the bot that knew it ends.
    """
    lines: dict[str, Json] = {}
    had_buttons: set[str] = set()
    for record in records:
        if record["kind"] == "delete":
            lines.pop(record["id"], None)
        elif record.get("event") == "CHANNEL_DELETE":
            lines = {key: line for key, line in lines.items()
                     if line["channel_id"] != record["data"]["id"]}  # fmt: skip
        elif record["kind"] in ("message", "edit") and record["author_id"] == bot_id:
            actions = {action for _, action in buttons(record["components"])}
            if actions & LINE_BUTTONS:
                had_buttons.add(record["id"])
            is_cancelled = record["id"] in had_buttons and not actions
            if actions & LINE_BUTTONS or (_looks_at_a_picture(record) and not is_cancelled):
                lines[record["id"]] = record
            else:
                lines.pop(record["id"], None)
    now = records[-1]["t"] if records else 0.0
    starts = [record["t"] for record in records if record.get("did") == "start"]
    reach_until = {
        key: min([line["t"] + TOKEN_LIFE_S, *(t for t in starts if t > line["t"])])
        for key, line in lines.items()
        if line["visible_to"] is not None
    }
    return {key: line for key, line in lines.items() if now <= reach_until.get(key, now)}


def _looks_at_a_picture(record: Json) -> bool:
    """True for the line of an attached picture, which has no button yet."""
    is_answer = record["interaction_id"] is not None and record["visible_to"] is None
    return is_answer and not record["components"] and "** — <@" in record["content"]


def _nonces_are_stable(evidence: Evidence) -> Iterator[Violation]:
    for record in evidence.of("request"):
        body = record["request"]
        is_send = record["method"] == "POST" and record["path"].endswith("/messages")
        if not is_send or not isinstance(body, dict):
            continue
        nonce = str(body.get("nonce") or "")
        if not nonce or not body.get("enforce_nonce"):
            yield Violation("nonce", f"a message was sent without one: {body.get('content')!r}")
            continue
        results = {j for j, action in buttons(body.get("components") or [])
                   if action in RESULT_BUTTONS | FAILURE_BUTTONS}  # fmt: skip
        is_copy = nonce.startswith("d:")  # "Send to DM"
        if results and nonce.partition(":")[0] not in results and not is_copy:
            yield Violation("nonce", f"the result of {results} was sent as {nonce!r}")


def _progress_is_calm(evidence: Evidence) -> Iterator[Violation]:
    shown: dict[str, Json] = {}
    for record in evidence.written("edit"):
        if "▰" not in record["content"] and "▱" not in record["content"]:
            continue
        before = shown.get(record["id"])
        shown[record["id"]] = record
        # The same once more is discord.py's own second try.
        if before is None or before["content"] == record["content"]:
            continue
        pause = record["t"] - before["t"]
        if pause < EDIT_SPACING_S:
            text = f"message {record['id']} was edited {pause:.2f} s after its last edit"
            yield Violation("calm progress", text)
