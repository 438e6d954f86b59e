"""The checker notices: a real scenario passes it, and each way of doctoring its evidence does not."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from playground import Playground
from tests.checker.check import check, violations
from tests.checker.evidence import Evidence, Json
from tests.checker.processor import waited_s
from tests.checker.watched_bot import WatchedBot
from tests.faults.conftest import bot_settings

Doctor = Callable[[Evidence], None]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Two pictures, an apology and a job that was cancelled, as they really went."""
    return asyncio.run(play(tmp_path_factory.mktemp("scenario")))


async def play(folder: Path) -> Evidence:
    async with Playground(rate_limits=None) as discord:
        guild = discord.guild("Studio")
        guild.channel("art")
        ana = guild.member("Ana")
        bot = WatchedBot(discord, folder, **bot_settings(folder))
        await bot.start()
        for prompt in ("a red circle", "a blue circle", "nothing engine:fail"):
            await (await ana.slash("imagine", prompt=prompt)).acknowledged()
        line = await (await ana.slash("imagine", prompt="a ring engine:hold")).response()
        label = next(label for label in line.buttons if label in ("Cancel", "Stop"))
        await (await ana.press(line, label)).acknowledged()
        return await check(bot)


def sends(evidence: Evidence) -> list[Json]:
    """The requests that posted a result or an apology."""
    return [r for r in evidence.of("request") if r["path"].endswith("/messages") and r["request"]]


def results(evidence: Evidence) -> list[Json]:
    return [r for r in evidence.of("message") if str(r["nonce"]).endswith((":r", ":f"))]


def rendered(evidence: Evidence) -> Json:
    return next(row for row in evidence.tables["jobs"] if row["state"] == "rendered")


def stop_later(evidence: Evidence) -> None:
    """Nobody waits for the answer of a bot that is stopped; so it is not stopped that soon."""
    for record in evidence.records:
        if record.get("did") == "stop" or record.get("direction") == "close":
            record["t"] += 10


def forget_an_answer(evidence: Evidence) -> None:
    stop_later(evidence)
    evidence.records.remove(next(evidence.of("ack")))


def answer_late(evidence: Evidence) -> None:
    stop_later(evidence)
    next(evidence.of("ack"))["latency_s"] = 3.5


def answer_twice(evidence: Evidence) -> None:
    callback = next(r for r in evidence.of("request") if r["path"].endswith("/callback"))
    evidence.records.append(copy.deepcopy(callback))


def post_the_result_twice(evidence: Evidence) -> None:
    evidence.records.append(copy.deepcopy(results(evidence)[0]) | {"id": "1"})


def post_no_result(evidence: Evidence) -> None:
    evidence.records.remove(results(evidence)[0])


def lose_an_acknowledged_job(evidence: Evidence) -> None:
    evidence.tables["jobs"].remove(rendered(evidence))


def leave_a_line(evidence: Evidence) -> None:
    evidence.records.remove(next(evidence.of("delete")))


def send_without_a_nonce(evidence: Evidence) -> None:
    del sends(evidence)[0]["request"]["nonce"]


def send_with_a_foreign_nonce(evidence: Evidence) -> None:
    sends(evidence)[0]["request"]["nonce"] = "0123456789abc:r"


def ping_anybody(evidence: Evidence) -> None:
    del sends(evidence)[0]["request"]["allowed_mentions"]


def tell_a_path(evidence: Evidence) -> None:
    sends(evidence)[0]["request"]["content"] += f" {evidence.paths[0]}/data"


def tell_a_traceback(evidence: Evidence) -> None:
    sends(evidence)[0]["request"]["content"] += " Traceback (most recent call last)"


def tell_the_token(evidence: Evidence) -> None:
    sends(evidence)[0]["request"]["content"] += evidence.secrets["token 1 of the bot"]


def edit_in_a_hurry(evidence: Evidence) -> None:
    line = next(r for r in evidence.of("message") if "cancel" in str(r["components"]))
    for number in range(2):
        shown = {"kind": "edit", "content": f"▰▱ {number}/4", "t": line["t"] + number}
        evidence.records.insert(line["seq"] + 1 + number, copy.deepcopy(line) | shown)


def stay_queued(evidence: Evidence) -> None:
    rendered(evidence)["state"] = "queued"


def deliver_nothing(evidence: Evidence) -> None:
    rendered(evidence)["delivered_at"] = None


def charge_for_a_failure(evidence: Evidence) -> None:
    rendered(evidence)["state"] = "failed"


def lose_a_row(evidence: Evidence) -> None:
    evidence.tables["pictures"].pop()


