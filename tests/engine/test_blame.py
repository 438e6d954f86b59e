"""Who is blamed for an engine's death: the guilty are set aside, the innocent all finish."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from engine.blame import AcceptedJob, Roster


def roster_of(*job_ids: str) -> Roster:
    roster = Roster()
    for job_id in job_ids:
        roster.add(AcceptedJob(job_id, 1, b""))
    return roster


def send_all(roster: Roster, *, start: bool = True) -> list[str]:
    sent = []
    while (job := roster.next_to_send()) is not None:
        job.is_sent, job.has_started = True, start
        sent.append(job.job_id)
    return sent


def test_without_a_death_everything_is_sent_in_order():
    assert send_all(roster_of("a", "b", "c")) == ["a", "b", "c"]


def test_suspects_run_alone_before_the_rest():
    roster = roster_of("a", "b", "c")
    first = roster.next_to_send()
    first.is_sent = first.has_started = True
    second = roster.next_to_send()
    second.is_sent = True  # sent, not started: innocent
    assert roster.process_died().blamed == ("a",)
    assert send_all(roster) == ["a"]
    assert send_all(roster) == []
    roster.pop("a")
    assert send_all(roster) == ["b", "c"]


def test_only_a_job_that_was_alone_is_set_aside():
    roster = roster_of("a", "b")
    send_all(roster)
    assert roster.process_died().set_aside == ()
    send_all(roster)
    verdict = roster.process_died()
    assert (verdict.blamed, verdict.set_aside) == (("a",), ("a",))
    assert send_all(roster) == ["b"]
    roster.pop("b")
    assert len(roster) == 0


def test_when_nobody_had_started_everybody_sent_is_a_suspect():
    roster = roster_of("a", "b")
    send_all(roster, start=False)
    assert roster.process_died().blamed == ("a", "b")
    assert send_all(roster) == ["a"]


def test_a_job_that_is_near_two_deaths_becomes_a_suspect():
    roster = roster_of("runs", "lurks")
    for expected in (("runs",), ("other", "lurks")):
        for job in (roster.get("runs"), roster.get("other"), roster.get("lurks")):
            if job is not None:
                job.is_sent = True
                job.has_started = job.job_id != "lurks"
        assert set(roster.process_died().blamed) == set(expected)
        if roster.get("runs"):
            roster.pop("runs")
            roster.add(AcceptedJob("other", 1, b""))


def test_a_cancelled_job_is_not_made_again():
    roster = roster_of("a", "b")
    send_all(roster)
    roster.get("a").is_cancelled = True
    verdict = roster.process_died()
    assert (verdict.cancelled, verdict.blamed) == (("a",), ("b",))
    assert send_all(roster) == ["b"]


def test_pictures_of_a_dead_process_are_dropped():
    roster = roster_of("a")
    send_all(roster)
    roster.get("a").pictures[0] = object()
    roster.process_died()
    assert roster.get("a").pictures == {}


@settings(max_examples=100, deadline=None)
@given(
    poisons=st.lists(st.sampled_from(["", "", "", "early", "late"]), min_size=1, max_size=12),
    knee=st.integers(1, 6),
    random=st.randoms(use_true_random=False),
)
def test_the_guilty_are_set_aside_and_nobody_else(poisons, knee, random):
    """An engine that runs `knee` jobs at once and dies of each poisoned one, before or after its start."""
    roster = Roster()
    poison_of = {f"job{n}": poison for n, poison in enumerate(poisons)}
    for job_id in poison_of:
        roster.add(AcceptedJob(job_id, 1, b""))
    finished, set_aside, deaths = [], [], 0
    while len(roster):
        for _ in range(random.randint(1, knee + 1)):
            job = roster.next_to_send()
            if job is not None and len(roster.in_flight) <= knee:
                job.is_sent = True
        in_flight = roster.in_flight
        assert in_flight
        assert len(in_flight) == 1 or not any(job.is_suspect for job in in_flight)
        dies = False
        for job in in_flight[:knee]:
            if poison_of[job.job_id] == "early":
                dies = True
                break
            job.has_started = True
        dies = dies or any(poison_of[job.job_id] and job.has_started for job in in_flight)
        if dies:
            deaths += 1
            set_aside += roster.process_died().set_aside
        else:
            job = random.choice(in_flight[:knee])
            roster.pop(job.job_id)
            finished.append(job.job_id)
        assert deaths <= 3 * len(poisons)
    assert sorted(set_aside) == sorted(job for job, poison in poison_of.items() if poison)
    assert sorted(finished) == sorted(job for job, poison in poison_of.items() if not poison)
