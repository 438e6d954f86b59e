"""The virtual token counter: nothing lost, first in first out for each person, bounded unfairness."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.fairness import FairQueue

WORKS = st.integers(1, 16).map(float)  # exact in sums
PEOPLE = st.integers(1, 5)


class FairQueueMachine(RuleBasedStateMachine):
    """Against a plain model: a list of (job, person) in the order of arrival."""

    def __init__(self):
        super().__init__()
        self.queue = FairQueue()
        self.waiting: list[tuple[str, int]] = []
        self.works: dict[str, float] = {}
        self.taken: list[str] = []

    @rule(person=PEOPLE, work=WORKS)
    def add(self, person, work):
        job_id = f"job{len(self.works)}"
        self.works[job_id] = work
        self.queue.add(job_id, person, work)
        self.waiting.append((job_id, person))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def remove(self, data):
        entry = data.draw(st.sampled_from(self.waiting))
        assert self.queue.remove(entry[0])
        assert not self.queue.remove(entry[0])
        self.waiting.remove(entry)

    @rule(person=PEOPLE, work=WORKS)
    def credit(self, person, work):
        before = self.queue.served(person)
        self.queue.credit(person, work)
        assert self.queue.served(person) == max(before - work, 0.0)

    @rule()
    def take(self):
        counters = {person: self.queue.served(person) for _, person in self.waiting}
        expected = self.queue.peek()
        job_id = self.queue.take()
        assert job_id == expected
        if job_id is None:
            assert not self.waiting
            return
        person = dict(self.waiting)[job_id]
        assert counters[person] == min(counters.values())  # the least served
        assert job_id == next(job for job, owner in self.waiting if owner == person)  # oldest
        assert self.queue.served(person) == counters[person] + self.works[job_id]
        self.waiting.remove((job_id, person))
        assert job_id not in self.taken
        self.taken.append(job_id)

    @rule()
    def order_is_what_take_gives(self):
        order = self.queue.order()
        taken = []
        copy = FairQueue()
        # The same counters in a second queue, which is then emptied.
        copy._served.update(self.queue._served)
        copy._floor = self.queue._floor
        copy._entries.update(self.queue._entries)
        copy._lines.update({person: line.copy() for person, line in self.queue._lines.items()})
        while (job_id := copy.take()) is not None:
            taken.append(job_id)
        assert order == taken

    @invariant()
    def it_holds_exactly_what_waits(self):
        assert len(self.queue) == len(self.waiting)
        assert sorted(self.queue.order()) == sorted(job for job, _ in self.waiting)
        assert all(job in self.queue for job, _ in self.waiting)


TestFairQueue = FairQueueMachine.TestCase
TestFairQueue.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@settings(max_examples=80, deadline=None)
@given(
    works=st.lists(st.lists(WORKS, min_size=20, max_size=20), min_size=2, max_size=4),
    latecomer=st.integers(0, 15),
)
def test_two_who_always_wait_are_served_alike(works, latecomer):
    """The bound of the paper's theorem: two jobs of the largest size."""
    queue = FairQueue()
    numbers = [iter(line) for line in works]
    owner: dict[str, tuple[int, float]] = {}

    def add(person: int) -> bool:
        work = next(numbers[person], None)
        if work is not None:
            job_id = f"{person}-{len(owner)}"
            owner[job_id] = (person, work)
            queue.add(job_id, person, work)
        return work is not None

    for person in range(len(works) - 1):
        add(person)
        add(person)
    served: dict[int, float] = defaultdict(float)
    latest = len(works) - 1
    for turn in range(200):
        if turn == latecomer:  # from here on everybody waits at every moment
            served.clear()
            add(latest)
            add(latest)
        job_id = queue.take()
        if job_id is None:
            break
        person, work = owner[job_id]
        served[person] += work
        if not add(person):
            break
        if turn >= latecomer:
            totals = [served[p] for p in range(len(works))]
            assert max(totals) - min(totals) <= 2 * 16


def test_absence_saves_nothing_up():
    queue = FairQueue()
    for number in range(100):
        queue.add(f"busy{number}", 1, 10.0)
    for _ in range(50):
        queue.take()
    for number in range(3):
        queue.add(f"back{number}", 2, 10.0)
    assert [queue.take() for _ in range(6)] == [
        "busy50",
        "back0",
        "busy51",
        "back1",
        "busy52",
        "back2",
    ]


def test_who_comes_into_an_empty_queue_is_lifted_to_the_last_who_left():
    queue = FairQueue()
    queue.add("a", 1, 100.0)
    queue.take()
    queue.add("b", 2, 1.0)
    queue.add("c", 1, 1.0)
    assert queue.served(2) == queue.served(1) == 100.0
    assert queue.order() == ["b", "c"]


def test_small_jobs_pass_a_person_with_large_ones():
    queue = FairQueue()
    for number in range(3):
        queue.add(f"large{number}", 1, 40.0)
        queue.add(f"small{number}", 2, 10.0)
    assert queue.order() == ["large0", "small0", "small1", "small2", "large1", "large2"]


def test_a_cancelled_job_is_credited():
    queue = FairQueue()
    queue.add("a0", 1, 10.0)
    queue.add("a1", 1, 10.0)
    queue.add("b0", 2, 10.0)
    assert queue.take() == "a0"
    queue.credit(1, 10.0)
    assert queue.order() == ["a1", "b0"]


def test_counters_of_people_who_left_do_not_pile_up():
    queue = FairQueue()
    for person in range(5000):
        queue.add(f"job{person}", person, 1.0)
        queue.take()
    assert len(queue._served) < 1100


def test_the_same_job_twice_and_a_job_without_work_are_bugs():
    queue = FairQueue()
    queue.add("a", 1, 1.0)
    with pytest.raises(ValueError, match="a"):
        queue.add("a", 2, 1.0)
    with pytest.raises(ValueError, match="work"):
        queue.add("b", 2, 0.0)


def test_a_job_at_the_front_goes_first_and_is_charged_like_the_others():
    queue = FairQueue()
    for job_id, person in (("a0", 1), ("a1", 1), ("b0", 2), ("b1", 2)):
        queue.add(job_id, person, 2.0)
    queue.bump("b1")
    assert queue.peek() == "b1"
    # What person 2 will have got by then makes person 1 the next one, twice.
    assert queue.order() == ["b1", "a0", "a1", "b0"]
    queue.bump("a1")
    assert queue.order() == ["a1", "b1", "a0", "b0"]
    queue.bump("b1")  # again: in front of the one that came after it
    assert queue.order() == ["b1", "a1", "a0", "b0"]
    assert queue.remove("a1")
    taken = [queue.take() for _ in range(3)]
    assert taken == ["b1", "a0", "b0"]
    assert queue.served(2) == 4.0
    assert queue.take() is None
    with pytest.raises(KeyError):
        queue.bump("b1")
