"""The database and the files after the end: sound, at rest, each row with its file, nobody overcharged."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator

from tests.checker.evidence import Evidence, Row, Violation

FINAL = {"rendered", "failed", "cancelled"}


def check_store(evidence: Evidence, *, is_drained: bool) -> Iterator[Violation]:
    if evidence.data_dir is None:
        return
    if evidence.quick_check != "ok":
        yield Violation("sound database", evidence.quick_check)
    yield from _rows_and_files_agree(evidence)
    yield from _charges_are_right(evidence)
    if is_drained:
        yield from _everything_is_at_rest(evidence)
        yield from _order_was_kept(evidence)


def _rows_and_files_agree(evidence: Evidence) -> Iterator[Violation]:
    rows = {row["sha256"] for row in evidence.tables["pictures"]}
    if missing := rows - evidence.files:
        yield Violation("rows and files", f"rows without a file: {sorted(missing)[:3]}")
    if extra := evidence.files - rows:
        yield Violation("rows and files", f"files without a row: {sorted(extra)[:3]}")
    shown = defaultdict(int)
    for row in evidence.tables["generation_pictures"]:
        shown[row["generation_id"]] += 1
    for job in evidence.jobs.values():
        if job["state"] == "rendered" and not shown[job["id"]]:
            yield Violation("rows and files", f"job {job['id']} is rendered and has no picture")


def _charges_are_right(evidence: Evidence) -> Iterator[Violation]:
    """Promise 11: what failed or was cancelled costs nothing; what was made, its price, once."""
    charges = {row["job_id"]: row for row in evidence.tables["charges"]}
    for job in evidence.jobs.values():
        charge = charges.get(job["id"])
        is_paid = charge is not None and charge["refunded_at"] is None
        if job["state"] == "rendered" and not is_paid:
            yield Violation("charges", f"job {job['id']} was made for nothing")
        if job["state"] in ("failed", "cancelled") and is_paid:
            yield Violation("charges", f"job {job['id']} {job['state']} and was not refunded")


def _everything_is_at_rest(evidence: Evidence) -> Iterator[Violation]:
    for job in evidence.jobs.values():
        if job["state"] not in FINAL:
            yield Violation("at rest", f"job {job['id']} is {job['state']}")
        elif job["state"] != "cancelled" and job["delivered_at"] is None:
            yield Violation("at rest", f"job {job['id']} ({job['state']}) is not delivered")
    for arrival in evidence.tables["arrivals"]:
        yield Violation("at rest", f"the picture of {arrival['origin']} is still awaited")


def _order_was_kept(evidence: Evidence) -> Iterator[Violation]:
    """A person's jobs start in the order in which they came, unless a death made some start anew."""
    starts = sum(record.get("did") == "start" for record in evidence.of("bot"))
    if starts != 1:
        return
    people: dict[int, list[Row]] = defaultdict(list)
    for job in sorted(evidence.jobs.values(), key=lambda row: int(row["number"])):
        if job["started_at"] is not None:
            people[job["owner_id"]].append(job)
    if any(job["attempts"] for jobs in people.values() for job in jobs):
        return
    for jobs in people.values():
        for earlier, later in itertools.pairwise(jobs):
            if later["started_at"] < earlier["started_at"]:
                text = f"job {later['id']} started before {earlier['id']} of the same person"
                yield Violation("order", text)
