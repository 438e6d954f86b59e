"""The row-batch loop beside equality: joining, leaving, cancelling, previews, and what goes wrong."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from engine import protocol
from engine.protocol import Frame
from engine.types import Sampler, SecondPass
from engine.worker import pixels
from tests.engine.worker.local import LocalEngine

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def engine(tiny_sd15: Path) -> LocalEngine:
    """Returns an engine of the test's own, whose parts it may break."""
    return LocalEngine(tiny_sd15)


def frames_of(engine: LocalEngine, job_id: str) -> list[Frame]:
    return [frame for frame in engine.frames if frame.fields.get("job_id") == job_id]


def test_jobs_of_different_samplers_and_guidance_share_one_call(engine: LocalEngine) -> None:
    engine.join("a", sampler=Sampler.EULER_A, guidance_scale=7.0)
    engine.join("b", sampler=Sampler.DDIM, guidance_scale=1.0, num_images=2)
    engine.loop.tick()
    engine.join("c", sampler=Sampler.UNIPC, num_inference_steps=2)
    engine.loop.tick()
    assert engine.unet.rows == [4, 6]
    engine.finish()
    assert engine.unet.rows == [4, 6, 6, 4, 4], "c left after its two steps"
    assert {engine.last(job).kind for job in "abc"} == {"done"}


def test_frames_of_a_job_come_in_order(engine: LocalEngine) -> None:
    engine.join("a", num_images=2, num_inference_steps=3)
    engine.finish()
    frames = frames_of(engine, "a")
    kinds = [frame.kind for frame in frames if not (frame.kind == "progress" and frame.blobs)]
    assert kinds == ["started", *["progress"] * 3, "picture", "picture", "done"]
    assert {f.fields["step"] for f in frames if f.kind == "progress"} == {2, 4, 6}
    assert {f.fields["total"] for f in frames if f.kind == "progress"} == {6}
    pictures = {f.fields["index"]: f.fields for f in frames if f.kind == "picture"}
    assert {index: fields["seed"] for index, fields in pictures.items()} == {0: 7, 1: 8}


def test_receipt_counts_the_rows_of_every_step(engine: LocalEngine) -> None:
    engine.join("a", num_images=2, num_inference_steps=4)
    engine.loop.tick()
    engine.join("b", num_inference_steps=2, guidance_scale=1.0)
    engine.finish()
    done = engine.last("a").fields
    receipt = done["receipt"]
    assert json.loads(json.dumps(receipt)) == receipt
    assert [p["calls"] for p in receipt["pictures"]] == [
        [[1, 4, 2 + k, 77], [2, 5, 2 + k, 77], [1, 4, 2 + k, 77]] for k in range(2)
    ], "of the steps so many rows, the place among them, tokens"
    assert [p["unconditional"] for p in receipt["pictures"]] == [
        [[1, 4, k, 77], [2, 5, k, 77], [1, 4, k, 77]] for k in range(2)
    ]
    assert receipt["model_hash"] == engine.info.model_hash
    assert receipt["dtype"] == "float32"
    assert done["seconds"] > 0


def test_sizes_take_turns(engine: LocalEngine) -> None:
    sizes: list[int] = []

    def note(sample: Any, timesteps: Any) -> None:
        sizes.append(sample.shape[-1])

    engine.unet.fail = note
    engine.join("small", num_inference_steps=4)
    engine.join("wide", width=96, num_inference_steps=4)
    engine.join("wide2", width=96, num_inference_steps=4)
    engine.finish()
    assert sizes == [8, 12] * 4


def test_rows_of_a_call_are_bounded_and_jobs_stay_whole(tiny_sd15: Path) -> None:
    engine = LocalEngine(tiny_sd15, row_limit=6)
    engine.join("a", num_images=2, num_inference_steps=1)
    engine.join("b", num_images=2, num_inference_steps=1)
    engine.join("c", num_images=4, num_inference_steps=1)
    engine.join("d", num_inference_steps=3)
    engine.finish()
    assert engine.unet.rows == [4 + 2, 4 + 2, 6, 2 + 2], "d fills what is left, also beside c"
    ends = [frame.fields["job_id"] for frame in engine.frames if frame.kind == "done"]
    assert ends == ["a", "b", "c", "d"]