def start_out_of_order(evidence: Evidence) -> None:
    first = min(evidence.tables["jobs"], key=lambda row: row["number"])
    first["started_at"] = "2999-01-01T00:00:00.000000+00:00"


def leave_a_process(evidence: Evidence) -> None:
    next(r for r in evidence.of("bot") if r["did"] == "stop")["children"].append("engine")


def leave_a_file(evidence: Evidence) -> None:
    next(r for r in evidence.of("bot") if r["did"] == "stop")["files"].append("x.tmp")


def stop_slowly(evidence: Evidence) -> None:
    next(r for r in evidence.of("bot") if r["did"] == "stop")["seconds"] = 11.0


DOCTORS: list[tuple[Doctor, str]] = [
    (forget_an_answer, "answered in 3 s"),
    (answer_late, "answered in 3 s"),
    (answer_twice, "answered once"),
    (post_the_result_twice, "one end"),
    (post_no_result, "one end"),
    (lose_an_acknowledged_job, "no job lost"),
    (leave_a_line, "no line left"),
    (send_without_a_nonce, "nonce"),
    (send_with_a_foreign_nonce, "nonce"),
    (ping_anybody, "manners"),
    (tell_a_path, "no traceback or path"),
    (tell_a_traceback, "no traceback or path"),
    (tell_the_token, "secrets"),
    (edit_in_a_hurry, "calm progress"),
    (stay_queued, "at rest"),
    (deliver_nothing, "at rest"),
    (charge_for_a_failure, "charges"),
    (lose_a_row, "rows and files"),
    (start_out_of_order, "order"),
    (leave_a_process, "nothing left"),
    (leave_a_file, "nothing left"),
    (stop_slowly, "clean stop"),
]


@pytest.mark.parametrize(("doctor", "rule"), DOCTORS, ids=[d.__name__ for d, _ in DOCTORS])
def test_doctored_history_is_noticed(real: Evidence, doctor: Doctor, rule: str) -> None:
    assert violations(real) == []
    doctored = dataclasses.replace(
        real, records=copy.deepcopy(real.records), tables=copy.deepcopy(real.tables)
    )
    doctor(doctored)
    assert rule in {violation.rule for violation in violations(doctored)}


@pytest.mark.parametrize(("seconds", "is_excused"), [(0.4, True), (0.2, False)])
def test_an_answer_that_was_late_for_want_of_a_processor_is_excused(
    real: Evidence, seconds: float, is_excused: bool
) -> None:
    doctored = dataclasses.replace(real, records=copy.deepcopy(real.records))
    forget_an_answer(doctored)
    asked = next(doctored.of("interaction"))
    waited = {"kind": "waited", "id": asked["id"], "t": asked["t"] + 3.3, "seconds": seconds}
    doctored.records.append(waited)
    rules = {violation.rule for violation in violations(doctored)}
    assert ("answered in 3 s" not in rules) is is_excused


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the system does not count")
def test_a_process_that_gets_no_processor_is_seen_to_wait() -> None:
    [cpu, *_] = os.sched_getaffinity(0)
    spin = "import os, time; os.sched_setaffinity(0, {%d}); end = time.monotonic() + 60\nwhile time.monotonic() < end: pass"
    spinning = [subprocess.Popen([sys.executable, "-c", spin % cpu]) for _ in range(2)]
    try:
        before = waited_s(spinning[0].pid)
        while waited_s(spinning[0].pid) < before + 0.3:
            assert spinning[0].poll() is None
    finally:
        for process in spinning:
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"quick_check": "row 3 missing from index"}, "sound database"),
        ({"files": frozenset()}, "rows and files"),
        ({"log": "Traceback (most recent call last):\n  File x\n"}, "no traceback"),
        ({"log": "a line that somebody has forged\n"}, "log lines"),
    ],
)
def test_what_lies_beside_the_history_is_looked_at(
    real: Evidence, changes: dict[str, object], rule: str
) -> None:
    found = violations(dataclasses.replace(real, **changes))
    assert rule in {violation.rule for violation in found}


def test_a_secret_in_the_log_or_the_database_is_noticed(real: Evidence) -> None:
    assert real.data_dir is not None
    for changed in (
        {
            "log": "2026-01-01 00:00:00,000 INFO    easel: canary-in-log\n",
            "secrets": {"it": "canary-in-log"},
        },
        {"secrets": {"it": "a red circle"}},  # which the database has
    ):
        found = violations(dataclasses.replace(real, **changed))
        assert "secrets" in {violation.rule for violation in found}
