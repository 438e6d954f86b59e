"""A small engine process without torch that speaks the real protocol and breaks where it is told to.

Run it through `settings.engine_command`. Words in the prompt say what happens to a job, "a cat
engine:crash" for example; a word that ends in "-once" acts only the first time for that job, also
over restarts (a file in `--state` remembers it). What each process did is written to `--state`/log.

engine:crash      SIGKILL of itself at the job's second step
engine:segv       SIGSEGV at the second step
engine:exit       exit code 0 at the second step
engine:early      SIGKILL before the job is reported as started
engine:partial    SIGKILL after the job's first picture
engine:last       SIGKILL between the job's last picture and its `done`
engine:orphan     SIGKILL at the second step, while a child of it holds the socket
engine:hang       blocks for ever at the second step
engine:stop       SIGSTOP of itself at the second step
engine:garbage    bytes that are no frame
engine:nonsense   a frame with the wrong fields
engine:cut        half a frame, then no more
engine:torn       half a frame, then SIGKILL
engine:hangup     closes the socket and goes on running
engine:fail       `failed` with GenerationError
engine:leak       prints the environment's tokens, and `failed` with an error that quotes them
engine:short      `done` without pictures
engine:unsafe     its pictures are found unsafe, with `--classifier`
engine:unlooked   nothing looks at its pictures
engine:hold       runs without end until the file `--state`/go exists (heartbeats go on)
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from PIL import Image, PngImagePlugin

from engine import protocol
from engine.control.maps import MapRequest, Skeleton
from engine.errors import EngineError
from engine.types import EngineInfo, GenerationRequest, Sampler, Upscaler

if TYPE_CHECKING:
    from engine.control.making import MapMaker

# Holds a socket and the engine's output until the other side hangs up.
_HOLDING = """
import socket, sys
held = socket.socket(fileno=int(sys.argv[1]))
held.setblocking(True)
while held.recv(65536): pass
"""

STATS = {  # as of a GPU
    "rss_bytes": 900 << 20,
    "cuda_bytes": 3 << 30,
    "device_free_bytes": 12 << 30,
    "device_total_bytes": 16 << 30,
    "steps_per_s": 5.25,
    "row_steps_per_s": 21.5,
    "rows": 4,
}


@dataclass
class Row:
    """One job and how far it is."""

    job_id: str
    request: GenerationRequest
    step: int = 0
    is_cancelled: bool = False
    images: tuple[bytes, ...] = ()
    began: float = field(default_factory=time.monotonic)


class FaultyEngine:
    """The loop: takes commands, gives each running job one step a tick."""

    def __init__(self, options: argparse.Namespace, connection: socket.socket) -> None:
        self.options = options
        self.connection = connection
        self.state: Path = options.state
        self.waiting: list[Row] = []
        self.running: list[Row] = []
        self.ticks = 0
        self.finished = 0
        self.is_draining = False
        self.woken = asyncio.Event()

    @cached_property
    def maker(self) -> MapMaker:
        """Makes control maps; OpenCV takes longer to load than most tests to run."""
        from engine.control.making import MapMaker

        info = info_of(self.options)
        return MapMaker(info.model, info.control_kinds, find_people=find_people)

    async def run(self) -> None:
        self.note("start")
        self.reader, self.writer = await asyncio.open_connection(sock=self.connection)
        if self.options.stderr:
            sys.stderr.write(self.options.stderr + "\n")
        for number in range(self.options.loading):
            await asyncio.sleep(self.options.load_s)
            self.send("loading", stage="loading", fraction=number / self.options.loading)
        marker = self.state / "fatal-once"
        is_first = self.options.fatal_once and not marker.exists()
        folder = Path(os.environ.get("EASEL_MODEL", "nowhere"))
        is_broken = self.options.by_settings and (folder / "broken").exists()
        if self.options.fatal or is_first or is_broken:
            marker.touch()
            self.send("fatal", error="ModelLoadError", message="no model at /nowhere")
            await self.writer.drain()
            return
        if self.options.never_ready:
            await asyncio.Event().wait()
        self.send("ready", info=protocol.pack(info_of(self.options)))
        loop = asyncio.create_task(self.loop())
        while (frame := await protocol.read_frame(self.reader)) is not None:
            self.on_frame(frame)
        loop.cancel()

    def on_frame(self, frame: protocol.Frame) -> None:
        match frame.kind:
            case "generate":
                request = protocol.unpack(GenerationRequest, frame.fields["request"])
                row = Row(frame.fields["job_id"], request, images=frame.blobs)
                self.note("received", row.job_id)
                self.waiting.append(row)
            case "cancel":
                for row in [*self.waiting, *self.running]:
                    row.is_cancelled |= row.job_id == frame.fields["job_id"]
            case "stats":
                if "die" in frame.fields:
                    self.die(signal.SIGKILL)
                value = {"pid": os.getpid(), "ticks": self.ticks, **STATS}
                self.send("reply", call_id=frame.fields["call_id"], value=value)
            case "detect":
                self.detect(frame)
            case "drain":
                self.note("drained")
                self.is_draining = True
        self.woken.set()

    def detect(self, frame: protocol.Frame) -> None:
        call_id = frame.fields["call_id"]
        self.note("detect")
        try:
            made = self.maker.make(
                frame.blobs[0], protocol.unpack(MapRequest, frame.fields["request"])
            )
        except EngineError as error:
            value = {"error": type(error).__name__, "message": str(error)}
            self.send("reply", call_id=call_id, value=value)
            return
        value = {"kind": made.kind, "people": made.people, "was_map": made.was_map}
        self.send("reply", made.png, call_id=call_id, value=value)

    async def loop(self) -> None:
        while True:
            if not self.waiting and not self.running:
                if self.is_draining:
                    os._exit(0)
                self.woken.clear()
                await self.woken.wait()
            self.admit()
            for row in list(self.running):
                self.step(row)
            self.ticks += 1
            rss_bytes = (100 + self.options.leak_mb * self.finished) << 20
            self.send("heartbeat", ticks=self.ticks, rss_bytes=rss_bytes)
            await self.writer.drain()
            rows = sum(row.request.rows for row in self.running)
            await asyncio.sleep(self.options.step_s + self.options.row_s * rows)

    def admit(self) -> None:
        """Lets jobs into the batch while it has rows, a larger one alone."""
        while self.waiting:
            used = sum(row.request.rows for row in self.running)
            if used and used + self.waiting[0].request.rows > self.options.max_rows:
                return
            row = self.waiting.pop(0)
            if self.does(row, "early"):
                self.die(signal.SIGKILL)
            self.note("started", row.job_id)
            self.send("started", job_id=row.job_id)
            self.running.append(row)

    def step(self, row: Row) -> None:
        if row.is_cancelled:
            self.end(row, "failed", error="GenerationCancelledError", message="It was cancelled.")
            return
        if self.does(row, "hold") and not (self.state / "go").exists():
            return
        row.step += 1
        if row.step == 2:
            self.misbehave(row)
            if row not in self.running:
                return
        total = row.request.steps_to_run
        self.send("progress", job_id=row.job_id, step=row.step, total=total)
        if row.step >= total:
            self.deliver(row)

    def misbehave(self, row: Row) -> None:
        if self.does(row, "crash"):
            self.die(signal.SIGKILL)
        elif self.does(row, "orphan"):
            fd = self.connection.fileno()
            subprocess.Popen([sys.executable, "-c", _HOLDING, str(fd)], pass_fds=[fd])
            self.die(signal.SIGKILL)
        elif self.does(row, "segv"):
            self.die(signal.SIGSEGV)
        elif self.does(row, "exit"):
            self.note("died", row.job_id)
            os._exit(0)
        elif self.does(row, "hang"):
            time.sleep(3600)  # the fault itself: a loop that blocks for ever
        elif self.does(row, "stop"):
            os.kill(os.getpid(), signal.SIGSTOP)
        elif self.does(row, "garbage"):
            self.writer.write(b"\xff" * 64)
        elif self.does(row, "nonsense"):
            self.send("progress", job_id=row.job_id, step="many")
        elif self.does(row, "cut"):
            self.writer.write(protocol.encode("heartbeat", {"ticks": 1})[:-3])
            self.writer.close()
            self.connection.shutdown(socket.SHUT_RDWR)
            time.sleep(3600)  # an exit at once would be told by its code, if it came first
        elif self.does(row, "torn"):
            self.writer.write(protocol.encode("heartbeat", {"ticks": 1})[:-3])
            self.die(signal.SIGKILL)
        elif self.does(row, "hangup"):
            self.connection.shutdown(socket.SHUT_RDWR)
            time.sleep(3600)  # the fault itself: a loop that blocks for ever
        elif self.does(row, "fail"):
            self.end(row, "failed", error="GenerationError", message="It did not work.")
        elif self.does(row, "leak"):
            told = [f"{name}={value}" for name, value in os.environ.items() if "TOKEN" in name]
            sys.stderr.write(f"{told}\n")
            sys.stderr.flush()
            self.end(row, "failed", error="InvalidRequestError", message=f"No entry with {told}.")
        elif self.does(row, "short"):
            self.end(row, "done", seconds=0.1, warnings=[], receipt={})

    def deliver(self, row: Row) -> None:
        request = row.request
        for index in range(request.num_images):
            fields = {"index": index, "seed": request.seed_of(index)}
            fields |= {"width": request.width, "height": request.height, "score": self.score(row)}
            self.send("picture", draw(request, index), job_id=row.job_id, **fields)
            if self.does(row, "partial"):
                self.die(signal.SIGKILL)
        if self.does(row, "last"):
            self.die(signal.SIGKILL)
        receipt = {"pid": os.getpid(), "images": len(row.images)}
        seconds = time.monotonic() - row.began
        self.end(row, "done", seconds=seconds, warnings=[], receipt=receipt)

    def score(self, row: Row) -> float | None:
        if not self.options.classifier or self.does(row, "unlooked"):
            return None
        return 0.123 if self.does(row, "unsafe") else -0.05

    def end(self, row: Row, kind: str, **fields: Any) -> None:
        self.note(kind, row.job_id)
        self.finished += 1
        self.send(kind, job_id=row.job_id, **fields)
        self.running.remove(row)

    def does(self, row: Row, fault: str) -> bool:
        """Whether the job's prompt asks for the fault, now."""
        words = row.request.prompt.split()
        if f"engine:{fault}-once" in words:
            marker = self.state / f"{row.job_id}.{fault}"
            if marker.exists():
                return False
            marker.touch()
            return True
        return f"engine:{fault}" in words

    def die(self, number: signal.Signals) -> NoReturn:
        self.note("died")
        # What was written before must reach the other side, as it would from a real process.
        self.connection.setblocking(True)
        os.kill(os.getpid(), number)
        raise SystemExit(1)

    def send(self, kind: str, *blobs: bytes, **fields: Any) -> None:
        self.writer.write(protocol.encode(kind, fields, blobs))

    def note(self, *words: str) -> None:
        with (self.state / "log").open("a") as log:
            log.write(" ".join((str(os.getpid()), *words)) + "\n")


