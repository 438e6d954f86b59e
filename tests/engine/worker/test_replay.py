"""Receipts replay to the bit: whoever shared a picture's calls, alone it comes out the same."""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from engine import protocol
from engine.protocol import Frame
from engine.receipts import PNG_KEY, read_recipe
from engine.types import Sampler, SecondPass, Upscaler
from engine.worker.buckets import powers_of_two
from engine.worker.lora_rows import Way
from engine.worker.models import Model
from tests.engine.worker import mixture
from tests.engine.worker.local import LocalEngine
from tests.engine.worker.test_equality import a_picture

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning",
    "ignore:__array_wrap__ must accept:DeprecationWarning",
)

JOBS = int(os.environ.get("EASEL_TEST_REPLAYS", "21"))  # `make replays` takes 100


@pytest.fixture(scope="module")
def model(tiny_sd15: Path) -> Model:
    """Returns a model of this module's own: hooks stay in it."""
    return LocalEngine(tiny_sd15).model


@pytest.fixture(scope="module")
def styles(
    tiny_sd15: Path, model: Model, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    engine = LocalEngine(tiny_sd15, model=model)
    return mixture.write_styles(engine, tmp_path_factory.mktemp("styles"))


def replayed(engine: LocalEngine, busy: LocalEngine, job_id: str) -> list[bool]:
    """Makes each picture of a job again and says which have the same pixels."""
    same = []
    for index, picture in enumerate(busy.pictures(job_id)):
        name = f"{job_id} again {index}"
        engine.replay(name, busy.sent[job_id], picture)
        engine.finish()
        assert engine.last(name).kind == "done", engine.last(name).fields
        (again,) = engine.pictures(name)
        same.append(np.array_equal(np.asarray(picture), np.asarray(again)))
        assert again.info[PNG_KEY] == picture.info[PNG_KEY], "its receipt is the same, too"
    assert same
    return same


def run_busily(engine: LocalEngine, drawn: list[mixture.Drawn], seed: int) -> None:
    """Lets jobs join at random times, and others that are cancelled before they are done."""
    random = Random(seed)
    for number, job in enumerate(drawn):
        job.send(engine)
        while engine.loop.waiting_ids():
            engine.loop.handle(engine.inbox.get())
        if random.random() < 0.3:
            engine.send(f"passer-by {number}", seed=number, num_images=random.randint(1, 3))
        for _ in range(random.choice([0, 0, 1, 2])):
            engine.loop.tick()
        for other in engine.loop.jobs():
            if other.job_id.startswith("passer-by") and random.random() < 0.3:
                engine.loop.handle(Frame("cancel", {"job_id": other.job_id}))
    engine.finish()


def test_mixed_jobs_replay_to_the_bit(
    tiny_sd15: Path, model: Model, styles: dict[str, Path]
) -> None:
    """100 of 100 with EASEL_TEST_REPLAYS=100."""
    busy = LocalEngine(tiny_sd15, model=model, row_limit=24)
    drawn = mixture.draw(JOBS, 20, styles)
    run_busily(busy, drawn, 21)
    assert max(busy.unet.rows) > 8, "they shared calls"
    alone = LocalEngine(tiny_sd15, model=model)
    wrong = [job.name for job in drawn if not all(replayed(alone, busy, job.name))]
    print(f"{JOBS - len(wrong)} of {JOBS} jobs replayed to the bit")  # noqa: T201, for the report
    assert not wrong


def test_without_its_receipt_a_picture_has_other_bits(tiny_sd15: Path, model: Model) -> None:
    """So the tests above can fail."""
    busy, alone = (LocalEngine(tiny_sd15, model=model) for _ in range(2))
    job = busy.join("a", guidance_scale=1.0)
    busy.join("b", num_images=3)
    busy.finish()
    again = alone.join("a", guidance_scale=1.0)
    alone.finish()
    difference = (job.pictures[0].latents - again.pictures[0].latents).abs().max()
    assert 0 < difference < 1e-4


@pytest.mark.parametrize("way", ["seg", "bmm", "auto", "slots"])
def test_loras_of_others_change_nothing(
    tiny_sd15: Path, model: Model, styles: dict[str, Path], way: str
) -> None:
    """The sizes of groups, and the rank that others' LoRAs are padded to, are in the receipt."""

    def an_engine() -> LocalEngine:
        buckets = powers_of_two(16) if way == "slots" else ()
        engine = LocalEngine(tiny_sd15, model=model, buckets=buckets)
        if way != "slots":
            engine.loop._predictor._way = cast("Way", way)
        return engine

    busy, alone = an_engine(), an_engine()
    narrow, wide = [(styles["layers"], 0.8)], [(styles["attention"], 0.7)]
    common: dict[str, Any] = {"num_inference_steps": 3, "num_images": 2}
    busy.join("narrow", styles=narrow, **common)
    busy.join("same", styles=narrow, seed=8, guidance_scale=1.0, num_inference_steps=2)
    busy.loop.tick()
    busy.join("wide", styles=wide, **common)
    busy.join("plain", **common)
    busy.join("both", styles=narrow + wide, **common)
    busy.finish()
    for name in ("narrow", "wide", "plain", "both"):
        assert all(replayed(alone, busy, name)), name
    runs = busy.last("narrow").fields["receipt"]["pictures"][0]["calls"]
    assert all(run[5] for run in runs)


def test_buckets_replay_where_there_are_none(
    tiny_sd15: Path, model: Model, styles: dict[str, Path]
) -> None:
    busy = LocalEngine(tiny_sd15, model=model, buckets=powers_of_two(16))
    drawn = [job for job in mixture.draw(14, 3, styles) if not job.styles]
    run_busily(busy, drawn, 5)
    alone = LocalEngine(tiny_sd15, model=model)
    assert [job.name for job in drawn if not all(replayed(alone, busy, job.name))] == []


def test_texts_of_other_lengths_and_split_calls_replay(
    tiny_pooling: Path, tiny_sd15: Path, model: Model
) -> None:
    """Lengths that share a call, lengths that cannot, and calls that were halved for memory."""
    for engines in (
        [LocalEngine(tiny_pooling) for _ in range(2)],
        [LocalEngine(tiny_sd15, model=model) for _ in range(2)],
    ):
        busy, alone = engines
        busy.unet.fail = lambda sample, timesteps: (
            torch.OutOfMemoryError("no room") if len(sample) > 5 else None
        )
        texts = ("a cat", "a long dark corridor, " * 12, "a BREAK b BREAK c")
        for number, text in enumerate(texts):
            busy.join(str(number), prompt=text, num_images=2, num_inference_steps=3)
        busy.finish()
        busy.unet.fail = alone.unet.fail
        for number, _ in enumerate(texts):
            assert all(replayed(alone, busy, str(number)))


@pytest.mark.parametrize("sampler", [Sampler.EULER_A, Sampler.HEUN])
def test_second_pass_with_tiles_replays(tiny_sd15: Path, model: Model, sampler: Sampler) -> None:
    busy, alone = (LocalEngine(tiny_sd15, model=model) for _ in range(2))
    second = {"second_pass": SecondPass(1.5, 0.5), "sampler": sampler, "num_inference_steps": 4}
    busy.join("a", **second)
    busy.join("b", num_images=3)
    busy.loop._vae._too_large.note(("decode", (12, 12)), 1)
    busy.finish()
    assert busy.last("a").fields["receipt"]["pictures"][0]["vae_tiles"] == [0, 0, 8]
    assert all(replayed(alone, busy, "a"))


def test_upscaled_picture_replays(tiny_sd15: Path, model: Model) -> None:
    busy, alone = (LocalEngine(tiny_sd15, model=model) for _ in range(2))
    busy.send("a", a_picture(), width=128, height=128, upscaler=Upscaler.LANCZOS, strength=0.0)
    busy.finish()
    assert all(replayed(alone, busy, "a"))


def test_replay_leaves_the_others_their_calls(tiny_sd15: Path, model: Model) -> None:
    first, busy = (LocalEngine(tiny_sd15, model=model) for _ in range(2))
    first.join("a", num_inference_steps=3)
    first.finish()
    (picture,) = first.pictures("a")
    busy.join("new", num_images=2, num_inference_steps=3)
    busy.replay("again", first.sent["a"], picture)
    busy.finish()
    assert busy.last("new").fields["receipt"]["pictures"][0]["calls"] == [[3, 4, 2, 77]]
    assert np.array_equal(np.asarray(busy.pictures("again")[0]), np.asarray(picture))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda request, picture: request.update(num_inference_steps=9), "fewer steps"),
        (lambda request, picture: request.update(seed=8), "seeds are not"),
        (lambda request, picture: picture.pop("unconditional"), "fewer steps"),
        (lambda request, picture: picture.update(calls=[[5, 2, 1, 76]]), "do not fit"),
        (lambda request, picture: picture["calls"][0].append({"canny": [1, 0]}), "do not fit"),
        (lambda request, picture: picture["calls"][0].extend([{}, [1, 0]]), "do not fit"),
        (lambda request, picture: picture["calls"][0].__setitem__(2, 9), "damaged"),
        (lambda request, picture: picture.pop("vae_tiles"), "fewer VAE calls"),
    ],
)
def test_receipt_of_another_picture_is_refused(
    tiny_sd15: Path, model: Model, change: Any, reason: str
) -> None:
    engine = LocalEngine(tiny_sd15, model=model)
    engine.join("a")
    engine.finish()
    recipe = json.loads(engine.pictures("a")[0].info[PNG_KEY])
    request = protocol.pack(engine.request())
    receipt = recipe["receipt"]
    change(request, receipt["pictures"][0])
    fields = {"job_id": "b", "request": request, "images": [], "receipt": receipt}
    engine.loop.handle(Frame("generate", fields))
    engine.finish()
    failed = engine.last("b")
    assert failed.kind == "failed"
    assert failed.fields["error"] == "InvalidRequestError"
    assert reason in failed.fields["message"]


def test_picture_tells_its_controlnets_by_their_files(
    tiny_sd15: Path, model: Model, styles: dict[str, Path]
) -> None:
    engine = LocalEngine(tiny_sd15, model=model)
    drawn = next(job for job in mixture.draw(7, 1, styles) if job.kind == "both")
    drawn.send(engine)
    engine.finish()
    picture = engine.pictures(drawn.name)[0]
    assert isinstance(picture, Image.Image)
    _, receipt = read_recipe(picture.info[PNG_KEY])
    assert set(receipt.controlnets) == {"openpose", "canny"}
    assert len(set(receipt.controlnets.values())) == 2
    assert all(len(short) == 10 for short in receipt.controlnets.values())
