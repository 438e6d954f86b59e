"""All faults mixed by a seed: no promise is broken, and nearly everybody gets a picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import nemesis, soak
from tests.faults.report import failures, lines
from tests.faults.soak import Sample


async def test_a_short_run_breaks_no_promise(tmp_path: Path) -> None:
    report = await nemesis.run(tmp_path, seed=1, jobs=30)
    assert not report.violations, "\n".join(map(str, report.violations))
    assert report.jobs >= 20
    assert sum(report.done[kind] for kind in nemesis.FAULTS) >= 4


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(1, 6))
async def test_a_long_run_breaks_no_promise(tmp_path: Path, seed: int) -> None:
    """The pace is compared by `make nemesis`: here other tests may run beside it."""
    report = await nemesis.run(tmp_path, seed)
    assert not failures(report, None), "\n".join(lines(report, None))


def test_what_grows_is_found_and_what_does_not_is_left_alone() -> None:
    steady = [Sample(70 + n % 2, 500 + n % 5, 40, 4, 11, 5, 4.1) for n in range(50)]
    assert soak.grown(steady)[2] == []
    leaking = [Sample(70 + n / 5, 500, 40 + n, 4, 11, 5, 4.1) for n in range(50)]
    assert [line.split()[0] for line in soak.grown(leaking)[2]] == ["bot_mb", "bot_files"]
