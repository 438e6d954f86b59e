"""The engine client with a real child process that runs, dies, hangs and talks nonsense on request."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest
from PIL import Image

from engine.client import EngineClient
from engine.control.making import encode
from engine.control.maps import AUTO, MapRequest
from engine.errors import EngineDiedError, InvalidRequestError
from engine.types import (
    EngineDied,
    EngineLoading,
    EngineReady,
    GenerationFailed,
    GenerationResult,
    Progress,
    Started,
)
from tests.engine.scripted import WAIT_S, info, ready, request, running_client, settings_for


def ids(number: int) -> list[str]:
    return [f"job{n}" for n in range(number)]


def processes(tmp_path: Path) -> list[str]:
    """Process ids of the engines that were started, in order."""
    lines = (tmp_path / "log").read_text().splitlines()
    return [line.split()[0] for line in lines if line.endswith(" start")]


def received(tmp_path: Path) -> list[list[str]]:
    """The jobs that each engine process was sent, in order."""
    by_process: dict[str, list[str]] = {}
    for line in (tmp_path / "log").read_text().splitlines():
        pid, word, *rest = line.split()
        jobs = by_process.setdefault(pid, [])
        if word == "received":
            jobs += rest
    return list(by_process.values())


async def test_a_job_starts_makes_progress_and_ends_with_its_pictures(tmp_path):
    async with running_client(settings_for(tmp_path)) as log:
        await log.client.submit("a", request(num_images=2, seed=2**32 - 1), {})
        result = (await log.finals("a"))["a"]
    assert isinstance(result, GenerationResult)
    assert [p.seed for p in result.pictures] == [2**32 - 1, 0]
    assert [p.index for p in result.pictures] == [0, 1]
    kinds = [type(e) for e in log.events]
    assert kinds[:2] == [EngineLoading, EngineReady]
    assert kinds[2:] == [Started, Progress, Progress, Progress, GenerationResult]
    assert [(e.step, e.total) for e in log.of(Progress)] == [(1, 3), (2, 3), (3, 3)]


async def test_init_pictures_reach_the_engine(tmp_path):
    sha256 = "ab" * 32
    async with running_client(settings_for(tmp_path)) as log:
        await log.client.submit("a", request(init_image=sha256, strength=1.0), {sha256: b"picture"})
        result = (await log.finals("a"))["a"]
    assert result.receipt["images"] == 1


async def test_twenty_jobs_survive_a_kill_while_four_run(tmp_path):
    async with running_client(settings_for(tmp_path)) as log:
        for job_id in ids(20):
            await log.client.submit(job_id, request("a cat engine:hold"), {})
        await log.until(lambda _: len(log.of(Started)) == 4)
        os.kill(log.client.pid, signal.SIGKILL)
        (tmp_path / "go").touch()
        ends = await log.finals(*ids(20))
        died = await log.first(EngineDied)
    assert all(isinstance(e, GenerationResult) for e in ends.values())
    assert set(died.job_ids) == set(ids(4))
    assert "SIGKILL" in died.message
    assert len(processes(tmp_path)) == 2
    # The four suspects went first, and each was sent when the one before had ended.
    lines = [line.split()[1:] for line in (tmp_path / "log").read_text().splitlines()]
    second = lines[lines.index(["start"], 1) + 1 :]
    alone = [[w, job] for job in ids(4) for w in ("received", "started", "done")]
    assert second[:12] == alone


async def test_a_job_that_kills_the_engine_is_set_aside_and_the_others_finish(tmp_path):
    prompts = dict.fromkeys(ids(8), "a cat") | {"job2": "a cat engine:crash"}
    async with running_client(settings_for(tmp_path, "--max-rows", "8")) as log:
        await ready(log)
        for job_id, prompt in prompts.items():
            await log.client.submit(job_id, request(prompt), {})
        ends = await log.finals(*prompts)
    failed = ends.pop("job2")
    assert (failed.error, isinstance(failed, GenerationFailed)) == ("JobSetAsideError", True)
    assert all(isinstance(e, GenerationResult) for e in ends.values())
    assert len(processes(tmp_path)) == 3
    assert received(tmp_path)[1][-1] == "job2"  # alone at its second death
    assert log.of(EngineDied)[-1].job_ids == ("job2",)


async def test_a_job_that_died_with_an_earlier_bot_runs_alone_and_once(tmp_path):
    async with running_client(settings_for(tmp_path)) as log:
        await log.client.submit("bad", request("a cat engine:crash"), {}, attempts=1)
        await log.client.submit("good", request(), {})
        ends = await log.finals("bad", "good")
    assert ends["bad"].error == "JobSetAsideError"
    assert isinstance(ends["good"], GenerationResult)
    assert received(tmp_path) == [["bad"], ["good"]]


async def test_a_job_that_kills_the_engine_before_it_starts_is_set_aside_too(tmp_path):
    async with running_client(settings_for(tmp_path)) as log:
        await log.client.submit("bad", request("a cat engine:early"), {})
        ends = await log.finals("bad")
        await log.client.submit("good", request(), {})
        ends = await log.finals("bad", "good")
    assert ends["bad"].error == "JobSetAsideError"
    assert isinstance(ends["good"], GenerationResult)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("segv", "SIGSEGV"),
        ("exit", "code 0"),
        ("partial", "SIGKILL"),
        ("last", "SIGKILL"),
        ("garbage", "garbage"),
        ("nonsense", "garbage"),
        ("cut", "closed its connection"),
        ("torn", "SIGKILL"),
        ("hangup", "closed its connection"),
    ],
)
async def test_a_death_of_any_kind_costs_no_picture(tmp_path, fault, words):
    async with running_client(settings_for(tmp_path)) as log:
        await log.client.submit("a", request(f"a cat engine:{fault}-once", num_images=3), {})
        result = (await log.finals("a"))["a"]
        died = await log.first(EngineDied)
    assert isinstance(result, GenerationResult)
    assert [p.index for p in result.pictures] == [0, 1, 2]
    assert words in died.message
    assert died.job_ids == ("a",)


async def test_a_death_is_noticed_within_two_seconds_whatever_the_engine_did(tmp_path):
    """By the client's own clock, from the end of the process to the event. A child that holds the
    dead engine's socket and output is the slowest case: then no end of file comes."""
    async with running_client(settings_for(tmp_path)) as log:
        await ready(log)
        os.kill(log.client.pid, signal.SIGKILL)  # while it is idle
        await log.first(EngineDied)
        for fault in ("crash", "exit", "segv", "orphan"):
            await log.client.submit(fault, request(f"a cat engine:{fault}-once"), {})
            assert isinstance((await log.finals(fault))[fault], GenerationResult)
    deaths = log.of(EngineDied)
    assert [died.job_ids for died in deaths] == [(), ("crash",), ("exit",), ("segv",), ("orphan",)]
    assert all(0 < died.noticed_s < 2 for died in deaths), [died.noticed_s for died in deaths]


