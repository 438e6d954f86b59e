"""Every error that Easel raises on purpose, in one tree.

::

    EngineError
    ├── RequestError                 the asker can fix it; the text is shown as it is
    │   ├── InvalidRequestError      an option is out of range
    │   ├── RefusedFileError         a picture or LoRA file that is not used, and why
    │   ├── UnknownAdapterError      a style that is not loaded
    │   ├── UnknownJobError          a job or picture that is not there (any more)
    │   ├── NotAllowedError          somebody else's job, a missing permission
    │   │   └── BlockedError         the person was turned away, here or everywhere
    │   ├── OverLimitError           more than the person may ask for at a time
    │   ├── TooManyWaitingError      the person has enough jobs waiting
    │   ├── QuotaExceededError       the person's allowance is used up for now
    │   ├── QueueFullError           everybody's queue is full
    │   └── QueueClosedError         the operator lets the queue run empty
    ├── GenerationError              this job ended, the engine goes on
    │   ├── EngineOutOfMemoryError   does not fit, even in the smallest way of running it
    │   ├── BrokenPictureError       the model gave a black or non-finite picture
    │   ├── JobSetAsideError         it was running alone at the engine's second death
    │   └── GenerationCancelledError somebody stopped it
    ├── EngineDiedError              the engine process is gone and restarts
    └── StartError                   the operator can fix it; start stops with the text
        ├── ModelLoadError           the model is missing or cannot be used
        ├── DataDirectoryError       locked by another copy, or not writable
        ├── DatabaseVersionError     written by a newer Easel
        └── DatabaseDamagedError     the file is no sound SQLite database
"""

from __future__ import annotations

from datetime import datetime

from engine.words import N_

TOO_MANY_WAITING = N_(
    "You have {waiting} jobs waiting (limit {limit}). "
    "Wait for one to finish, or cancel one with /queue cancel."
)


class EngineError(Exception):
    """Base of all errors that Easel raises on purpose.

    Attributes:
        template: The English sentence, with `{name}` where a value belongs.
        values: What belongs there; `str(error)` is the sentence with them. They are kept so that the
            sentence can be said in another language, see `engine.words`.
    """

    def __init__(self, message: str = "", /, **values: object) -> None:
        """Makes the sentence; without values, braces in it are only braces."""
        super().__init__(message.format(**values) if values else message)
        self.template = message
        self.values = values


class RequestError(EngineError):
    """What was asked cannot be done; the message tells the asker what, the limit and the next step."""


class InvalidRequestError(RequestError):
    """An option is outside of what this engine takes."""


class RefusedFileError(RequestError):
    """A file that somebody sent cannot be used; the message names the reason and what is taken."""


class UnknownAdapterError(RequestError):
    """The request names a style that is not loaded."""


class UnknownJobError(RequestError):
    """There is no such job or picture, or it was deleted."""


class NotAllowedError(RequestError):
    """The person may not do this."""


class BlockedError(NotAllowedError):
    """A server's managers, or the bot's owners, have turned the person away."""


class OverLimitError(RequestError):
    """More steps, pixels or pictures than the person may ask for at a time."""


class TooManyWaitingError(RequestError):
    """The person has as many jobs waiting as the limit allows.

    Attributes:
        waiting: Jobs that the person has waiting or running now.
        limit: The limit.
    """

    def __init__(
        self, waiting: int, limit: int, template: str = TOO_MANY_WAITING, **values: object
    ) -> None:
        """Keeps both numbers for the message; another template says whose limit it is."""
        super().__init__(template, waiting=waiting, limit=limit, **values)
        self.waiting = waiting
        self.limit = limit


class QuotaExceededError(RequestError):
    """The person's allowance does not cover this job for now.

    Attributes:
        retry_at: Aware UTC time from which the same request would be accepted; None if it never
            would, because one job alone costs more than the limit.
    """

    def __init__(self, message: str, /, retry_at: datetime | None, **values: object) -> None:
        """Keeps the time so that it can be shown in the reader's own time zone."""
        super().__init__(message, **values)
        self.retry_at = retry_at


class QueueFullError(RequestError):
    """Everybody's jobs together fill the queue."""


class QueueClosedError(RequestError):
    """The operator lets the queue run empty: nothing new is accepted."""


class GenerationError(EngineError):
    """The job ended without a picture; the engine goes on with the others."""


class EngineOutOfMemoryError(GenerationError):
    """The job does not fit into memory, even in the smallest way of running it."""


class BrokenPictureError(GenerationError):
    """The model produced a black, constant or non-finite picture."""


class UnsafePictureError(GenerationError):
    """The server shows only pictures that the classifier finds safe, and this one is not."""


class NotReleasedError(UnsafePictureError):
    """Moderators looked at the picture, which was held back, and did not release it."""


class JobSetAsideError(GenerationError):
    """The job was running alone when the engine died a second time."""


class GenerationCancelledError(GenerationError):
    """The job was cancelled."""


class EngineDiedError(EngineError):
    """The engine process is gone; its supervisor starts a new one."""


class StartError(EngineError):
    """Easel cannot start; the message tells the operator why and what to do."""


class ModelLoadError(StartError):
    """The configured model is missing, or is no model that this engine runs."""


class DataDirectoryError(StartError):
    """The data directory is in use by another copy or cannot be written."""


class DatabaseVersionError(StartError):
    """The database was written by a newer version."""


class DatabaseDamagedError(StartError):
    """The database file cannot be read as one; a backup has to take its place."""


_WIRE_ERRORS: dict[str, type[EngineError]] = {
    cls.__name__: cls
    for cls in (
        InvalidRequestError,
        RefusedFileError,
        UnknownAdapterError,
        GenerationError,
        EngineOutOfMemoryError,
        BrokenPictureError,
        JobSetAsideError,
        UnsafePictureError,
        NotReleasedError,
        GenerationCancelledError,
        EngineDiedError,
        ModelLoadError,
    )
}


def error_from_wire(name: str, message: str) -> EngineError:
    """Returns the error that crossed a process or database border as (class name, message).

    A name that is not known here (a newer worker, an unexpected exception) is a `GenerationError`.
    """
    return _WIRE_ERRORS.get(name, GenerationError)(message)
