"""What came of a run of the nemesis: its figures as people read them, and what missed its goal."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.checker.answers import latencies_s, starved_answers
from tests.checker.ending import LAG_LIMIT_MS
from tests.checker.evidence import Evidence, Violation

LEAST_PICTURES = 0.95
LEAST_THROUGHPUT = 0.70


@dataclass
class Report:
    """What came of a run.

    Attributes:
        jobs: Jobs that were accepted, without those that people cancelled.
        pictures: Those that ended as a picture.
        seconds: From the first command to the last result, without `waited_s`.
        waited_s: How long starts of the bot waited for a processor on a machine that does other things.
        evidence: All that the run left behind.
        violations: Promises that were broken.
        lag_ms: The 99th percentile of the event loop's lag in the last minute.
        done: How often each fault happened.
    """

    jobs: int
    pictures: int
    seconds: float
    waited_s: float
    evidence: Evidence
    violations: list[Violation]
    lag_ms: float
    done: Counter[str] = field(default_factory=Counter)

    @property
    def share(self) -> float:
        return self.pictures / self.jobs

    @property
    def pace(self) -> float:
        """Pictures a second."""
        return self.pictures / self.seconds


def lines(report: Report, clean: Report | None) -> list[str]:
    """The report as people read it; what missed its goal is marked."""
    acks = latencies_s(report.evidence) or [0.0]
    p99 = acks[int(len(acks) * 0.99)] if len(acks) > 1 else acks[0]
    said = [
        f"jobs {report.jobs}, ended as a picture {report.pictures} "
        f"({report.share:.1%}, at least {LEAST_PICTURES:.0%})",
        f"violations {len(report.violations)}",
        f"acknowledged, 99 % within {p99 * 1e3:.0f} ms; event-loop lag, 99 % "
        f"{report.lag_ms:.0f} ms (goal on a machine with a core to spare: {LAG_LIMIT_MS:.0f})",
        f"pictures a second {report.pace:.2f}",
    ]
    if clean is not None:
        said[-1] += (
            f", without faults {clean.pace:.2f}: {report.pace / clean.pace:.0%} "
            f"(at least {LEAST_THROUGHPUT:.0%})"
        )
    if report.waited_s > 0:
        said[-1] += f", less {report.waited_s:.1f} s that restarts waited for a processor"
    if starved := len(starved_answers(report.evidence)):
        said.append(f"late only for want of a processor: {starved} answers")
    said.append("; ".join(f"{name} {count}" for name, count in sorted(report.done.items())))
    return said


def failures(report: Report, clean: Report | None) -> list[str]:
    """What was promised and not kept."""
    found = [str(violation) for violation in report.violations]
    if report.share < LEAST_PICTURES:
        failed = Counter(job["error"] for job in report.evidence.jobs.values() if job["error"])
        found.append(f"only {report.share:.1%} ended as a picture: {failed}")
    if clean is not None:
        found += [f"without faults: {violation}" for violation in clean.violations]
        if report.pace < LEAST_THROUGHPUT * clean.pace:
            found.append(f"only {report.pace / clean.pace:.0%} of the pace without faults")
    return found


def keep(evidence: Evidence, folder: Path) -> None:
    """Writes history and log into a folder, to look at."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "easel.log").write_text(evidence.log)
    with (folder / "history.jsonl").open("w") as file:
        for record in evidence.records:
            file.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
    (folder / "tables.json").write_text(json.dumps(evidence.tables, default=str, indent=1))