def test_cancel_acts_at_the_next_tick_and_sends_nothing_more(engine: LocalEngine) -> None:
    engine.join("gone", num_images=2)
    engine.join("stays")
    engine.loop.tick()
    engine.loop.handle(Frame("cancel", {"job_id": "gone"}))
    engine.finish()
    assert engine.unet.rows == [6, 2, 2, 2, 2]
    gone = frames_of(engine, "gone")
    assert gone[-1].kind == "failed"
    assert gone[-1].fields["error"] == "GenerationCancelledError"
    assert [frame.kind for frame in gone] == ["started", "progress", "failed"]
    assert engine.last("stays").kind == "done"


def test_cancel_of_an_unknown_job_does_nothing(engine: LocalEngine) -> None:
    engine.loop.handle(Frame("cancel", {"job_id": "nobody"}))
    assert engine.frames == []


def test_preview_is_a_small_jpeg_of_all_the_jobs_pictures(tiny_sd15: Path) -> None:
    engine = LocalEngine(tiny_sd15, preview_interval_s=1e-9)
    engine.join("a", num_images=3, sampler=Sampler.DPMPP_2M_KARRAS)
    engine.finish()
    previews = [f for f in frames_of(engine, "a") if f.kind == "progress" and f.blobs]
    assert previews
    steps = [f.fields["step"] for f in frames_of(engine, "a") if f.kind == "progress"]
    assert steps == sorted(steps)
    with Image.open(io.BytesIO(previews[-1].blobs[0])) as image:
        assert image.format == "JPEG"
        assert image.size == (128, 128)


def test_previews_keep_their_distance(tiny_sd15: Path) -> None:
    engine = LocalEngine(tiny_sd15, preview_interval_s=1000.0)
    engine.join("a", num_inference_steps=8)
    engine.finish()
    assert len([f for f in frames_of(engine, "a") if f.kind == "progress" and f.blobs]) == 1


def test_stats_answer_with_the_call_id(engine: LocalEngine) -> None:
    engine.join("a")
    engine.loop.tick()
    engine.loop.tick()
    engine.loop.handle(Frame("stats", {"call_id": 5}))
    reply = engine.frames[-1]
    assert (reply.kind, reply.fields["call_id"]) == ("reply", 5)
    value = reply.fields["value"]
    assert value["rows"] == 2
    assert value["rss_bytes"] > 50e6
    assert value["row_steps_per_s"] > value["steps_per_s"] > 0


def test_drain_finishes_what_runs_and_returns(engine: LocalEngine) -> None:
    request = protocol.pack(engine.request(num_images=2))
    for frame in (
        Frame("generate", {"job_id": "a", "request": request, "images": []}),
        Frame("drain", {}),
    ):
        engine.inbox.put(frame)
    engine.loop.run()
    assert engine.last("a").kind == "done"
    assert len(engine.pictures("a")) == 2


def test_heartbeat_is_sent_while_jobs_run(engine: LocalEngine) -> None:
    engine.join("a", num_inference_steps=2)
    engine.finish()
    beats = [frame for frame in engine.frames if frame.kind == "heartbeat"]
    assert len(beats) == 1
    assert beats[0].fields["ticks"] == 1
    assert beats[0].fields["rss_bytes"] > 50e6


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    ],
)
def test_out_of_memory_halves_the_call_and_loses_no_job(tiny_sd15: Path, error: Exception) -> None:
    engine, whole = LocalEngine(tiny_sd15), LocalEngine(tiny_sd15)

    def too_large(sample: Any, timesteps: Any) -> Exception | None:
        return error if len(sample) > 3 else None

    engine.unet.fail = too_large
    jobs = [(e, e.join(f"oom{k}", seed=k, num_images=3)) for k in range(2) for e in (engine, whole)]
    engine.finish()
    whole.finish()
    assert max(engine.unet.rows[2:]) <= 6, "the size that fits is remembered"
    assert [engine.unet.rows.count(rows) for rows in (12, 6)] == [1, 1]
    for (_, ours), (_, theirs) in zip(jobs[::2], jobs[1::2], strict=True):
        for a, b in zip(ours.pictures, theirs.pictures, strict=True):
            assert torch.allclose(a.latents, b.latents, atol=1e-4)
    assert engine.last("oom0").fields["receipt"]["pictures"][0]["calls"] == [[5, 3, 0, 77]]


