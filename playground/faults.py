"""The seam where a test makes the loopback's REST fail: before or after a request took effect."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Phase = Literal["before", "after"]


@dataclass(frozen=True)
class Status:
    """Answer with a bare HTTP status, as Discord's front does: 500, 502, 503, 504...

    Attributes:
        page: What it says; None is a short HTML.
    """

    code: int
    page: str | None = None


@dataclass(frozen=True)
class Reset:
    """Break the connection with a TCP reset."""


@dataclass(frozen=True)
class Limited:
    """Answer 429; without `via` it looks like a block by Cloudflare, with an HTML body."""

    retry_after_s: float
    is_global: bool = False
    via: bool = True


@dataclass(frozen=True)
class Refused:
    """Answer with one of Discord's JSON error codes."""

    code: int


Fault = Status | Reset | Limited | Refused


@dataclass(frozen=True)
class Asked:
    """A REST request as a hook sees it: `path` is the template, `params` what stands in it."""

    method: str
    path: str
    params: Mapping[str, str]
    body: Any


# Called twice for every REST request; it may also wait, to make Discord slow.
FaultHook = Callable[[Asked, Phase], Awaitable[Fault | None]]


async def no_faults(asked: Asked, phase: Phase) -> Fault | None:
    """Lets everything through."""
    return None


class FaultPlan:
    """A hook that fails the next matching requests, a given number of times each."""

    def __init__(self) -> None:
        self._planned: list[tuple[str, re.Pattern[str], Phase, Fault, list[int]]] = []

    def plan(
        self, method: str, path: str, fault: Fault, *, phase: Phase = "before", times: int = 1
    ) -> None:
        """Fails the next `times` requests whose path template matches the regex `path`.

        Templates look like `/channels/{channel_id}/messages`; the first matching plan is used up
        first.
        """
        self._planned.append((method, re.compile(path), phase, fault, [times]))

    @property
    def is_done(self) -> bool:
        """True when every planned request has failed."""
        return not any(left[0] for *_, left in self._planned)

    async def __call__(self, asked: Asked, phase: Phase) -> Fault | None:
        for method, pattern, when, fault, left in self._planned:
            fits = (method, when) == (asked.method, phase) and pattern.search(asked.path)
            if left[0] > 0 and fits:
                left[0] -= 1
                return fault
        return None
