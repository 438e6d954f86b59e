"""The process that reads one untrusted file: `python -m engine.intake.child <memory> <cpu>`.

It imports what it needs, limits itself, says that it is ready, reads one file from its standard input,
answers on its standard output and ends. It also ends when the bot does, at end of file.
"""

from __future__ import annotations

import sys
import traceback
from typing import Any

from engine.errors import RefusedFileError
from engine.intake import frames, limits, pictures
from engine.words import N_

_MAX_BLOB = 2**30  # the bot has counted the bytes before
TOO_MUCH_MEMORY = N_(
    "The picture needs too much memory to be read. Make it smaller, or save it again as PNG, "
    "JPEG or WebP."
)


def main(argv: list[str]) -> None:
    """Serves one file."""
    memory_bytes, cpu_s = map(int, argv)
    pictures.prepare()
    limits.apply(memory_bytes=memory_bytes, cpu_s=cpu_s)
    answer = sys.stdout.buffer
    answer.write(frames.encode({"ready": True}))
    answer.flush()
    try:
        fields, blob = frames.read(sys.stdin.buffer, _MAX_BLOB)
    except EOFError:  # not needed any more
        return
    answer.write(frames.encode({"taken": True}))
    answer.flush()
    answer.write(_serve(fields, blob))
    answer.flush()


def _serve(fields: dict[str, Any], blob: bytes) -> bytes:
    try:
        picture = pictures.clean(blob, max_side=int(fields["max_side"]))
    except RefusedFileError as error:
        return frames.encode({"refused": str(error)})
    except MemoryError:
        return frames.encode({"refused": TOO_MUCH_MEMORY})
    except Exception:  # the bot's log gets it, the person one sentence
        return frames.encode({"failed": traceback.format_exc(limit=-8)})
    size = {"width": picture.width, "height": picture.height}
    return frames.encode({**size, "notes": list(picture.notes)}, picture.png)


if __name__ == "__main__":
    main(sys.argv[1:])
