"""The bot's side of the intake: children that are ready, one for each file, and their certain end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections import deque
from pathlib import Path
from types import TracebackType

from engine.errors import RefusedFileError
from engine.intake import frames
from engine.intake.frames import Frame
from engine.intake.still import CleanPicture
from engine.settings import Settings
from engine.words import N_

_log = logging.getLogger("easel.intake")

_ROOT = Path(__file__).resolve().parent.parent.parent
_START_S = 30.0  # a tenth of a second, unless the machine is very busy
_MAX_ANSWER = 64 * 2**20
_MAX_LOG = 4000  # characters of a child's last words

TOO_SLOW = N_(
    "The file takes too long to read (limit {seconds:g} s). Save it again as PNG, JPEG or WebP, "
    "smaller if you can, and send that."
)
BROKE = N_(
    "The file breaks the program that reads it, so it is not used. Save it again as PNG, JPEG or "
    "WebP and send that."
)
NOT_NOW = N_("Files cannot be checked at the moment. Try again in a few minutes.")


class Intake:
    """Checks untrusted files in child processes; close it to be sure that none is left.

    A child that ended badly costs its own file a sentence and nothing else.
    """

    def __init__(self, settings: Settings, *, warm: int = 1, at_once: int = 2) -> None:
        """Starts nothing yet.

        Args:
            settings: Limits of time and memory.
            warm: Children that `run` keeps ready, since a start takes longer than most pictures.
            at_once: Files that are checked at the same time; the others wait.
        """
        self._settings = settings
        self._warm = warm
        self._turns = asyncio.Semaphore(at_once)
        self._idle: deque[_Child] = deque()
        self._taken = asyncio.Event()

    async def __aenter__(self) -> Intake:
        """Has nothing to do."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the children that wait."""
        while self._idle:
            await self._idle.popleft().end()

    async def run(self) -> None:
        """Keeps children ready until cancelled; without it each file waits for a start."""
        while True:
            self._taken.clear()
            while len(self._idle) < self._warm:
                try:
                    self._idle.append(await self._start())
                except RefusedFileError:  # logged; tried again with the next file
                    break
            await self._taken.wait()

    async def picture(self, data: bytes, *, max_side: int | None = None) -> CleanPicture:
        """Returns the picture of a PNG, JPEG or WebP file: RGB, upright, without metadata.

        Its longer side has at most `max_side` pixels; None is the setting.

        Raises:
            RefusedFileError: It is not used; the message says why.
        """
        side = self._settings.max_picture_side if max_side is None else max_side
        fields, png = await self._ask({"max_side": side}, data)
        notes = tuple(str(note) for note in fields["notes"])
        return CleanPicture(png, int(fields["width"]), int(fields["height"]), notes)

    async def _ask(self, fields: dict[str, object], blob: bytes) -> Frame:
        async with self._turns:
            child = await self._with_file(fields, blob)
            try:
                async with asyncio.timeout(self._settings.intake_timeout_s):
                    answer, result = await child.answer()
            except TimeoutError as error:
                _log.warning("A file of %d bytes was not read in time.", len(blob))
                raise self._too_slow() from error
            except EOFError as error:
                await child.end()
                _log.warning("A file of %d bytes ended its reader: %s", len(blob), child.last_words)
                if child.ran_out_of_time:
                    raise self._too_slow() from error
                raise RefusedFileError(BROKE) from error
            finally:
                await child.end()
                self._taken.set()
        if "refused" in answer:
            raise RefusedFileError(str(answer["refused"]))
        if "failed" in answer:
            _log.error("A file of %d bytes was not foreseen:\n%s", len(blob), answer["failed"])
            raise RefusedFileError(BROKE)
        return answer, result

    async def _with_file(self, fields: dict[str, object], blob: bytes) -> _Child:
        """Returns a child that has got the file; one that died while it waited is replaced."""
        while True:
            is_warm = bool(self._idle)
            child = self._idle.popleft() if is_warm else await self._start()
            try:
                async with asyncio.timeout(_START_S):
                    await child.hand_over(fields, blob)
                return child
            except (EOFError, OSError) as error:
                await child.end()
                if not is_warm:
                    _log.error("A process to check files ended at once: %s", child.last_words)
                    raise RefusedFileError(NOT_NOW) from error
            except BaseException:  # cancelled
                await child.end()
                raise

    async def _start(self) -> _Child:
        """Returns a child that is ready. Raises RefusedFileError when there is none to be had."""
        child = None
        try:
            child = await _Child.start(self._settings)
            async with asyncio.timeout(_START_S):
                await child.ready()
        except (OSError, EOFError) as error:  # TimeoutError is an OSError
            if child is not None:
                await child.end()
            words = repr(error) if child is None else child.last_words
            _log.error("No process to check files can be started: %s", words)
            raise RefusedFileError(NOT_NOW) from error
        except BaseException:  # cancelled
            if child is not None:
                await child.end()
            raise
        return child

    def _too_slow(self) -> RefusedFileError:
        return RefusedFileError(TOO_SLOW, seconds=self._settings.intake_timeout_s)


class _Child:
    """One process; serves one file."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._stderr = b""

    @classmethod
    async def start(cls, settings: Settings) -> _Child:
        """Starts a process. Raises OSError."""
        limits = (settings.intake_memory_mb * 2**20, max(round(settings.intake_timeout_s / 2), 1))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # a file in the working directory must not stand in for a module of ours
            "-B",
            "-m",
            "engine.intake.child",
            *map(str, limits),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd="/",
            # Nothing of the bot's environment: a token cannot leak from where it never was.
            env={"PYTHONPATH": str(_ROOT), "LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "1"},
            start_new_session=True,  # Ctrl-C goes to the bot alone
        )
        return cls(process)

    @property
    def ran_out_of_time(self) -> bool:
        """True when the kernel ended it for its CPU time."""
        return self._process.returncode == -signal.SIGXCPU

    @property
    def last_words(self) -> str:
        """How it ended, for the log."""
        words = self._stderr.decode(errors="replace")[-_MAX_LOG:]
        return f"exit code {self._process.returncode} {words}".strip()

    async def ready(self) -> None:
        """Returns when it has imported what it needs. Raises EOFError when it could not."""
        assert self._process.stdout is not None  # created with pipes
        await frames.receive(self._process.stdout, 0)

    async def hand_over(self, fields: dict[str, object], blob: bytes) -> None:
        """Gives it the file. Raises EOFError when it had died before."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(frames.encode(fields, blob))
        self._process.stdin.close()  # what is written goes out first
        await frames.receive(self._process.stdout, 0)

    async def answer(self) -> Frame:
        """Returns what it says of the file. Raises EOFError when it broke."""
        assert self._process.stdout is not None
        return await frames.receive(self._process.stdout, _MAX_ANSWER)

    async def end(self) -> None:
        """Ends it at once, if it still runs, and waits until it is gone."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        if not self._stderr:
            _, self._stderr = await self._process.communicate()
