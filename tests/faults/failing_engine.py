"""The real engine process, which breaks once when a test arms it: `failing_engine.py FOLDER`.

A file `armed` in the folder says in which state and how ("decode stop"). Whoever gets there first renames
it to `fired`, so that each arming breaks one process, and a test waits for a fact and not for a time.
The engine knows nothing of it: its functions are wrapped here.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import protocol
from engine.worker import __main__ as worker
from engine.worker.link import Link

STATES = ("boot", "load", "idle", "step", "decode", "encode", "send")
FAULTS = ("kill", "segv", "exit", "hang", "hang-gil", "stop", "garbage")
NO_LOADING_YET = ("starting", "importing torch", "measuring the speed")


def break_down(fault: str) -> None:
    """Does what the fault is called; only `garbage`, and `stop` after SIGCONT, comes back."""
    match fault:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "exit":
            os._exit(0)
        case "hang":
            threading.Event().wait()
        case "hang-gil":
            ctypes.PyDLL(None).pause()  # unlike CDLL, it keeps the lock of all Python threads
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "garbage":
            os.write(int(os.environ[protocol.ENGINE_FD_VARIABLE]), b"\xff" * 64)
        case _:
            raise ValueError(fault)


class Trigger:
    """Looks at the folder whenever the engine is in a state."""

    def __init__(self, folder: Path) -> None:
        self._armed, self._fired = folder / "armed", folder / "fired"

    def reached(self, state: str) -> None:
        try:
            wanted, fault = self._armed.read_text().split()
            if wanted != state:
                return
            self._armed.rename(self._fired)
        except FileNotFoundError:
            return
        break_down(fault)

    def before(self, owner: Any, name: str, state: str, when: Callable[..., bool]) -> None:
        """Lets every call for which `when` holds count as the state."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if when(*args, **kwargs):
                self.reached(state)
            return function(*args, **kwargs)

        setattr(owner, name, wrapped)

    def wrap_loop(self) -> None:
        """Everything that only exists once torch is imported."""
        from engine.worker.encoding import Encoder
        from engine.worker.loop import RowLoop
        from engine.worker.vae import Vae

        self.before(RowLoop, "receive", "idle", lambda loop: loop.is_idle)
        self.before(RowLoop, "_step", "step", is_second_step)
        self.before(Vae, "decode", "decode", always)
        self.before(Encoder, "_encode", "encode", always)  # by a thread of the pool


def always(*args: Any, **kwargs: Any) -> bool:
    return True


def is_second_step(loop: Any, batch: Any) -> bool:
    return any(picture.job.steps_done >= 1 for picture in batch)


def is_loading(link: Link, kind: str, fields: Any, blobs: Any = ()) -> bool:
    return kind == "loading" and fields["stage"] not in NO_LOADING_YET


def main(folder: Path) -> int:
    trigger = Trigger(folder)
    trigger.before(worker, "_run", "boot", always)
    trigger.before(Link, "send", "load", is_loading)
    wrap_outbox(trigger)
    serve = worker.serve

    def serve_wrapped(*args: Any) -> int:
        trigger.wrap_loop()
        return serve(*args)

    worker.serve = serve_wrapped
    return worker.main()


def wrap_outbox(trigger: Trigger) -> None:
    """The state `send`: the sender's thread has taken a picture out of the queue, and half of it is written."""
    start = Link.__init__

    @functools.wraps(start)
    def started(link: Link, connection: Any) -> None:
        start(link, HalfSent(connection, trigger))

    Link.__init__ = started


class HalfSent:
    """A socket that stops in the middle of a frame with a picture when the state is armed."""

    def __init__(self, connection: Any, trigger: Trigger) -> None:
        self._connection = connection
        self._trigger = trigger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def sendall(self, data: bytes) -> None:
        half = len(data) // 2 if b'"kind":"picture"' in data[:64] else 0
        self._connection.sendall(data[:half])
        if half:
            self._trigger.reached("send")
        self._connection.sendall(data[half:])


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    sys.stderr.flush()
    os._exit(code)