async def test_a_death_while_it_loads_is_noticed_within_two_seconds(tmp_path):
    async with running_client(settings_for(tmp_path, "--loading", "1", "--never-ready")) as log:
        await log.until(lambda _: len(log.of(EngineLoading)) == 2)
        os.kill(int(processes(tmp_path)[0]), signal.SIGKILL)
        died = await log.first(EngineDied)
    assert "SIGKILL" in died.message
    assert 0 < died.noticed_s < 2


async def test_twenty_jobs_survive_an_engine_that_is_stopped_while_four_run(tmp_path):
    """The watchdog notices a stop, not the kernel; a stopped process is killed all the same."""
    async with running_client(settings_for(tmp_path, step_timeout_s=0.8)) as log:
        for job_id in ids(20):
            await log.client.submit(job_id, request("a cat engine:hold"), {})
        await log.until(lambda _: len(log.of(Started)) == 4)
        pid = log.client.pid
        os.kill(pid, signal.SIGSTOP)
        (tmp_path / "go").touch()
        ends = await log.finals(*ids(20))
        died = await log.first(EngineDied)
    assert all(isinstance(e, GenerationResult) for e in ends.values())
    assert died.message.startswith("The engine hung: no step for 0.8 s")
    assert set(died.job_ids) == set(ids(4))
    assert died.noticed_s < 2
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("fault", ["hang", "stop"])
async def test_a_hung_or_stopped_engine_is_replaced(tmp_path, fault):
    async with running_client(settings_for(tmp_path, step_timeout_s=0.4)) as log:
        await log.client.submit("a", request(f"a cat engine:{fault}-once"), {})
        result = (await log.finals("a"))["a"]
    assert isinstance(result, GenerationResult)
    assert "hung" in log.of(EngineDied)[0].message
    first, _second = processes(tmp_path)
    assert not psutil.pid_exists(int(first))


