"""The operator's log: one line a message, no secrets, no forged lines."""

from __future__ import annotations

import logging
import logging.handlers
import os
import re
import sys
from pathlib import Path
from typing import Any

from engine.errors import StartError
from engine.secrecy import BLANK, blanked, secrets_of
from engine.settings import Settings

# A webhook's and an interaction's token stand in the address of its requests, which discord.py
# and aiohttp put into warnings.
_TOKEN_IN_ADDRESS = re.compile(r"(/(?:webhooks|interactions)/\d+/)[\w.%-]+")
_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class SafeFormatter(logging.Formatter):
    """Escapes what is not printable, and blanks out secrets everywhere.

    So nobody who chooses a prompt or a name can begin a line, colour the operator's terminal or turn
    the reading direction. Lines of a traceback are indented: only the log's own begin at the margin.
    """

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        """Takes the secrets that must not be written."""
        super().__init__(_FORMAT)
        self._secrets = secrets

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Returns the line; what a person typed cannot start a new one."""
        record.message = _printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        """Returns the traceback, indented; the error's text may have lines, too."""
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        """Returns the stack, indented."""
        return _indented(super().formatStack(stack_info))

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line with its traceback, without secrets."""
        text = _TOKEN_IN_ADDRESS.sub(rf"\1{BLANK}", super().format(record))
        return blanked(text, self._secrets)


def _printable(text: str) -> str:
    """Returns the text with escapes for line ends, control characters and turns of direction."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _indented(lines: str) -> str:
    return "\n".join(f"    {_printable(line)}" for line in lines.split("\n"))


def set_up_logging(settings: Settings, *, level: str | None = None) -> None:
    """Logs to standard error and, when set, to `settings.log_file` (5 files of 10 MB).

    Raises:
        StartError: The file cannot be written.
    """
    formatter = SafeFormatter(secrets_of(os.environ, settings))
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if settings.log_file is not None:
        path = Path(settings.log_file)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handlers.append(
                logging.handlers.RotatingFileHandler(
                    path, maxBytes=10_000_000, backupCount=4, encoding="utf-8"
                )
            )
        except OSError as error:
            raise StartError(
                f"The log {path} cannot be written ({error.strerror}). Set EASEL_LOG_FILE to "
                "another file."
            ) from error
    root = logging.getLogger()
    root.setLevel(level or settings.log_level)
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
    # discord.py's DEBUG lines hold whole payloads, people's words and interaction tokens included.
    logging.getLogger("discord").setLevel(max(root.level, logging.INFO))
