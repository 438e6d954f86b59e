"""The engine's end of the socket pair: one thread sends frames, one reads them."""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from engine.protocol import Frame, ProtocolError, encode, receive_frame

log = logging.getLogger(__name__)


class Link:
    """Sends from any thread without blocking it; received frames are put into `inbox`.

    The process belongs to the bot: when the bot's end closes, this process ends at once, in the
    middle of a download or a step.
    """

    def __init__(self, connection: socket.socket) -> None:
        """Starts both threads. The connection is blocking and belongs to this object."""
        self.inbox: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self._connection = connection
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._sender = threading.Thread(target=self._send_all, name="sender", daemon=True)
        self._reader = threading.Thread(target=self._read_all, name="reader", daemon=True)
        self._sender.start()
        self._reader.start()

    def send(self, kind: str, fields: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> None:
        """Queues one frame; frames leave in the order of the calls."""
        self._outbox.put(encode(kind, fields, blobs))

    def flush(self, timeout_s: float = 5.0) -> None:
        """Waits until everything queued was written; nothing can be sent afterwards."""
        self._outbox.put(None)
        self._sender.join(timeout_s)

    def _send_all(self) -> None:
        while (data := self._outbox.get()) is not None:
            try:
                self._connection.sendall(data)
            except OSError:
                _leave("The bot closed the connection.")

    def _read_all(self) -> None:
        try:
            while (frame := receive_frame(self._connection)) is not None:
                self.inbox.put(frame)
        except OSError:
            _leave("The connection to the bot broke.")
        except ProtocolError as error:
            _leave(f"The bot sent what is no frame: {error}.", code=1)
        _leave("The bot is gone.")


def _leave(reason: str, code: int = 0) -> None:
    log.info("%s The engine ends.", reason)
    # Not sys.exit: the main thread may be inside a long native call, and nothing needs saving.
    os._exit(code)
