"""Metrics as Prometheus reads them: counts of what happened, and nothing of anybody's."""

from __future__ import annotations

import socket
from collections.abc import Callable

import aiohttp
import pytest

from cli.rehearsal import BotProcess
from playground import Person, Playground

prometheus_parser = pytest.importorskip("prometheus_client.parser")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def scrape(port: int) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as response,
    ):
        assert response.status == 200
        assert response.content_type == "text/plain"
        return await response.text()


def values(text: str) -> dict[tuple[str, str], float]:
    """Values by the name and the first label's value."""
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in prometheus_parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_what_is_scraped(bot: BotProcess, people: Callable[[int], list[Person]]) -> None:
    port = free_port()
    bot.environment["EASEL_METRICS_PORT"] = str(port)
    (ann,) = people(1)
    async with bot:
        before = values(await scrape(port))
        assert ("easel_jobs_total", "rendered") not in before
        await ann.slash("imagine", prompt="a secret cat", count=2)
        made = await ann.place.wait_for(lambda m: m.attachments and m.pings(ann.user))
        await ann.slash("imagine", prompt="engine:fail a secret dog")
        await ann.place.wait_for(lambda m: "Try again" in m.buttons, after=made)
        text = await scrape(port)
    found = values(text)
    assert found["easel_jobs_total", "rendered"] == 1
    assert found["easel_jobs_total", "failed"] == 1
    assert found["easel_pictures_total", ""] == 2
    assert found["easel_wait_seconds_count", ""] == 2
    assert found["easel_job_seconds_count", ""] == 1
    assert found["easel_engine_starts_total", ""] == 1
    assert found["easel_engine_ready", ""] == 1
    assert found["easel_connected", ""] in (0, 1)  # discord.py waits some seconds for all servers
    assert found["easel_queue_jobs", ""] == 0
    assert found["easel_gpu_total_bytes", ""] == 16 << 30
    assert 0 <= found["easel_loop_lag_p99_seconds", ""] < 5
    assert found["easel_database_bytes", ""] > 0
    for personal in ("secret", ann.user.name, str(ann.user.id)):
        assert personal not in text
    with pytest.raises(aiohttp.ClientError):
        await scrape(port)


async def test_a_port_that_is_taken_stops_the_start(discord: Playground, bot: BotProcess) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bot.environment["EASEL_METRICS_PORT"] = str(taken.getsockname()[1])
        with pytest.raises(RuntimeError, match="EASEL_METRICS_PORT"):
            await bot.start()
