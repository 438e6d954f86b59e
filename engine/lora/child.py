"""The process that checks one LoRA file: `python -m engine.lora.child <memory> <cpu> <bytes> [family]`.

The file is its standard input; the verdict goes to its standard output.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import traceback

from engine.errors import RefusedFileError
from engine.intake import frames, limits
from engine.lora.checking import check_lora
from engine.words import N_

TOO_MUCH_MEMORY = N_("The file needs too much memory to be checked, so it is not used.")


def main(argv: list[str]) -> None:
    """Checks one file."""
    memory_bytes, cpu_s, max_bytes = map(int, argv[:3])
    family = argv[3] if len(argv) > 3 else None
    limits.apply(memory_bytes=memory_bytes, cpu_s=cpu_s)
    file = sys.stdin.buffer
    try:
        lora = check_lora(file, os.fstat(file.fileno()).st_size, max_bytes=max_bytes, family=family)
        fields = dataclasses.asdict(dataclasses.replace(lora, metadata={}))
        answer = frames.encode(fields, json.dumps(dict(lora.metadata)).encode())
    except RefusedFileError as error:
        answer = frames.encode({"refused": str(error)})
    except MemoryError:
        answer = frames.encode({"refused": TOO_MUCH_MEMORY})
    except Exception:  # the bot's log gets it, the person one sentence
        answer = frames.encode({"failed": traceback.format_exc(limit=-8)})
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