async def test_an_idle_or_slow_engine_is_not_hung(tmp_path):
    async with running_client(settings_for(tmp_path, step_timeout_s=0.15)) as log:
        await ready(log)
        await log.client.submit("a", request("a cat engine:hold"), {})
        await log.first(Started, "a")
        pid = log.client.pid
        # Four watchdog limits of a job without a step, while heartbeats go on.
        started = (await log.client.call("stats"))["ticks"]
        async with asyncio.timeout(WAIT_S):
            while (await log.client.call("stats"))["ticks"] < started + 300:
                pass
        assert log.client.pid == pid
        (tmp_path / "go").touch()
        assert isinstance((await log.finals("a"))["a"], GenerationResult)
    assert not log.of(EngineDied)


async def test_an_engine_above_its_memory_is_replaced_between_jobs_and_nobody_is_blamed(tmp_path):
    """Each job leaves 60 MiB: of five, two go to the first process, and two to the second."""
    settings = settings_for(tmp_path, "--leak-mb", "60", "--max-rows", "2", engine_memory_mb=210)
    async with running_client(settings) as log:
        for job_id in ids(5):
            await log.client.submit(job_id, request(), {})
            await log.finals(job_id)
            if (deaths := {"job1": 1, "job3": 2}.get(job_id)) is not None:
                # The heartbeat with the figure comes after the job's end.
                await log.until(lambda _, deaths=deaths: len(log.of(EngineDied)) == deaths)
        ends = await log.finals(*ids(5))
    assert all(isinstance(e, GenerationResult) for e in ends.values())
    assert received(tmp_path) == [["job0", "job1"], ["job2", "job3"], ["job4"]]
    for died in log.of(EngineDied):
        assert died.job_ids == ()
        assert "took 220 MiB, above its limit of 210 MiB" in died.message


async def test_jobs_wait_while_a_worn_engine_finishes_what_it_has(tmp_path):
    settings = settings_for(tmp_path, "--leak-mb", "60", engine_memory_mb=110)
    async with running_client(settings) as log:
        await log.client.submit("long", request("a cat engine:hold"), {})
        await log.first(Started, "long")
        await log.client.submit("short", request(), {})
        await log.finals("short")
        async with asyncio.timeout(WAIT_S):
            while log.client._wear.why is None:  # heartbeats go on
                await log.client.call("stats")
        await log.client.submit("next", request(), {})
        (tmp_path / "go").touch()
        ends = await log.finals("long", "next")
    assert all(isinstance(e, GenerationResult) for e in ends.values())
    assert received(tmp_path) == [["long", "short"], ["next"]]
    assert log.of(EngineDied)[0].job_ids == ()


async def test_a_memory_limit_below_the_model_itself_is_told_and_not_used(tmp_path, caplog):
    async with running_client(settings_for(tmp_path, engine_memory_mb=50)) as log:
        await log.client.submit("a", request(), {})
        await log.finals("a")
        await log.client.submit("b", request(), {})
        await log.finals("b")
    assert not log.of(EngineDied)
    assert len([r for r in caplog.records if "set a larger one" in r.message]) == 1


async def test_a_failure_ends_its_job_alone(tmp_path):
    async with running_client(settings_for(tmp_path)) as log:
        await log.client.submit("bad", request("a cat engine:fail"), {})
        await log.client.submit("short", request("a cat engine:short"), {})
        await log.client.submit("good", request(), {})
        ends = await log.finals("bad", "short", "good")
    assert (ends["bad"].error, ends["bad"].message) == ("GenerationError", "It did not work.")
    assert ends["short"].error == "GenerationError"
    assert isinstance(ends["good"], GenerationResult)
    assert not log.of(EngineDied)


