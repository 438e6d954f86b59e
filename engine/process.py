"""One engine process: its start, its frames, its last words and its certain end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from io import FileIO
from pathlib import Path

from engine import protocol
from engine.errors import EngineDiedError
from engine.secrecy import blanked, is_secret_name, secrets_of
from engine.settings import Settings

_log = logging.getLogger("easel.engine")

_LAST_WORDS_S = 0.5
_MAX_LINE = 500  # characters of a log line that comes from the process
_HUB_NAME = re.compile(r"HF_|HUGGING_?FACE_")
_PROJECT_ROOT = Path(__file__).resolve().parent.parent


def engine_argv(settings: Settings) -> list[str]:
    """Returns the argument list of the process."""
    # -P: a file in the working directory must not stand in for a module of ours.
    return list(settings.engine_command or (sys.executable, "-P", "-m", "engine.worker"))


def engine_environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment of the process: ours without secrets, with its own settings.

    The hub's token stays, since the process downloads the model.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith("EASEL_") and (_HUB_NAME.match(name) or not is_secret_name(name))
    }
    paths = [str(_PROJECT_ROOT), *filter(None, [kept.get("PYTHONPATH")])]
    return kept | settings.engine_environment() | {"PYTHONPATH": os.pathsep.join(paths)}


class EngineProcess:
    """A running process with its connection; made by `running`."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        output: asyncio.StreamReader,
        secrets: tuple[str, ...] = (),
    ) -> None:
        """Takes over a started process, its connection and what it prints.

        What it says may quote anything, its environment too, so the secrets are blanked out of it.
        """
        self._secrets = secrets
        self._process = process
        self._reader = reader
        self._writer = writer
        self._output = output
        self._last_line = ""
        self.complaint: str | None = None  # why we ended it, when we did
        self.ended_at: float | None = None  # on the event loop's clock

    @property
    def pid(self) -> int:
        """Process id, also the id of its process group."""
        return self._process.pid

    async def send(self, data: bytes) -> None:
        """Sends one encoded frame, waiting while the process does not read.

        Raises:
            ConnectionError: The process is gone.
        """
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self) -> protocol.Frame | None:
        """Returns the next frame; None when the process closed its end, also inside a frame.

        A process that is killed while it sends has not sent garbage: its exit code says more.

        Raises:
            ProtocolError: What came is no frame.
        """
        try:
            frame = await protocol.read_frame(self._reader)
        except (ConnectionError, protocol.CutOffError):
            return None
        if frame is None or not isinstance(message := frame.fields.get("message"), str):
            return frame
        fields = {**frame.fields, "message": blanked(message, self._secrets)}
        return dataclasses.replace(frame, fields=fields)

    def kill(self, complaint: str) -> None:
        """Ends the process group at once, also when it is stopped or hung, and remembers why."""
        if self._process.returncode is None:
            self.complaint = self.complaint or complaint
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _wait(self) -> None:
        """Waits until the process has ended, and notes when that was."""
        await self._process.wait()
        if self.ended_at is None:
            self.ended_at = asyncio.get_running_loop().time()

    async def hang_up_at_exit(self, delay_s: float) -> None:
        """Closes the connection `delay_s` after the process ended.

        Its end of file normally comes first; not when a child of the process holds the socket.
        """
        await self._wait()
        await asyncio.sleep(delay_s)
        self._writer.close()

    async def end_soon(self, timeout_s: float) -> None:
        """Waits for a process that closed its connection to end, and kills it after `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wait()
        self.kill("The engine closed its connection and went on")

    def describe_end(self) -> str:
        """Returns a sentence about how the process ended, for the operator."""
        code = self._process.returncode
        if self.complaint is not None:
            text = self.complaint
        elif code is None:
            text = "The engine closed its connection"
        elif code < 0:
            text = f"The engine was ended by {_signal_name(-code)}"
        else:
            text = f"The engine exited with code {code}"
        return f"{text} (last line: {self._last_line})." if self._last_line else f"{text}."

    async def forward_output(self) -> None:
        """Puts what the process prints into the log, line by line, until it closes its output."""
        rest = ""
        # Chunks, not readline: a progress bar can print for minutes without an end of line.
        while chunk := await self._output.read(4096):
            *lines, rest = re.split(r"[\r\n]+", rest + chunk.decode(errors="replace"))
            for line in lines:
                self._log_line(line)
            rest = rest[:_MAX_LINE]
        self._log_line(rest)

    def _log_line(self, line: str) -> None:
        printable = "".join(c if c.isprintable() else " " for c in line)
        text = blanked(printable, self._secrets).strip()
        if text:
            self._last_line = text[:_MAX_LINE]
            _log.info("%s", self._last_line)

    async def close(self, timeout_s: float) -> None:
        """Closes the connection, asks the process to end, and kills it after `timeout_s`."""
        try:
            self._writer.close()
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGTERM)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout_s):
                        await self._wait()
        finally:
            self.kill("The engine did not stop when it was asked to")
            await self._wait()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have none
        return f"signal {number}"


@contextlib.asynccontextmanager
async def running(settings: Settings, *, stop_timeout_s: float) -> AsyncIterator[EngineProcess]:
    """Starts the engine process; at the end of the block it is gone, whatever happened.

    Raises:
        EngineDiedError: The process cannot be started.
    """
    async with _output_pipe() as (output, theirs_out):
        ours, theirs = socket.socketpair()
        try:
            environment = engine_environment(settings, os.environ)
            process = await asyncio.create_subprocess_exec(
                *engine_argv(settings),
                stdin=asyncio.subprocess.DEVNULL,
                # No pipe of asyncio's: with one, `wait` would also wait for the children that hold it.
                stdout=theirs_out,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=(theirs.fileno(),),
                env=environment | {protocol.ENGINE_FD_VARIABLE: str(theirs.fileno())},
                # Ctrl-C in the terminal goes to the bot alone, which then stops the engine.
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            ours.close()
            raise EngineDiedError(f"The engine cannot be started: {error}") from error
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            theirs_out.close()
        try:
            reader, writer = await asyncio.open_connection(sock=ours)
        except BaseException:
            ours.close()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
        secrets = secrets_of(os.environ, settings)
        engine = EngineProcess(process, reader, writer, output, secrets)
        forwarding = asyncio.create_task(engine.forward_output(), name="engine output")
        try:
            yield engine
        finally:
            try:
                await engine.close(stop_timeout_s)
            finally:
                # Its last words are there already, unless a child of it holds the pipe.
                _, unfinished = await asyncio.wait([forwarding], timeout=_LAST_WORDS_S)
                for task in unfinished:
                    task.cancel()
                    await asyncio.wait([task])


@contextlib.asynccontextmanager
async def _output_pipe() -> AsyncIterator[tuple[asyncio.StreamReader, FileIO]]:
    """Opens a pipe; yields a reader of what comes out of it, and the end for a process to write to."""
    ours, theirs = os.pipe()
    with FileIO(ours, "r") as out, FileIO(theirs, "w") as into:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), out
        )
        try:
            yield reader, into
        finally:
            transport.close()
