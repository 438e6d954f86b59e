"""Questions to the engine process, each with one answer."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine import protocol
from engine.errors import EngineDiedError
from engine.protocol import Frame


class Calls:
    """The questions that wait for their answer."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        """Takes what puts a frame on its way."""
        self._send = send
        self._answers: dict[int, asyncio.Future[Frame]] = {}
        self._ids = itertools.count(1)

    async def ask(
        self, kind: str, fields: Mapping[str, Any], limit_s: float, blobs: Sequence[bytes] = ()
    ) -> Frame:
        """Sends a question and returns the frame that answers it.

        Raises:
            EngineDiedError: The engine ended, or was silent for so long.
        """
        call_id = next(self._ids)
        answer = asyncio.get_running_loop().create_future()
        self._answers[call_id] = answer
        self._send(protocol.encode(kind, {"call_id": call_id, **fields}, blobs))
        try:
            async with asyncio.timeout(limit_s):
                frame: Frame = await answer
                return frame
        except TimeoutError as error:
            raise EngineDiedError(f"The engine did not answer {kind!r}.") from error
        finally:
            del self._answers[call_id]

    def answered(self, frame: Frame) -> None:
        """Takes a `reply`."""
        answer = self._answers.get(frame.fields["call_id"])
        if answer is not None and not answer.done():
            answer.set_result(frame)

    def give_up(self, message: str) -> None:
        """Ends all of them: the engine is gone."""
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(EngineDiedError(message))