async def test_cancel_before_the_engine_is_ready(tmp_path):
    async with running_client(settings_for(tmp_path, "--never-ready")) as log:
        await log.client.submit("a", request(), {})
        await log.client.cancel("a")
        assert (await log.finals("a"))["a"].error == "GenerationCancelledError"
        await log.client.cancel("a")
        await log.client.cancel("unknown")


async def test_cancel_of_a_running_and_of_a_sent_job(tmp_path):
    async with running_client(settings_for(tmp_path, "--max-rows", "2")) as log:
        await log.client.submit("runs", request("a cat engine:hold"), {})
        await log.client.submit("sent", request(), {})
        await log.first(Started, "runs")
        await log.client.cancel("sent")
        await log.client.cancel("runs")
        await log.client.cancel("runs")
        ends = await log.finals("runs", "sent")
    assert {e.error for e in ends.values()} == {"GenerationCancelledError"}


async def test_cancel_meets_a_death(tmp_path):
    """The engine dies before it acts on the cancel: the job is not made again."""
    async with running_client(settings_for(tmp_path, step_timeout_s=0.4)) as log:
        await log.client.submit("a", request("a cat engine:stop-once"), {})
        await log.first(Progress, "a")
        await log.client.cancel("a")
        ends = await log.finals("a")
        await log.client.submit("b", request(), {})
        await log.finals("b")
    # It may have got as far as to obey before it stopped; made it was in no case.
    assert ends["a"].error == "GenerationCancelledError"


async def test_progress_of_a_slow_start_earns_it_time(tmp_path):
    settings = settings_for(
        tmp_path, "--loading", "8", "--load-s", "0.45", engine_start_timeout_s=3.0
    )
    async with running_client(settings) as log:
        await ready(log)
    assert not log.of(EngineDied)
    assert log.of(EngineLoading)[-1] == EngineLoading("loading", 7 / 8)


async def test_a_start_without_progress_is_given_up(tmp_path):
    settings = settings_for(tmp_path, "--never-ready", engine_start_timeout_s=0.5)
    async with running_client(settings) as log:
        await log.client.submit("a", request(), {})
        died = await log.first(EngineDied)
        assert log.client.is_ready is False
    assert "no progress" in died.message
    assert died.job_ids == ()
    assert not log.ends()


async def test_a_model_that_cannot_be_loaded_is_tried_again_slowly(tmp_path):
    settings = settings_for(tmp_path, "--fatal")
    async with running_client(settings, backoff_s=(0.01, 3600.0)) as log:
        died = await log.first(EngineDied)
        await log.client.submit("a", request(), {})
        await log.client.cancel("a")
        await log.finals("a")
        assert len(processes(tmp_path)) == 1
    assert "ModelLoadError: no model at /nowhere" in died.message


async def test_a_model_that_cannot_be_loaded_is_told_once(tmp_path, caplog):
    async with running_client(settings_for(tmp_path, "--fatal")) as log:
        await log.until(lambda _: len(log.of(EngineDied)) == 3)
    assert all(died.is_hopeless for died in log.of(EngineDied))
    assert len(log.of(EngineLoading)) == 1  # or people would read each time that it is loading
    (error,) = [r for r in caplog.records if r.levelname == "ERROR"]
    assert "no model at /nowhere" in error.getMessage()
    assert not [r for r in caplog.records if r.levelname == "WARNING"]


async def test_a_model_that_is_found_at_last_is_told(tmp_path):
    settings = settings_for(tmp_path, "--loading", "2", "--fatal-once")
    async with running_client(settings) as log:
        await ready(log)
        os.kill(log.client.pid, signal.SIGKILL)
        await log.until(lambda _: len(log.of(EngineDied)) == 2)
        await log.until(lambda _: len(log.of(EngineReady)) == 2)
    assert [died.is_hopeless for died in log.of(EngineDied)] == [True, False]
    stages = [e.fraction for e in log.of(EngineLoading)]
    assert stages == [None, 0.0, 0.5, 0.0, 0.5, None, 0.0, 0.5]


async def test_a_command_that_does_not_exist_is_reported(tmp_path):
    settings = settings_for(tmp_path, engine_command=("/nowhere/engine",))
    async with running_client(settings) as log:
        died = await log.first(EngineDied)
    assert "/nowhere/engine" in died.message