def test_job_that_never_fits_fails_alone(engine: LocalEngine) -> None:
    def too_large(sample: Any, timesteps: Any) -> Exception | None:
        marked = bool((timesteps == 501).any())  # only the job of 2 steps visits it
        return torch.OutOfMemoryError("no room") if marked else None

    engine.unet.fail = too_large
    engine.join("large", num_inference_steps=2)
    engine.join("small", num_inference_steps=5)
    engine.finish()
    failed = engine.last("large").fields
    assert failed["error"] == "EngineOutOfMemoryError"
    assert "smaller size" in failed["message"]
    assert engine.last("small").kind == "done"


def test_row_that_raises_fails_its_job_alone(engine: LocalEngine) -> None:
    def broken(sample: Any, timesteps: Any) -> Exception | None:
        return ValueError("odd") if bool((timesteps == 501).any()) else None

    engine.unet.fail = broken
    engine.join("odd", num_inference_steps=2)
    engine.join("fine", num_inference_steps=5)
    engine.finish()
    assert engine.last("odd").fields["error"] == "GenerationError"
    assert "odd" not in engine.last("odd").fields["message"], "internals stay in the log"
    assert engine.last("fine").kind == "done"


@pytest.mark.parametrize(
    "text", ["CUDA error: an illegal memory access", "CUBLAS_STATUS_EXECUTION_FAILED"]
)
def test_lost_device_ends_the_loop(engine: LocalEngine, text: str) -> None:
    engine.unet.fail = lambda sample, timesteps: RuntimeError(text)
    engine.join("a")
    with pytest.raises(RuntimeError, match=text):
        engine.loop.tick()


def test_non_finite_latents_fail_their_job_alone(engine: LocalEngine) -> None:
    bad = engine.join("bad", num_images=2)
    engine.join("good")
    engine.loop.tick()
    bad.pictures[1].latents = bad.pictures[1].latents * float("nan")
    engine.finish()
    assert engine.last("bad").fields["error"] == "BrokenPictureError"
    assert engine.last("good").kind == "done"


def test_black_picture_is_no_result(engine: LocalEngine) -> None:
    engine.model.vae.decoder.conv_out.weight.mul_(0)
    engine.join("black")
    engine.finish()
    assert engine.last("black").fields["error"] == "BrokenPictureError"
    assert not engine.pictures("black")


