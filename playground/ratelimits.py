"""REST rate limits: buckets per route and major parameter, a global one, headers and 429 bodies."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

from playground.clock import Clock


@dataclass(frozen=True)
class Limit:
    """`count` requests per `window_s` seconds."""

    count: int
    window_s: float


# Close to what Discord's answers show; the exact values are not documented and may differ.
DEFAULT_LIMITS: Mapping[str, Limit] = {
    "message_create": Limit(5, 5.0),
    "message_edit": Limit(5, 5.0),
    "message_delete": Limit(5, 1.0),
    "message_get": Limit(30, 30.0),
    "messages_list": Limit(50, 10.0),
    "reaction": Limit(1, 0.25),
    "typing": Limit(5, 5.0),
    "webhook": Limit(5, 2.0),
    "dm_create": Limit(10, 10.0),
    "commands": Limit(5, 20.0),
    "global": Limit(50, 1.0),
}


@dataclass
class _Bucket:
    limit: Limit
    resets_at: float
    used: int = 0


@dataclass(frozen=True)
class Verdict:
    """Whether a request may pass, and the headers that go with it."""

    passed: bool
    headers: dict[str, str]
    retry_after_s: float = 0.0
    is_global: bool = False


class RateLimits:
    """Fixed windows, as Discord has them; `None` as limits switches everything off."""

    def __init__(self, clock: Clock, limits: Mapping[str, Limit] | None) -> None:
        self._clock = clock
        self.limits = dict(limits or {})
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    def take(self, name: str | None, major: str, *, counts_globally: bool) -> Verdict:
        """Counts one request against its bucket and the global one."""
        if counts_globally and "global" in self.limits:
            bucket = self._bucket("global", "")
            if bucket.used >= bucket.limit.count:
                retry = self._left(bucket)
                return Verdict(False, {"X-RateLimit-Global": "true"}, retry, is_global=True)
            bucket.used += 1
        if name is None or name not in self.limits:
            return Verdict(True, {})
        bucket = self._bucket(name, major)
        if bucket.used >= bucket.limit.count:
            return Verdict(False, self._headers(name, bucket), self._left(bucket))
        bucket.used += 1
        return Verdict(True, self._headers(name, bucket))

    def _bucket(self, name: str, major: str) -> _Bucket:
        now = self._clock.monotonic()
        bucket = self._buckets.get((name, major))
        if bucket is None or now >= bucket.resets_at or bucket.limit != self.limits[name]:
            if len(self._buckets) > 10_000:  # one bucket per interaction token adds up
                self._buckets = {k: b for k, b in self._buckets.items() if now < b.resets_at}
            limit = self.limits[name]
            bucket = _Bucket(limit, now + limit.window_s)
            self._buckets[name, major] = bucket
        return bucket

    def _left(self, bucket: _Bucket) -> float:
        # Rounded up to whole milliseconds, so that a client which waits exactly that may go on.
        return math.ceil(max(0.0, bucket.resets_at - self._clock.monotonic()) * 1000 + 1) / 1000

    def _headers(self, name: str, bucket: _Bucket) -> dict[str, str]:
        left = self._left(bucket)
        return {
            "X-RateLimit-Limit": str(bucket.limit.count),
            "X-RateLimit-Remaining": str(bucket.limit.count - bucket.used),
            "X-RateLimit-Reset": f"{self._clock.time() + left:.3f}",
            "X-RateLimit-Reset-After": f"{left:.3f}",
            "X-RateLimit-Bucket": hashlib.sha256(name.encode()).hexdigest()[:32],
        }
