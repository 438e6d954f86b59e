"""Promises 1 and 5: each interaction is answered in three seconds, and once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.checker.evidence import Evidence, Json, Violation

LIMIT_S = 3.0
_ALREADY_ANSWERED = 40060
_UNKNOWN_CHANNEL = 10003


def check_answers(evidence: Evidence) -> Iterator[Violation]:
    yield from _every_interaction_is_answered(evidence)
    yield from _no_interaction_is_answered_twice(evidence)


def latencies_s(evidence: Evidence) -> list[float]:
    """How long each answer took, in rising order."""
    return sorted(record["latency_s"] for record in evidence.of("ack"))


def starved_answers(evidence: Evidence) -> set[str]:
    """The interactions whose answer came too late only because the bot had to wait for a processor."""
    asked = {record["id"]: record["t"] for record in evidence.of("interaction")}
    return {
        record["id"]
        for record in evidence.of("waited")
        if record["t"] - asked[record["id"]] - record["seconds"] <= LIMIT_S
    }


def _every_interaction_is_answered(evidence: Evidence) -> Iterator[Violation]:
    answered = {record["id"]: record["latency_s"] for record in evidence.of("ack")}
    excused, starved = _excused(evidence), starved_answers(evidence)
    for asked in evidence.of("interaction"):
        latency = answered.get(asked["id"])
        if latency is not None and latency <= LIMIT_S:
            continue
        if _lets_pass(asked, excused, evidence) or not asked["delivered"]:
            continue
        if latency is None and (_is_place_gone(asked, evidence) or asked["id"] in starved):
            continue
        how = "never" if latency is None else f"after {latency:.1f} s"
        yield Violation("answered in 3 s", f"{asked['text']!r} of {asked['user']}: {how}")


def _excused(evidence: Evidence) -> list[tuple[float, float]]:
    """Times in which nobody can expect an answer: a dead line, a dead or halted bot, a fault."""
    spans = []
    down_since = None
    for record in evidence.of("gateway", "bot", "fault"):
        at = record["t"]
        if record["kind"] == "fault":
            spans.append((at, at + record.get("lasts_s", 0.0)))
        elif record.get("direction") == "close":
            spans.append((at, at))
        elif record.get("did") in ("kill", "stop", "start") and down_since is None:
            down_since = at
        elif record.get("did") == "ready" and down_since is not None:
            spans.append((down_since, at))
            down_since = None
    if down_since is not None:
        spans.append((down_since, float("inf")))
    return spans


def _lets_pass(asked: Json, excused: list[tuple[float, float]], evidence: Evidence) -> bool:
    begin, end = asked["t"], asked["t"] + LIMIT_S
    if any(since <= end and until >= begin for since, until in excused):
        return True
    return any(
        record.get("fault") and record["params"].get("interaction_id") == asked["id"]
        for record in evidence.of("request")
    )


def _is_place_gone(asked: Json, evidence: Evidence) -> bool:
    """True when the answer came in time to a channel that had been deleted: nobody can read it there."""
    return any(
        record["path"].endswith("/callback")
        and record["params"]["interaction_id"] == asked["id"]
        and _code(record) == _UNKNOWN_CHANNEL
        and record["t"] - asked["t"] <= LIMIT_S
        for record in evidence.of("request")
    )


def _code(request: Json) -> int | None:
    """Discord's own code of a refusal; its front answers with a page."""
    answer = request["response"]
    return answer.get("code") if isinstance(answer, dict) else None


def _no_interaction_is_answered_twice(evidence: Evidence) -> Iterator[Violation]:
    deliveries: Counter[str] = Counter()
    stored, refused, excused = Counter[str](), Counter[str](), Counter[str]()
    for record in evidence.of("gateway", "request"):
        if record.get("event") == "INTERACTION_CREATE":
            deliveries[str(record["data"]["id"])] += 1
        elif record["kind"] == "request" and record["path"].endswith("/callback"):
            key = record["params"]["interaction_id"]
            if record.get("fault"):
                # The bot cannot know whether it was stored: discord.py tries again, and then the bot.
                excused[key] += 2
            elif record["status"] in (200, 204):
                stored[key] += 1
            elif _code(record) == _ALREADY_ANSWERED:
                refused[key] += 1
    for key, count in stored.items():
        if count > 1:
            yield Violation("answered once", f"interaction {key} was answered {count} times")
    for key, count in refused.items():
        if count > max(deliveries[key] - 1, 0) + excused[key]:
            text = f"interaction {key} was answered again {count} times"
            yield Violation("answered once", text)