def find_people(image: Image.Image) -> list[Skeleton]:
    """Finds somebody who waves with the right hand in the middle of every reddish picture."""
    red, _, blue = image.resize((1, 1)).getpixel((0, 0))
    if red <= blue + 50:
        return []
    width, height = image.size
    return [tuple((x * width, y * height) for x, y in WAVING)]


WAVING = (
    (0.50, 0.20), (0.50, 0.32), (0.42, 0.32), (0.32, 0.26), (0.28, 0.10), (0.58, 0.32),
    (0.64, 0.46), (0.66, 0.58), (0.45, 0.58), (0.44, 0.76), (0.43, 0.94), (0.55, 0.58),
    (0.56, 0.76), (0.57, 0.94), (0.48, 0.18), (0.52, 0.18), (0.45, 0.19), (0.55, 0.19),
)  # fmt: skip


def draw(request: GenerationRequest, index: int) -> bytes:
    """Returns a PNG that depends on seed and prompt: two colours, so it is no black picture."""
    seed = request.seed_of(index) + sum(request.prompt.encode())
    colour = (seed % 251, seed // 251 % 251, 200)
    picture = Image.new("RGB", (request.width, request.height), colour)
    picture.paste((255, 255, 255), (0, 0, request.width // 2, request.height // 2))
    metadata = PngImagePlugin.PngInfo()
    metadata.add_text("parameters", f"{request.prompt}\nSeed: {request.seed_of(index)}")
    file = io.BytesIO()
    picture.save(file, "PNG", pnginfo=metadata)
    return file.getvalue()


def info_of(options: argparse.Namespace) -> EngineInfo:
    if options.by_settings:
        from engine.model_card import provisional_info
        from engine.settings import EngineSettings

        return provisional_info(EngineSettings())
    return EngineInfo(
        model=options.model,
        model_hash="0123456789",
        family="sd15",
        native_size=64,
        size_multiple=8,
        max_side=1024,
        samplers=tuple(Sampler),
        default_sampler=Sampler.EULER_A,
        default_steps=4,
        default_guidance_scale=5.0,
        default_negative_prompt="out of focus",
        max_rows=options.max_rows,
        device="cpu",
        device_name="CPU",
        dtype="float32",
        memory_bytes=1,
        versions={"faulty": "1"},
        control_kinds=tuple(filter(None, options.controls.split(","))),
        upscalers=(Upscaler.LANCZOS, *([Upscaler.SWIN2SR] if options.upscaler else [])),
        has_classifier=options.classifier,
    )


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--step-s", type=float, default=0.002)
    parser.add_argument("--row-s", type=float, default=0.0, help="what each row adds to a step")
    parser.add_argument("--loading", type=int, default=0, help="frames before it is ready")
    parser.add_argument("--load-s", type=float, default=0.0, help="pause before each of them")
    parser.add_argument("--max-rows", type=int, default=8)
    parser.add_argument("--model", default="faulty")
    parser.add_argument("--by-settings", action="store_true", help="it is the model of EASEL_MODEL")
    parser.add_argument("--controls", default="canny,openpose", help="kinds of ControlNets")
    parser.add_argument("--upscaler", action="store_true", help="a learned one as well")
    parser.add_argument("--classifier", action="store_true", help="it looks at pictures")
    parser.add_argument("--fatal", action="store_true", help="the model cannot be loaded")
    parser.add_argument("--fatal-once", action="store_true", help="... by the first process")
    parser.add_argument("--never-ready", action="store_true")
    parser.add_argument("--leak-mb", type=int, default=0, help="memory that each job leaves behind")
    parser.add_argument("--stderr", default="", help="printed at the start")
    return parser.parse_args(argv)


if __name__ == "__main__":
    fd = int(os.environ[protocol.ENGINE_FD_VARIABLE])
    asyncio.run(FaultyEngine(parse(), socket.socket(fileno=fd)).run())
