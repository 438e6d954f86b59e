"""The engine process, `python -m engine.worker`: loads the model, then runs the row-batch loop.

Torch is imported only after its environment is set, and after the first frame was sent.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys

from engine import protocol
from engine.errors import EngineDiedError, ModelLoadError
from engine.model_card import control_sources, engine_info, local_path, read_card, resolve_source
from engine.settings import ENGINE_FD_VARIABLE, EngineSettings
from engine.types import MAX_IMAGES
from engine.worker.link import Link

log = logging.getLogger("engine.worker")

EXIT_NO_MODEL = 78  # EX_CONFIG of sysexits.h
EXIT_DEVICE_LOST = 70  # EX_SOFTWARE
_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # A waiting OpenMP thread must not burn the core that the bot needs: spinning made a picture
    # five times slower beside one busy process.
    "OMP_WAIT_POLICY": "PASSIVE",
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
}


def main() -> int:
    """Runs the engine until its bot is gone; returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the bot, which then ends us
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints belongs to the log
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    if ENGINE_FD_VARIABLE not in os.environ:
        log.error("The engine is started by the bot (python bot.py), not by hand.")
        return 2
    link = Link(socket.socket(fileno=int(os.environ[ENGINE_FD_VARIABLE])))
    link.send("loading", {"stage": "starting", "fraction": None})
    settings = EngineSettings()  # type: ignore[call-arg]  # mypy does not see the environment
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if settings.threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    try:
        return _run(link, settings)
    except ImportError as error:
        text = f"The engine's libraries are not complete: {error}. Install Easel again."
        link.send("fatal", {"error": ModelLoadError.__name__, "message": text})
        raise
    except ModelLoadError as error:
        log.error("%s", error)
        link.send("fatal", {"error": type(error).__name__, "message": str(error)})
        return EXIT_NO_MODEL
    finally:
        link.flush()


def _run(link: Link, settings: EngineSettings) -> int:
    if (path := local_path(resolve_source(settings))) is not None:
        read_card(path)  # a wrong EASEL_MODEL is told at once, not after seconds of imports
    link.send("loading", {"stage": "importing torch", "fraction": None})
    gc.disable()  # a fifth of the time of these imports is the collector's
    import torch

    torch.set_grad_enabled(False)  # of this thread, which alone calls the model
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    from engine.worker import machine
    from engine.worker.denoise import is_device_lost
    from engine.worker.loop import RowLoop
    from engine.worker.models import load_model

    gc.freeze()
    gc.enable()

    def report(stage: str, fraction: float | None) -> None:
        link.send("loading", {"stage": stage, "fraction": fraction})

    model = load_model(settings, report)
    report("measuring the speed", 0.95)
    sources = control_sources(settings)
    knee = settings.max_rows or machine.measure_knee(model)
    info = engine_info(
        model.card,
        model_hash=model.model_hash,
        max_rows=knee,
        device=str(model.device),
        device_name=machine.device_name(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        memory_bytes=machine.allocated_bytes(model.device) or machine.resident_bytes(),
        versions=machine.versions(),
        control_kinds=tuple(sources),
    )
    loop = RowLoop(
        model,
        info,
        link.send,
        link.inbox,
        # One job is never split unless the operator says so: its bits depend on the rows of its
        # calls, and the measured knee may differ from start to start.
        row_limit=settings.max_rows or max(knee, 2 * MAX_IMAGES),
        preview_interval_s=settings.preview_interval_s,
        control_sources=sources,
        control_bytes=settings.controlnet_memory_mb << 20,
        adapter_bytes=settings.adapter_memory_mb << 20,
    )
    link.send("ready", {"info": protocol.pack(info)})
    try:
        loop.run()
    except RuntimeError as error:
        if not is_device_lost(error):
            raise
        log.exception("The GPU's context is lost; a new process starts.")
        link.send("fatal", {"error": EngineDiedError.__name__, "message": "The GPU failed."})
        return EXIT_DEVICE_LOST
    return 0


if __name__ == "__main__":
    sys.exit(main())
