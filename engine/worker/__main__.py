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
from typing import TYPE_CHECKING

from engine import protocol
from engine.errors import EngineDiedError, ModelLoadError
from engine.model_card import (
    control_sources,
    detector_sources,
    engine_info,
    local_path,
    read_card,
    resolve_source,
    safety_checker_source,
    upscaler_source,
    upscalers,
)
from engine.settings import EngineSettings
from engine.types import MAX_IMAGES
from engine.words import N_
from engine.worker.link import Link

if TYPE_CHECKING:
    from engine.worker.encoding import Send
    from engine.worker.loop import RowLoop

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
    if protocol.ENGINE_FD_VARIABLE not in os.environ:
        log.error("The engine is started by the bot (python bot.py), not by hand.")
        return 2
    link = Link(socket.socket(fileno=int(os.environ[protocol.ENGINE_FD_VARIABLE])))
    link.send("loading", {"stage": "starting", "fraction": None})
    settings = EngineSettings()  # type: ignore[call-arg]  # mypy does not see the environment
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if settings.threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    if settings.cache_dir is not None:  # what was compiled is there at the next start
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(settings.cache_dir / "compiled"))
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
    upscaler_source(settings)  # the same
    checker = safety_checker_source(settings)
    link.send("loading", {"stage": "importing torch", "fraction": None})
    gc.disable()  # a fifth of the time of these imports is the collector's
    import torch

    torch.set_grad_enabled(False)  # of this thread, which alone calls the model
    # The samplers' sums in float32 need all its digits: no TF32, also where the environment asks for it.
    torch.set_float32_matmul_precision("highest")
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    from engine.worker import buckets, compiled, machine, warm_up
    from engine.worker.knee import find_knee
    from engine.worker.loop import RowLoop
    from engine.worker.models import load_model

    gc.freeze()
    gc.enable()

    def report(stage: str, fraction: float | None) -> None:
        link.send("loading", {"stage": stage, "fraction": fraction})

    model = load_model(settings, report)
    score = None
    if checker is not None:
        report(N_("loading the safety checker"), 0.93)
        from engine.worker.classifier import Classifier

        score = Classifier(checker).score
    report("measuring the speed", 0.95)
    sources, detectors = control_sources(settings), detector_sources(settings)
    upscaler = upscaler_source(settings)
    knee = settings.max_rows or find_knee(model, settings.cache_dir)
    # One job is never split unless the operator says so: its bits depend on the rows of its calls, and
    # the measured knee may differ from start to start.
    row_limit = settings.max_rows or max(knee, 2 * MAX_IMAGES)
    sizes = buckets.choose(settings.row_buckets, row_limit, on_gpu=model.device.type == "cuda")
    blocks = compiled.compile_blocks(
        model.unet,
        compiled.choose(settings.compiled_blocks),
        warm_up.calls(model, sizes),
        lambda share: report(N_("compiling the model"), round(share, 3)),
    )
    info = engine_info(
        model.card,
        model_hash=model.model_hash,
        max_rows=knee,
        device=str(model.device),
        device_name=machine.device_name(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        memory_bytes=machine.allocated_bytes(model.device) or machine.resident_bytes(),
        versions=machine.versions() | ({"compiled": ", ".join(blocks)} if blocks else {}),
        control_kinds=tuple(sources),
        upscalers=upscalers(settings),
        has_classifier=score is not None,
    )
    loop = RowLoop(
        model,
        info,
        link.send,
        link.inbox,
        row_limit=row_limit,
        preview_interval_s=settings.preview_interval_s,
        control_sources=sources,
        detector_sources=detectors,
        upscaler=upscaler,
        score=score,
        control_bytes=settings.controlnet_memory_mb << 20,
        adapter_bytes=settings.adapter_memory_mb << 20,
        buckets=sizes,
    )
    link.send("ready", {"info": protocol.pack(info)})
    return serve(loop, link.send)


def serve(loop: RowLoop, send: Send) -> int:
    """Runs the loop until it is drained; returns the exit code.

    After a CUDA error other than out of memory the device answers nothing any more, in this process.
    """
    from engine.worker.faults import is_device_lost

    try:
        loop.run()
    except RuntimeError as error:
        if not is_device_lost(error):
            raise
        log.exception("The GPU's context is lost; a new process starts.")
        send("fatal", {"error": EngineDiedError.__name__, "message": "The GPU failed."})
        return EXIT_DEVICE_LOST
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # a download in a thread, or a lost device, would hold an orderly exit up
