"""The engine as the bot sees it: one child process at a time, started again whenever it ends.

`EngineClient.run` is the supervisor: start, handshake, frames until the process is gone, back-off,
once more. Jobs outlive processes: they stay in the roster until each has had its one final event.

Another model means another process. The one of before makes all that is in the roster; then the new
one gets a single chance to start, and when it cannot load its model, that of before is loaded again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine import job_frames, protocol
from engine.blame import AcceptedJob, Roster
from engine.calls import Calls
from engine.control.maps import ControlMap, MapRequest
from engine.errors import (
    EngineDiedError,
    GenerationCancelledError,
    InvalidRequestError,
    JobSetAsideError,
    ModelLoadError,
    error_from_wire,
)
from engine.job_frames import events_of, has_ended
from engine.process import EngineProcess, running
from engine.protocol import Frame, ProtocolError
from engine.receipts import Receipt
from engine.settings import Settings
from engine.tally import Tally
from engine.trial import FINISHING, Trial
from engine.types import (
    EngineDied,
    EngineEvent,
    EngineInfo,
    EngineLoading,
    EngineReady,
    GenerationFailed,
    GenerationRequest,
)
from engine.wear import Wear
from engine.words import N_

_log = logging.getLogger(__name__)

_LAST_FRAMES_S = 1.0  # for what a dead process had still written
_CANCELLED = "The job was cancelled."
_GIVEN_UP = N_(
    "The model that this was asked for cannot be loaded any more, and another one takes its place. "
    "Ask again with that one."
)
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
        tally: Tally | None = None,
        backoff_s: tuple[float, float] = (0.2, 30.0),
        stop_timeout_s: float = 5.0,
    ) -> None:
        """Prepares a client; nothing runs before `run`.

        Args:
            settings: Command, environment and time limits of the process.
            provisional: Stands in for the handshake until the first one.
            tally: Counts the starts and ends of processes.
            backoff_s: First and longest pause before a new start.
            stop_timeout_s: Time to end after SIGTERM.
        """
        self._settings = settings
        self._info = provisional
        self._tally = tally or Tally()
        self._backoff_s = backoff_s
        self._stop_timeout_s = stop_timeout_s
        self._roster = Roster()
        self._events: asyncio.Queue[EngineEvent] = asyncio.Queue()
        self._to_send = asyncio.Event()
        self._control: deque[bytes] = deque()  # cancel and call frames, before jobs
        self._calls = Calls(self._command)
        self._process: EngineProcess | None = None  # only while it is ready
        self._starting: EngineProcess | None = None  # from its start to its handshake
        self._trial: Trial | None = None  # of another model
        self._hurry = asyncio.Event()  # ends the pause between two processes
        self._advances = 0  # signs of life, for the watchdog
        self._ticks = 0
        self._has_finished_job = False  # in this process
        self._wear = Wear(None)  # of this process
        self._ended_at: float | None = None  # of the last process, on the event loop's clock
        self._hopeless_why: str | None = None  # this process could not load the model
        self._told_why: str | None = None  # the same of the one before, which the log was told

    @property
    def info(self) -> EngineInfo | None:
        """The last handshake, or the provisional one before it."""
        return self._info

    @property
    def is_ready(self) -> bool:
        """True while a process with a loaded model runs, and no other model is to take its place."""
        return self._process is not None and self._trial is None

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
        receipt: Receipt | None = None,
    ) -> None:
        """Accepts a job; see `Engine.submit`.

        With a receipt its pictures are made again, in calls as those of then.

        Raises:
            ValueError: The job was accepted before and has not ended.
            ProtocolError: It is too large for a frame.
        """
        fields: dict[str, Any] = {
            "job_id": job_id,
            "request": protocol.pack(request),
            "images": list(images),
            "adapters": [
                (adapter.sha256, str(self._settings.adapter_file(adapter.sha256).resolve()))
                for adapter in request.adapters
            ],
        }
        if receipt is not None:
            fields["receipt"] = receipt.packed()
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
            self._command(protocol.encode("cancel", {"job_id": job_id}))
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
        return (await self._ask(kind, fields, self._settings.step_timeout_s)).fields["value"]

    async def _ask(
        self, kind: str, fields: Mapping[str, Any], limit_s: float, blobs: Sequence[bytes] = ()
    ) -> Frame:
        """Sends a question and returns the frame that answers it."""
        if not self.is_ready:
            raise EngineDiedError("The engine is starting. Try again in a moment.")
        return await self._calls.ask(kind, fields, limit_s, blobs)

    async def detect(self, png: bytes, asked: MapRequest) -> ControlMap:
        """Returns the control map of a picture; see `Engine.detect`."""
        # A detector may have to be downloaded first, as a model at the start.
        limit_s = self._settings.engine_start_timeout_s
        frame = await self._ask("detect", {"request": protocol.pack(asked)}, limit_s, [png])
        value = frame.fields["value"]
        if "error" in value:
            raise error_from_wire(value["error"], value["message"])
        return protocol.unpack(ControlMap, {**value, "png": frame.blobs[0]})

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

    def switch(self, settings: Settings, expected: EngineInfo) -> asyncio.Future[EngineInfo]:
        """Lets an engine with other settings take the place of this one; one at a time.

        From now on `info` is what is expected of it. Jobs that were accepted are made before, unless
        the engine cannot load its model anyway: then they fail.

        Returns:
            Its handshake; or a ModelLoadError, and the engine of before is started again.
        """
        if self._trial is not None:
            raise RuntimeError("another model is on its way")
        self._trial = trial = Trial(settings, expected, (self._settings, self._info))
        self._info = expected
        if self._process is None:
            if self._hopeless_why is not None or self._told_why is not None:
                for job in self._roster.give_up():
                    self._fail(job.job_id, InvalidRequestError.__name__, _GIVEN_UP)
            if self._starting is not None and not len(self._roster):
                self._starting.kill("The engine was stopped for another model")
        elif len(self._roster):
            self._events.put_nowait(EngineLoading(FINISHING, None, expected.model))
        self._hurry.set()
        self._to_send.set()
        return trial.loaded

    async def run(self) -> None:
        """Keeps an engine running until it is cancelled; then the process is ended."""
        first, longest = self._backoff_s
        pause = first
        try:
            while True:
                self._begin_trial()
                self._report_loading(EngineLoading("starting", None, self._coming))
                message = await self._live_and_die()
                if self._makes_room():
                    _log.info("%s", message)
                    self._calls.give_up(message)
                    continue
                if self._has_failed_trial(message):
                    self._calls.give_up(message)
                    continue
                self._bury(message)
                if self._hopeless_why is not None:
                    pause = longest
                elif self._has_finished_job:
                    pause = first
                self._log_death(message, pause)
                await self._rest(pause)
                pause = min(pause * 2, longest)
        finally:
            self._calls.give_up("The engine was stopped.")

    async def _rest(self, pause: float) -> None:
        self._hurry.clear()
        if not self._is_trial_due():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._hurry.wait()

    # Another model.

    @property
    def _coming(self) -> str:
        """The model that is being loaded in place of another one; "" for the one of before."""
        trial = self._trial
        return trial.expected.model if trial is not None and trial.has_begun else ""

    def _is_trial_due(self) -> bool:
        """True when another model is to be loaded, and nothing is left to do for the one of before."""
        return self._trial is not None and not self._trial.has_begun and not len(self._roster)

    def _makes_room(self) -> bool:
        """True when the process ended because another model is to be loaded: nobody is to blame."""
        return self._is_trial_due()

    def _begin_trial(self) -> None:
        trial = self._trial
        if trial is not None and self._is_trial_due():
            trial.has_begun = True
            self._settings = trial.settings
            self._told_why = None

    def _has_failed_trial(self, message: str) -> bool:
        """Goes back to the model of before when the process of the other one ended before it was ready."""
        trial = self._trial
        if trial is None or not trial.has_begun:
            return False
        why = self._hopeless_why or message
        _log.error("The model %s could not be loaded: %s", trial.expected.model, why)
        self._settings, self._info = trial.before
        self._trial = None
        trial.loaded.set_exception(ModelLoadError(why))
        return True

    # The process.

    async def _live_and_die(self) -> str:
        """Runs one process from its start to its end and returns how it ended."""
        self._has_finished_job, self._hopeless_why = False, None
        self._ended_at = None
        try:
            async with running(self._settings, stop_timeout_s=self._stop_timeout_s) as process:
                async with asyncio.TaskGroup() as group:
                    helpers = [group.create_task(process.hang_up_at_exit(_LAST_FRAMES_S))]
                    try:
                        self._starting = process
                        info = await self._handshake(process)
                        self._starting = None
                        if info is not None:
                            self._begin(process, info)
                            helpers.append(group.create_task(self._send(process)))
                            helpers.append(group.create_task(self._watch(process)))
                            await self._read(process)
                    finally:
                        self._process = self._starting = None
                        for helper in helpers:
                            helper.cancel()
                await process.end_soon(_LAST_FRAMES_S)
        except EngineDiedError as error:  # it could not even be started
            return str(error)
        self._ended_at = process.ended_at
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
                            stage, fraction = frame.fields["stage"], frame.fields["fraction"]
                            event = EngineLoading(str(stage), fraction, self._coming)
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
        self._ticks = 0
        self._wear = Wear(self._settings.engine_memory_mb)
        self._control.clear()
        self._process = process
        self._tally.engine_started()
        self._to_send.set()
        trial = self._trial
        if trial is not None and not trial.has_begun:  # this one makes what is left, and ends
            self._events.put_nowait(EngineLoading(FINISHING, None, trial.expected.model))
            return
        self._info = info
        self._events.put_nowait(EngineReady(info))
        if trial is not None:
            self._trial = None
            trial.loaded.set_result(info)

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
                elif self._is_trial_due() or self._wear.why is not None:
                    if self._wear.was_told or self._roster.in_flight:
                        break
                    self._wear.was_told = True
                    process.complaint = self._wear.why or "The engine ended for another model"
                    data = protocol.encode("drain", {})
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
            is_busy = self._roster.in_flight or self._wear.was_told
            is_quiet = self._advances == seen and is_busy
            quiet_s = quiet_s + interval_s if is_quiet else 0.0
            seen = self._advances
        process.kill(f"The engine hung: no step for {limit_s:g} s")

    def _on_frame(self, process: EngineProcess, frame: Frame) -> None:
        fields = frame.fields
        match frame.kind:
            case kind if kind in job_frames.KINDS:
                self._advances += 1
                job = self._roster.get(fields["job_id"])
                if job is not None and job.is_sent:
                    self._on_job_frame(job, frame)
            case "heartbeat":
                ticks = int(fields["ticks"])
                self._advances += ticks != self._ticks
                self._ticks = ticks
                self._wear.look(int(fields["rss_bytes"]))
                if self._wear.why is not None:
                    self._to_send.set()
            case "reply":
                self._calls.answered(frame)
            case "fatal":
                self._on_fatal(process, frame)
            case _:
                _log.debug("A frame of the unknown kind %.40r was ignored.", frame.kind)

    def _on_job_frame(self, job: AcceptedJob, frame: Frame) -> None:
        events = events_of(job, frame)
        for event in events:
            self._events.put_nowait(event)
        if has_ended(events):
            self._has_finished_job = True
            self._roster.pop(job.job_id)
            self._to_send.set()

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
        self._tally.engine_died(message)
        verdict = self._roster.process_died()
        now = asyncio.get_running_loop().time()
        noticed_s = 0.0 if self._ended_at is None else now - self._ended_at
        is_hopeless = self._hopeless_why is not None
        self._events.put_nowait(EngineDied(message, verdict.blamed, is_hopeless, noticed_s))
        for job_id in verdict.set_aside:
            self._fail(job_id, JobSetAsideError.__name__, _SET_ASIDE)
        for job_id in verdict.cancelled:
            self._fail(job_id, GenerationCancelledError.__name__, _CANCELLED)
        self._calls.give_up(message)

    def _command(self, data: bytes) -> None:
        self._control.append(data)
        self._to_send.set()