def test_overflowing_half_decoder_is_run_again_in_float32(tiny_sd15: Path) -> None:
    engine = LocalEngine(tiny_sd15, dtype="float16")
    vae = engine.model.vae
    vae.post_quant_conv.weight.mul_(2e4)  # 65,504 is the largest half; group norms undo it later
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).half() * 3
    assert not torch.isfinite(vae.decode(latents / engine.model.scaling_factor)[0]).all()
    exact, half = (pixels.decode(engine.model, latents, is_exact=e) for e in (True, False))
    assert (exact.dtype, half.dtype) == (torch.float32, torch.float16)
    assert torch.isfinite(exact).all()
    with pytest.raises(pixels.OverflowedError):
        pixels.Decoded(latents, half).image()
    assert vae.dtype == torch.float16
    second = SecondPass(1.5, 0.5)
    engine.join("a", second_pass=second, num_inference_steps=2)
    engine.join("b", num_inference_steps=3)
    engine.finish()
    tiles = [engine.last(job).fields["receipt"]["pictures"][0]["vae_tiles"] for job in "ab"]
    assert tiles == [[0, 0, 0], [0]], "what overflowed is no call that a replay has to make"
    assert vae.dtype == torch.float16


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_runs_on_the_cpu(tiny_sd15: Path, sd15: LocalEngine, dtype: str) -> None:
    engine = LocalEngine(tiny_sd15, dtype=dtype)
    for number, sampler in enumerate(Sampler):
        engine.join(f"h{number}", sampler=sampler, num_images=2)
    engine.finish()
    exact = sd15.join(f"exact-{dtype}")
    sd15.finish()
    half = engine.pictures("h0")[0]
    full = sd15.pictures(exact.job_id)[0]
    for number, _ in enumerate(Sampler):
        assert engine.last(f"h{number}").kind == "done"
    # The random decoder multiplies errors; another seed is about 100 grey levels away.
    distance = np.abs(np.asarray(half, dtype=float) - np.asarray(full, dtype=float)).mean()
    assert distance < 12


def test_bad_requests_fail_alone_with_a_sentence(engine: LocalEngine) -> None:
    fields = {"job_id": "x", "images": []}
    good = protocol.pack(engine.request())
    engine.loop.handle(Frame("generate", fields | {"request": good | {"width": 100}}))
    assert "steps of 16" in engine.last("x").fields["message"]
    engine.loop.handle(
        Frame("generate", fields | {"job_id": "y", "request": good | {"sampler": "nope"}})
    )
    assert engine.last("y").kind == "failed"
    missing = good | {"init_image": "0" * 64, "strength": 0.5}
    engine.loop.handle(Frame("generate", fields | {"job_id": "z", "request": missing}))
    assert engine.last("z").fields["error"] == "InvalidRequestError"
    image = good | {"init_image": "ab", "strength": 0.5}
    engine.loop.handle(
        Frame("generate", {"job_id": "w", "images": ["ab"], "request": image}, (b"no picture",))
    )
    assert "cannot be read" in engine.last("w").fields["message"]
    many = protocol.pack(engine.request(sampler=Sampler.LCM, num_inference_steps=60))
    engine.loop.handle(Frame("generate", fields | {"job_id": "v", "request": many}))
    assert "at most 50 steps" in engine.last("v").fields["message"]
    assert engine.loop.is_idle


def test_start_picture_of_another_shape_is_resized(engine: LocalEngine) -> None:
    image = Image.new("RGBA", (300, 70), (200, 30, 30, 255))
    image.paste((0, 0, 255, 255), (0, 0, 150, 70))
    engine.join("i", image, strength=0.5)
    engine.finish()
    (picture,) = engine.pictures("i")
    assert picture.size == (64, 64)


def test_second_pass_with_cancel_in_between_ends_once(engine: LocalEngine) -> None:
    job = engine.join("s", second_pass=SecondPass(), num_images=2, num_inference_steps=3)
    while not any(p.is_second_pass for p in job.pictures):
        engine.loop.tick()
    engine.loop.handle(Frame("cancel", {"job_id": "s"}))
    engine.finish()
    assert engine.last("s").fields["error"] == "GenerationCancelledError"


@pytest.mark.parametrize("sampler", Sampler)
def test_fewest_steps_give_finite_pictures(
    sd15: LocalEngine, sd2: LocalEngine, sampler: Sampler
) -> None:
    image = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    for engine in (sd15, sd2):
        for steps in (1, 2, 3):
            engine.join(f"few-{sampler}-{steps}", sampler=sampler, num_inference_steps=steps)
        one = {"sampler": sampler, "num_inference_steps": 10, "strength": 0.1}
        engine.join(f"few-{sampler}-i2i", image, **one)
        engine.finish()
        for name in (1, 2, 3, "i2i"):
            last = engine.last(f"few-{sampler}-{name}")
            assert last.kind == "done", last.fields
