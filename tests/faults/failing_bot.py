"""`bot.py` that kills itself at a point: `failing_bot.py POINT N` does so at the N-th passage."""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # as `bot.py` has its folder there

from tests.faults.points import BY_NAME, Point


def arm(point: Point, passage: int) -> None:
    """Wraps the function of the point, so that its process dies at that passage."""
    module, _, path = point.target.partition(":")
    *parents, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for parent in parents:
        owner = getattr(owner, parent)
    setattr(owner, name, wrapped(getattr(owner, name), point, passage))


def wrapped(function: Callable[..., Any], point: Point, passage: int) -> Callable[..., Any]:
    passages = itertools.count(1)

    def pass_by(when: str, arguments: tuple[Any, ...], result: Any = None) -> None:
        if when == point.when and point.counts(arguments, result) and next(passages) == passage:
            os.kill(os.getpid(), signal.SIGKILL)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def later(*args: Any, **kwargs: Any) -> Any:
            pass_by("before", args)
            result = await function(*args, **kwargs)
            pass_by("after", args, result)
            return result

        return later

    @functools.wraps(function)
    def now(*args: Any, **kwargs: Any) -> Any:
        pass_by("before", args)
        result = function(*args, **kwargs)
        pass_by("after", args, result)
        return result

    return now


if __name__ == "__main__":
    arm(BY_NAME[sys.argv[1]], int(sys.argv[2]))
    import bot

    sys.exit(bot.main(["run"]))
