"""Metrics for Prometheus: what this process counted and how it is now, without anything of people.

`prometheus-client` is an extra (`pip install -e '.[metrics]'`) and only here. Everything is read when
it is asked for, so that counting costs nothing that is not counted anyway.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from cli.health import Health
from cli.parts import Parts
from engine.errors import EngineDiedError, StartError
from engine.tally import Spread
from engine.types import EngineReady

log = logging.getLogger("easel.metrics")

MISSING = (
    "EASEL_METRICS_PORT is set, but prometheus-client is not installed. Install it with "
    "pip install -e '.[metrics]', or unset EASEL_METRICS_PORT."
)
_STATS_S = 2.0


@asynccontextmanager
async def serving(parts: Parts, health: Health) -> AsyncIterator[tuple[str, int] | None]:
    """Serves `/metrics` while the block runs; yields (host, port), or None when it is off.

    Raises:
        StartError: The package is missing, or the address cannot be used.
    """
    settings = parts.settings
    if settings.metrics_port is None:
        yield None
        return
    try:
        import prometheus_client
    except ImportError as error:
        raise StartError(MISSING) from error
    collector = Collector(parts, health)
    registry = prometheus_client.CollectorRegistry()
    registry.register(collector)

    async def answer(_: web.Request) -> web.Response:
        await collector.look()
        text = prometheus_client.generate_latest(registry)
        return web.Response(
            body=text, headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST}
        )

    app = web.Application()
    app.router.add_get("/metrics", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, settings.metrics_host, settings.metrics_port).start()
        except OSError as error:
            raise StartError(
                f"Metrics cannot be served at {settings.metrics_host}:{settings.metrics_port} "
                f"({error.strerror}). Set EASEL_METRICS_PORT to another port."
            ) from error
        host, port = runner.addresses[0][:2]
        log.info("Metrics at http://%s:%d/metrics", host, port)
        yield host, port
    finally:
        await runner.cleanup()


class Collector:
    """Turns counts into what prometheus_client writes."""

    def __init__(self, parts: Parts, health: Health) -> None:
        """Looks at nothing yet."""
        self._parts = parts
        self._health = health
        self._stats: Mapping[str, Any] = {}
        self._database_bytes = 0

    async def look(self) -> None:
        """Asks the engine and the database; to be called before `collect`, which cannot wait."""
        try:
            async with asyncio.timeout(_STATS_S):
                self._stats = await self._parts.engine.call("stats")
        except (EngineDiedError, TimeoutError):
            self._stats = {}
        self._database_bytes = await self._parts.figures.database_bytes()

    def describe(self) -> Iterator[Any]:
        """Names nothing before the first scrape."""
        return iter(())

    def collect(self) -> Iterator[Any]:
        """Yields all families."""
        from prometheus_client.metrics_core import CounterMetricFamily

        tally = self._parts.tally
        jobs = CounterMetricFamily(
            "easel_jobs", "Jobs that ended, by how.", labels=("end", "error")
        )
        for (end, error), number in sorted(tally.ends.items()):
            jobs.add_metric((end, error), number)
        yield jobs
        for name, text, value in (
            ("pictures", "Pictures that were made.", tally.pictures),
            ("engine_starts", "Engine processes that became ready.", tally.engine_starts),
            ("engine_deaths", "Engine processes that ended.", tally.engine_deaths),
        ):
            yield CounterMetricFamily(f"easel_{name}", text, value=value)
        yield _histogram("wait_seconds", "From a request to its first step.", tally.waits)
        yield _histogram(
            "job_seconds", "From a job's first step to its last picture.", tally.makings
        )
        yield from self._gauges()

    def _gauges(self) -> Iterator[Any]:
        from prometheus_client.metrics_core import GaugeMetricFamily

        parts, state, stats = self._parts, self._health.state(), self._stats
        is_ready = isinstance(parts.queue.engine_state, EngineReady)
        found: dict[str, tuple[str, float | None]] = {
            "queue_jobs": ("Jobs that wait.", state["waiting"]),
            "connected": ("1 while connected to Discord.", state["connected"]),
            "engine_ready": ("1 while a model is loaded.", is_ready),
            "engine_resident_bytes": ("Memory of the engine process.", stats.get("rss_bytes")),
            "engine_rows": ("Rows that are being drawn.", stats.get("rows")),
            "engine_steps_per_second": ("Calls of the U-Net.", stats.get("steps_per_s")),
            "gpu_tensor_bytes": ("GPU memory of the engine's tensors.", stats.get("cuda_bytes")),
            "gpu_free_bytes": ("Free GPU memory.", stats.get("device_free_bytes")),
            "gpu_total_bytes": ("All GPU memory.", stats.get("device_total_bytes")),
            "loop_lag_p99_seconds": (
                "How late the event loop wakes tasks, of the last minute.",
                state["loop_lag_p99_ms"] / 1000,
            ),
            "loop_lag_max_seconds": (
                "The worst of the last minute.",
                state["loop_lag_max_ms"] / 1000,
            ),
            "database_bytes": ("Size of the database.", self._database_bytes),
            "start_time_seconds": ("When the bot started.", parts.tally.since.timestamp()),
        }
        for name, (text, value) in found.items():
            if value is not None:
                yield GaugeMetricFamily(f"easel_{name}", text, value=float(value))


def _histogram(name: str, text: str, spread: Spread) -> Any:
    from prometheus_client.metrics_core import HistogramMetricFamily

    buckets = [
        ("+Inf" if math.isinf(bound) else repr(bound), count)
        for bound, count in spread.cumulative()
    ]
    return HistogramMetricFamily(f"easel_{name}", text, buckets=buckets, sum_value=spread.total)