async def test_an_end_by_a_signal_without_a_name_is_told(tmp_path):
    command = (sys.executable, "-c", "import os; os.kill(os.getpid(), 40)")  # a real-time signal
    async with running_client(settings_for(tmp_path, engine_command=command)) as log:
        died = await log.first(EngineDied)
    assert died.message == "The engine was ended by signal 40."


async def test_call_answers_and_fails_with_the_engine(tmp_path):
    async with running_client(settings_for(tmp_path)) as log:
        with pytest.raises(EngineDiedError):
            await log.client.call("stats")
        await ready(log)
        assert (await log.client.call("stats"))["pid"] == log.client.pid
        with pytest.raises(EngineDiedError):
            await log.client.call("stats", die=True)
        await log.until(lambda _: len(log.of(EngineReady)) == 2)
        assert (await log.client.call("stats"))["pid"] == log.client.pid


async def test_a_stop_leaves_nothing_behind(tmp_path):
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    async with running_client(settings_for(tmp_path)) as log:
        await log.client.submit("a", request("a cat engine:hold"), {})
        await log.first(Started, "a")
        pid = log.client.pid
    assert not psutil.pid_exists(pid)
    assert not psutil.Process().children()
    assert set(os.listdir("/proc/self/fd")) - before <= set()  # noqa: PTH208
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_stopped_engine_does_not_outlive_the_client(tmp_path):
    async with running_client(settings_for(tmp_path), stop_timeout_s=0.1) as log:
        await ready(log)
        pid = log.client.pid
        os.kill(pid, signal.SIGSTOP)
    assert not psutil.pid_exists(pid)


async def test_the_engine_gets_its_settings_and_no_secret(tmp_path, monkeypatch):
    for name in ("DISCORD_TOKEN", "EASEL_DATA_DIR", "MY_API_KEY", "DB_PASSWORD"):
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("HF_TOKEN", "needed")
    monkeypatch.setenv("HF_HOME", "/somewhere")
    async with running_client(settings_for(tmp_path, model="pocket", threads=1)) as log:
        await ready(log)
        environment = psutil.Process(log.client.pid).environ()
    assert "canary" not in environment.values()
    assert environment["HF_TOKEN"] == "needed"
    assert environment["HF_HOME"] == "/somewhere"
    assert environment["EASEL_MODEL"] == "pocket"
    assert environment["EASEL_THREADS"] == "1"


async def test_what_the_engine_prints_is_logged_in_short_lines(tmp_path, caplog):
    caplog.set_level("INFO", "easel.engine")
    line = "loading\x1b[31m weights " + "x" * 5000
    async with running_client(settings_for(tmp_path, "--stderr", line)) as log:
        await ready(log)
    texts = [r.message for r in caplog.records if r.name == "easel.engine"]
    assert texts[0].startswith("loading [31m weights xxx")
    assert max(map(len, texts)) <= 500


def test_info_is_provisional_before_the_handshake(tmp_path):
    client = EngineClient(settings_for(tmp_path), info(model="a guess"))
    assert (client.info.model, client.is_ready, client.pid) == ("a guess", False, None)
    assert EngineClient(settings_for(tmp_path)).info is None


async def test_a_picture_is_read_for_controls_or_refused_with_the_engines_sentence(
    tmp_path: Path,
) -> None:
    async with running_client(settings_for(tmp_path)) as log:
        with pytest.raises(EngineDiedError, match="is starting"):
            await log.client.detect(b"", MapRequest(AUTO, 8, 8))
        await ready(log)
        picture = encode(Image.new("RGB", (40, 80), "red"))
        made = await log.client.detect(picture, MapRequest(AUTO, 64, 64))
        assert (made.kind, len(made.people), made.was_map) == ("openpose", 1, False)
        assert Image.open(io.BytesIO(made.png)).size == (64, 64)
        assert made.people[0][4] == pytest.approx((0.28 * 64, 0.10 * 128 - 32))
        blue = encode(Image.new("RGB", (40, 80), "blue"))
        with pytest.raises(InvalidRequestError, match="I found no person"):
            await log.client.detect(blue, MapRequest("openpose", 64, 64))
