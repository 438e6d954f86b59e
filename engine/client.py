"""The engine as the bot sees it: one child process at a time, started again whenever it ends.

`EngineClient.run` is the supervisor: start, handshake, frames until the process is gone, back-off,
once more. Jobs outlive processes: they stay in the roster until each has had its one final event.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from engine import protocol
from engine.blame import AcceptedJob, Roster
from engine.errors import (
    EngineDiedError,
    GenerationCancelledError,
    GenerationError,
    JobSetAsideError,
    ModelLoadError,
    error_from_wire,
)
from engine.process import EngineProcess, running
from engine.protocol import Frame, ProtocolError
from engine.settings import Settings
from engine.types import (
    EngineDied,
    EngineEvent,
    EngineInfo,
    EngineLoading,
    EngineReady,
    GenerationFailed,
    GenerationRequest,
    GenerationResult,
    Picture,
    Progress,
    Started,
)

_log = logging.getLogger(__name__)

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LAST_FRAMES_S = 1.0  # for what a dead process had still written
_CANCELLED = "The job was cancelled."
_SET_ASIDE = (
    "The engine broke down twice while it worked on this request, so it was set aside and refunded. "
    "Try other words or settings."
)


class EngineClient:
    """An `engine.interfaces.Engine` in a child process."""

    def __init__(
        self,
        settings: Settings,
        provisional: EngineInfo | None = None,
        *,
        backoff_s: tuple[float, float] = (0.2, 30.0),
        stop_timeout_s: float = 5.0,
    ) -> None:
        """Prepares a client; nothing runs before `run`.

        Args:
            settings: Command, environment and time limits of the process.
            provisional: Stands in for the handshake until the first one.
            backoff_s: First and longest pause before a new start.
            stop_timeout_s: Time to end after SIGTERM.
        """
        self._settings = settings
        self._info = provisional
        self._backoff_s = backoff_s
        self._stop_timeout_s = stop_timeout_s
        self._roster = Roster()
        self._events: asyncio.Queue[EngineEvent] = asyncio.Queue()
        self._to_send = asyncio.Event()
        self._control: deque[bytes] = deque()  # cancel and call frames, before jobs
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._call_ids = itertools.count(1)
        self._process: EngineProcess | None = None  # only while it is ready
        self._advances = 0  # signs of life, for the watchdog
        self._ticks = 0
        self._has_finished_job = False  # in this process
        self._hopeless_why: str | None = None  # this process could not load the model
        self._told_why: str | None = None  # the same of the one before, which the log was told

    @property
    def info(self) -> EngineInfo | None:
        """The last handshake, or the provisional one before it."""
        return self._info

    @property
    def is_ready(self) -> bool:
        """True while a process with a loaded model runs."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """Process id of the ready engine."""
        return None if self._process is None else self._process.pid

    async def submit(
        self,
        job_id: str,
        request: GenerationRequest,
        images: Mapping[str, bytes],
        attempts: int = 0,
    ) -> None:
        """Accepts a job; see `Engine.submit`.

        Raises:
            ValueError: The job was accepted before and has not ended.
            ProtocolError: It is too large for a frame.
        """
        fields = {
            "job_id": job_id,
            "request": protocol.pack(request),
            "images": list(images),
            "adapters": [
                (adapter.sha256, str(self._settings.adapter_file(adapter.sha256).resolve()))
                for adapter in request.adapters
            ],
        }
        frame = protocol.encode("generate", fields, list(images.values()))
        self._roster.add(AcceptedJob(job_id, request.num_images, frame, deaths=attempts))
        self._to_send.set()

    async def cancel(self, job_id: str) -> None:
        """Drops the job; one that the process has not seen ends at once."""
        job = self._roster.get(job_id)
        if job is None or job.is_cancelled:
            return
        job.is_cancelled = True
        if job.is_sent:
            self._control.append(protocol.encode("cancel", {"job_id": job_id}))
        else:
            self._roster.pop(job_id)
            self._fail(job_id, GenerationCancelledError.__name__, _CANCELLED)
        self._to_send.set()

    async def events(self) -> AsyncIterator[EngineEvent]:
        """Yields the events of all jobs and of the engine itself; one reader at a time."""
        while True:
            yield await self._events.get()

    async def call(self, kind: str, **fields: Any) -> Any:
        """Asks the engine something ("stats") and returns the answer.

        Raises:
            EngineDiedError: No engine is ready, or it ended or was silent before it answered.
        """
        if not self.is_ready:
            raise EngineDiedError("The engine is starting. Try again in a moment.")
        call_id = next(self._call_ids)
        answer = asyncio.get_running_loop().create_future()
        self._calls[call_id] = answer
        self._control.append(protocol.encode(kind, {"call_id": call_id, **fields}))
        self._to_send.set()
        try:
            async with asyncio.timeout(self._settings.step_timeout_s):
                return await answer
        except TimeoutError as error:
            raise EngineDiedError(f"The engine did not answer {kind!r}.") from error
        finally:
            del self._calls[call_id]

    async def load_adapter(self, sha256: str, path: Path) -> Mapping[str, Any]:
        """Loads a LoRA file ahead of its first job, and so checks that the model can use it.

        Args:
            sha256: What the file's bytes must hash to.
            path: An absolute path.

        Returns:
            "unet" and "text": the layers of either that it changes; "bytes": what it holds.

        Raises:
            InvalidRequestError: It is no LoRA for this model.
            UnknownAdapterError: The file is gone or is another one.
            EngineDiedError: No engine is ready, or it ended or was silent before it answered.
        """
        value = await self.call("adapter_load", sha256=sha256, path=str(path))
        if "error" in value:
            raise error_from_wire(value["error"], value["message"])
        return dict(value)

    async def run(self) -> None:
        """Keeps an engine running until it is cancelled; then the process is ended."""
        first, longest = self._backoff_s
        pause = first
        try:
            while True:
                self._report_loading(EngineLoading("starting"))
                message = await self._live_and_die()
                self._bury(message)
                if self._hopeless_why is not None:
                    pause = longest
                elif self._has_finished_job:
                    pause = first
                self._log_death(message, pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, longest)
        finally:
            self._give_up_calls("The engine was stopped.")

    async def _live_and_die(self) -> str:
        """Runs one process from its start to its end and returns how it ended."""
        self._has_finished_job, self._hopeless_why = False, None
        try:
            async with running(self._settings, stop_timeout_s=self._stop_timeout_s) as process:
                async with asyncio.TaskGroup() as group:
                    helpers = [group.create_task(process.hang_up_at_exit(_LAST_FRAMES_S))]
                    try:
                        if (info := await self._handshake(process)) is not None:
                            self._begin(process, info)
                            helpers.append(group.create_task(self._send(process)))
                            helpers.append(group.create_task(self._watch(process)))
                            await self._read(process)
                    finally:
                        self._process = None
                        for helper in helpers:
                            helper.cancel()
                await process.end_soon(_LAST_FRAMES_S)
        except EngineDiedError as error:  # it could not even be started
            return str(error)
        return process.describe_end()

    async def _handshake(self, process: EngineProcess) -> EngineInfo | None:
        """Returns what the process says of itself when it is ready, None when it never is."""
        limit_s = self._settings.engine_start_timeout_s
        newest = None
        try:
            async with asyncio.timeout(limit_s) as deadline:
                while (frame := await process.receive()) is not None:
                    match frame.kind:
                        case "loading":
                            event = EngineLoading(
                                str(frame.fields["stage"]), frame.fields["fraction"]
                            )
                            if event != newest:  # only progress earns more time
                                newest = event
                                self._report_loading(event)
                                deadline.reschedule(asyncio.get_running_loop().time() + limit_s)
                        case "ready":
                            return protocol.unpack(EngineInfo, frame.fields["info"])
                        case "fatal":
                            self._on_fatal(process, frame)
        except TimeoutError:
            process.kill(f"The engine made no progress with its start for {limit_s:g} s")
        except (ProtocolError, KeyError) as error:
            process.kill(f"The engine sent garbage: {error}")
        return None

    def _begin(self, process: EngineProcess, info: EngineInfo) -> None:
        self._info = info
        self._ticks = 0
        self._control.clear()
        self._process = process
        self._events.put_nowait(EngineReady(info))
        self._to_send.set()

    async def _read(self, process: EngineProcess) -> None:
        """Handles frames until the process closes its end, or is killed for sending nonsense."""
        try:
            while (frame := await process.receive()) is not None:
                self._on_frame(process, frame)
        except (ProtocolError, KeyError, TypeError, ValueError, IndexError) as error:
            process.kill(f"The engine sent garbage: {type(error).__name__}: {error}")

    async def _send(self, process: EngineProcess) -> None:
        """Sends commands and the jobs that may run now, until the connection breaks."""
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            while True:
                job = None
                if self._control:
                    data = self._control.popleft()
                elif (job := self._roster.next_to_send()) is not None:
                    job.is_sent = True
                    data = job.frame
                else:
                    break
                try:
                    await process.send(data)
                except ConnectionError:
                    if job is not None:
                        job.is_sent = False  # it never arrived: innocent
                    return

    async def _watch(self, process: EngineProcess) -> None:
        """Kills the process when it has jobs and none of them gets on."""
        limit_s = self._settings.step_timeout_s
        interval_s = min(limit_s / 8, 1.0)
        quiet_s, seen = 0.0, -1
        while quiet_s < limit_s:
            # Intervals are counted instead of reading the clock: after this machine slept, or this
            # process was stopped, what the engine sent meanwhile is read before it is judged.
            await asyncio.sleep(interval_s)
            is_quiet = self._advances == seen and self._roster.in_flight
            quiet_s = quiet_s + interval_s if is_quiet else 0.0
            seen = self._advances
        process.kill(f"The engine hung: no step for {limit_s:g} s")

    def _on_frame(self, process: EngineProcess, frame: Frame) -> None:
        fields = frame.fields
        match frame.kind:
            case "started" | "progress" | "picture" | "done" | "failed":
                self._advances += 1
                job = self._roster.get(fields["job_id"])
                if job is not None and job.is_sent:
                    self._on_job_frame(job, frame)
            case "heartbeat":
                ticks = int(fields["ticks"])
                self._advances += ticks != self._ticks
                self._ticks = ticks
            case "reply":
                answer = self._calls.get(fields["call_id"])
                if answer is not None and not answer.done():
                    answer.set_result(fields["value"])
            case "fatal":
                self._on_fatal(process, frame)
            case _:
                _log.debug("A frame of the unknown kind %.40r was ignored.", frame.kind)

    def _on_job_frame(self, job: AcceptedJob, frame: Frame) -> None:
        fields = frame.fields
        if not job.has_started and frame.kind != "failed":
            job.has_started = True
            self._events.put_nowait(Started(job.job_id))
        match frame.kind:
            case "progress":
                preview = frame.blobs[0] if frame.blobs else None
                step, total = int(fields["step"]), int(fields["total"])
                self._events.put_nowait(Progress(job.job_id, step, total, preview))
            case "picture":
                job.pictures[fields["index"]] = _picture(job, frame)
            case "done":
                self._finish(job, frame)
            case "failed":
                self._has_finished_job = True
                self._roster.pop(job.job_id)
                self._fail(job.job_id, fields["error"], fields["message"])
                self._to_send.set()

    def _finish(self, job: AcceptedJob, frame: Frame) -> None:
        seconds = float(frame.fields["seconds"])
        warnings = tuple(map(str, frame.fields["warnings"]))
        receipt = dict(frame.fields["receipt"])
        pictures = tuple(job.pictures[index] for index in sorted(job.pictures))
        self._has_finished_job = True
        self._roster.pop(job.job_id)
        self._to_send.set()
        if len(pictures) == job.num_images:
            result = GenerationResult(job.job_id, pictures, seconds, warnings, receipt)
            self._events.put_nowait(result)
        else:
            self._fail(
                job.job_id, GenerationError.__name__, "The engine lost a picture. Try again."
            )

    def _fail(self, job_id: str, error: str, message: str) -> None:
        self._events.put_nowait(GenerationFailed(job_id, error, message))

    def _on_fatal(self, process: EngineProcess, frame: Frame) -> None:
        # The same model fails the same way until the operator does something: no hurry.
        if frame.fields["error"] == ModelLoadError.__name__:
            self._hopeless_why = str(frame.fields["message"])
        process.complaint = f"{frame.fields['error']}: {frame.fields['message']}"

    def _report_loading(self, event: EngineLoading) -> None:
        """Tells what the process is loading; after a hopeless one only when it really gets on."""
        if self._told_why is None or event.fraction is not None:
            self._events.put_nowait(event)

    def _log_death(self, message: str, pause: float) -> None:
        """Puts an end into the log; that the model cannot be loaded only once."""
        if self._hopeless_why is None:
            _log.warning("%s A new engine starts in %.1f s.", message, pause)
        elif self._hopeless_why != self._told_why:
            _log.error("%s Until that is put right, it is tried each %.0f s.", message, pause)
        self._told_why = self._hopeless_why

    def _bury(self, message: str) -> None:
        """Draws the consequences of a death: who is blamed, who is tried again, who has failed."""
        verdict = self._roster.process_died()
        self._events.put_nowait(EngineDied(message, verdict.blamed, self._hopeless_why is not None))
        for job_id in verdict.set_aside:
            self._fail(job_id, JobSetAsideError.__name__, _SET_ASIDE)
        for job_id in verdict.cancelled:
            self._fail(job_id, GenerationCancelledError.__name__, _CANCELLED)
        self._give_up_calls(message)

    def _give_up_calls(self, message: str) -> None:
        for answer in self._calls.values():
            if not answer.done():
                answer.set_exception(EngineDiedError(message))


def _picture(job: AcceptedJob, frame: Frame) -> Picture:
    fields = frame.fields
    index, png = int(fields["index"]), frame.blobs[0]
    if not 0 <= index < job.num_images or not png.startswith(_PNG_SIGNATURE):
        raise ProtocolError(f"picture {index} of job {job.job_id} is none")
    return Picture(index, int(fields["seed"]), int(fields["width"]), int(fields["height"]), png)
