"""Estimated times: the measured rate and the schedule of rows."""

from __future__ import annotations

import pytest

from engine.eta import WorkRate, start_times


def test_the_rate_is_unknown_until_a_job_finished():
    rate = WorkRate()
    rate.begin(0.0)
    rate.add(10.0, 2.0)
    assert rate.per_second is None
    rate.finish_job(4.0, is_idle=True)  # decoding took as long as the steps
    assert rate.per_second == pytest.approx(2.5, rel=0.1)


def test_idle_time_does_not_count():
    rate = WorkRate()
    for start in (0.0, 1000.0):
        rate.begin(start)
        rate.add(10.0, start + 1.0)
        rate.finish_job(start + 1.0, is_idle=True)
    assert rate.per_second == pytest.approx(10.0)
    rate.stop()
    rate.add(1e9, 2000.0)
    assert rate.per_second == pytest.approx(10.0)


def test_the_rate_follows_a_change():
    rate = WorkRate()
    rate.begin(0.0)
    for second in range(1, 100):
        rate.add(10.0, second)
    for second in range(100, 200):
        rate.add(2.0, second)
    rate.finish_job(200.0, is_idle=False)
    assert rate.per_second == pytest.approx(2.0, rel=0.2)


def test_one_job_more_than_the_batch_holds_joins_and_slows_the_others():
    starts = start_times(
        [(2, 10.0), (2, 30.0)],
        [(2, 20.0), (4, 40.0), (2, 10.0)],
        max_rows=4,
        work_per_second=10.0,
    )
    # The first one makes the batch six rows, all equally slow: after 3 s each row has done 5, the
    # first running job ends and the wide one joins. Eight rows: after 4 s more each has done 10, the
    # job of 20 ends, and six rows are still too many. Rows of 15 and 15 end 3 s later, both at once.
    assert starts == [pytest.approx(t) for t in (0.0, 3.0, 10.0)]


def test_a_job_larger_than_the_batch_runs_alone():
    starts = start_times([(2, 10.0)], [(8, 40.0), (2, 5.0)], max_rows=4, work_per_second=10.0)
    # Two rows get half of the rate.
    assert starts == [pytest.approx(t) for t in (2.0, 6.0)]


def test_an_idle_engine_starts_a_job_now():
    assert start_times([], [(2, 10.0)], max_rows=4, work_per_second=1.0) == [0.0]


def test_more_rows_running_than_the_batch_holds_take_longer():
    starts = start_times(
        [(2, 4.0), (2, 4.0), (2, 4.0)], [(2, 4.0)], max_rows=4, work_per_second=4.0
    )
    assert starts == [pytest.approx(3.0)]
