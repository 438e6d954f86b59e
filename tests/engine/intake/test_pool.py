"""The processes that read files: their limits, their ends, and a bot that does not notice."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.errors import RefusedFileError
from engine.intake.pool import BROKE, NOT_NOW, TOO_SLOW, Intake
from engine.settings import Settings
from tests.engine.intake import picture_files as make
from tests.engine.intake.picture_files import saved, scene

ROOT = Path(__file__).parents[3]


def children() -> list[psutil.Process]:
    """The processes that read files for this test."""
    found = []
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if "engine.intake.child" in process.cmdline():
                found.append(process)
    return found


def busy_children(seconds: float) -> list[psutil.Process]:
    """Those that have used so much CPU time: more than a start takes, so they read their file."""
    return [one for one in children() if one.cpu_times().user > seconds]


async def until(seen: Callable[[], Any]) -> Any:
    """Returns what `seen` returns once that is true; nothing tells of another process's work."""
    async with asyncio.timeout(60):
        while not (found := seen()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return found


@contextlib.asynccontextmanager
async def running(**fields: float) -> AsyncIterator[Intake]:
    """An intake that keeps a child ready; at the end no process is left."""
    async with Intake(Settings(**fields)) as intake:  # type: ignore[arg-type]
        task = asyncio.create_task(intake.run())
        try:
            yield intake
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    assert not children()


def slow_file() -> bytes:
    """A JPEG within all limits of its header that takes seconds to decode."""
    return make.jpeg_sized(6000, 6000, make.many_scans(2000, 2000, 20))


def large_file() -> bytes:
    """36 megapixels in 5 kB, which become 180 MB."""
    palette = make.chunk(b"PLTE", bytes(6)) + make.chunk(b"tRNS", b"\0\x80")
    return make.png(make.header(6000, 6000, 1, 3), palette, make.rows(750, 6000), make.END)


async def refusal(intake: Intake, data: bytes) -> str:
    with pytest.raises(RefusedFileError) as refused:
        await intake.picture(data)
    return str(refused.value)


async def test_pictures_come_back_clean_with_and_without_a_child_that_is_ready() -> None:
    async with Intake(Settings(max_picture_side=64)) as intake:
        clean = await intake.picture(saved(scene(600, 400), "JPEG"))
        assert (clean.width, clean.height) == (64, 43)
        assert clean.png.startswith(make.SIGNATURE)
    async with running() as intake:
        for _ in range(2):
            clean = await intake.picture(saved(scene(), "PNG"))
            assert (clean.width, clean.height) == (48, 32)


async def test_too_much_memory_is_a_sentence_and_the_next_file_is_read() -> None:
    async with running(intake_memory_mb=128) as intake:
        assert "too much memory" in await refusal(intake, large_file())
        assert (await intake.picture(saved(scene(), "PNG"))).width == 48


async def test_too_much_time_is_a_sentence_and_the_next_file_is_read() -> None:
    async with running(intake_timeout_s=0.2) as intake:
        assert await refusal(intake, slow_file()) == TOO_SLOW.format(seconds=0.2)
    async with running() as intake:
        assert (await intake.picture(saved(scene(), "PNG"))).width == 48


async def test_death_of_a_child_is_a_sentence_and_the_next_file_is_read() -> None:
    async with running() as intake:
        asking = asyncio.create_task(refusal(intake, slow_file()))
        (busy,) = await until(lambda: busy_children(0.3))
        busy.kill()
        assert await asking == BROKE
        assert (await intake.picture(saved(scene(), "PNG"))).width == 48


async def test_death_of_a_waiting_child_is_not_noticed() -> None:
    async with running() as intake:
        await intake.picture(saved(scene(), "PNG"))
        await until(lambda: intake._idle)
        for child in children():
            child.kill()
        assert (await intake.picture(saved(scene(), "PNG"))).width == 48


async def test_no_process_to_be_had_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("/nowhere/python", "/bin/false"):  # not there; ends at once
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", program)
            async with Intake(Settings()) as intake:
                assert await refusal(intake, saved(scene(), "PNG")) == NOT_NOW


async def test_giving_up_ends_the_process() -> None:
    async with Intake(Settings()) as intake:
        asking = asyncio.create_task(intake.picture(slow_file()))
        await until(lambda: busy_children(0.2))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not children()


async def test_twenty_hostile_pictures_neither_stall_the_loop_nor_fill_the_memory() -> None:
    slow, large = slow_file(), large_file()
    header = make.header(9000, 9000, 1, 0)
    others = [
        make.png(header, make.rows(1125, 9000), make.END),
        make.png_with(make.chunk(b"tEXt", b"a\0b") * 30_000),
        make.many_scans(64, 64, 300),
        make.jpeg_sized(65535, 65535),
        make.riff(make.canvas(2**24, 2**24)),
        b"\xff\xd8\xff<html>",
        bytes(3_000_000),
    ]
    files = [slow, slow, large, large, *(others * 3)[:16]]
    gaps: list[float] = []
    memory: list[int] = []

    async def tick() -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(0.01)
            now = time.thread_time()
            gaps.append(now - before)
            for child in children():
                with contextlib.suppress(psutil.Error):
                    memory.append(child.memory_info().rss)
            before = time.thread_time()

    async with running(intake_timeout_s=0.25, intake_memory_mb=160) as intake:
        ticking = asyncio.create_task(tick())
        verdicts = await asyncio.gather(*(refusal(intake, data) for data in files))
        ticking.cancel()
    assert len(verdicts) == 20
    assert all(text.endswith(".") for text in verdicts)
    assert verdicts[0] == TOO_SLOW.format(seconds=0.25)
    assert "too much memory" in verdicts[2] or verdicts[2] == TOO_SLOW.format(seconds=0.25)
    assert max(gaps) < 0.5  # CPU seconds of the loop between two turns
    assert max(memory) < 160 * 2**20


def test_a_child_can_open_no_file_and_start_no_process_of_its_own() -> None:
    code = """
import os, resource, socket
from engine.intake import limits
limits.apply(memory_bytes=300 * 2**20, cpu_s=7)
def fails(act):
    try:
        act()
    except (OSError, MemoryError):
        return True
    return False
assert fails(lambda: open("/etc/passwd"))
assert fails(lambda: open("/tmp/easel-intake", "w"))
assert fails(lambda: socket.socket())
assert fails(lambda: os.pipe())
assert fails(lambda: bytearray(400 * 2**20))
assert resource.getrlimit(resource.RLIMIT_CPU) == (7, 8)
assert resource.getrlimit(resource.RLIMIT_NPROC) == (0, 0)
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
assert os.geteuid() == 0 or fails(os.fork)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_child_ends_with_its_bot() -> None:
    command = [sys.executable, "-P", "-m", "engine.intake.child", str(2**29), "5"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.read(8)  # it is ready
        process.stdin.close()
        assert process.wait(20) == 0
