"""The operator's log: one line a message, no secrets, no forged lines."""

from __future__ import annotations

import logging
import logging.handlers
import re
import sys
from pathlib import Path

from engine.errors import StartError
from engine.settings import Settings

# A webhook's and an interaction's token stand in the address of its requests, which discord.py
# and aiohttp put into warnings.
_TOKEN_IN_ADDRESS = re.compile(r"(/(?:webhooks|interactions)/\d+/)[\w.%-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")
_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class SafeFormatter(logging.Formatter):
    """Escapes control characters of a message, and blanks out secrets everywhere."""

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        """Takes the secrets that must not be written; empty strings are left out."""
        super().__init__(_FORMAT)
        self._secrets = tuple(s for s in secrets if s)

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Returns the line; what a person typed cannot start a new one."""
        record.message = _CONTROL.sub(lambda m: repr(m.group())[1:-1], record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line with its traceback, without secrets."""
        text = _TOKEN_IN_ADDRESS.sub(r"\1***", super().format(record))
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def set_up_logging(settings: Settings, *, level: str | None = None) -> None:
    """Logs to standard error and, when set, to `settings.log_file` (5 files of 10 MB).

    Raises:
        StartError: The file cannot be written.
    """
    token = settings.discord_token
    formatter = SafeFormatter((token.get_secret_value(),) if token else ())
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
