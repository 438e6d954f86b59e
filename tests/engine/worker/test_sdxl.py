"""SDXL's pictures are the stock SDXL pipelines' pictures, alone to the bit and in a crowd closely."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from engine.types import Control, Sampler, SecondPass
from engine.worker import knee, pixels
from engine.worker.denoise import Predictor, Rows
from engine.worker.infotext import infotext
from engine.worker.text import PromptEncoder
from tests.engine.worker import sdxl
from tests.engine.worker.local import LocalEngine
from tests.engine.worker.sdxl import PROJECTION, WIDTHS, StockXL
from tests.engine.worker.test_controls import EDGES, POSE, a_map
from tests.engine.worker.test_equality import a_picture, final_latents
from tests.engine.worker.test_inpaint import a_mask

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning",
    "ignore:__array_wrap__ must accept:DeprecationWarning",
)

SAMPLERS = list(Sampler)
LONG = "x " * 70 + ", a cat with a red hat"  # two chunks


@pytest.fixture(scope="module")
def engine(tiny_sdxl: Path) -> LocalEngine:
    """Returns a loop with the schedulers themselves, as in the stock pipelines."""
    return LocalEngine(tiny_sdxl, has_tables=False)


@pytest.fixture(scope="module")
def stock(tiny_sdxl: Path) -> StockXL:
    """Returns the stock pipelines."""
    return StockXL(tiny_sdxl)


@pytest.fixture(scope="module")
def zero_snr(tiny_sdxl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a model that predicts v and was trained down to no signal at all."""
    folder = shutil.copytree(tiny_sdxl, tmp_path_factory.mktemp("models") / "tiny-zero-snr")
    schedule = sdxl.scheduler(
        prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"
    )
    schedule.save_pretrained(folder / "scheduler")
    return folder


def assert_same(
    engine: LocalEngine, stock: StockXL, name: str, image: Image.Image | None = None, **changes: Any
) -> None:
    job = engine.join(name, image, **changes)
    engine.finish()
    maps = [map_ for map_, _ in changes.get("controls", ())]
    expected = stock.latents(job.request, image, maps=maps, mask=changes.get("mask"))
    assert torch.equal(final_latents(job), expected), name


def test_model_is_told_by_its_configuration(engine: LocalEngine) -> None:
    assert (engine.info.family, engine.info.default_guidance_scale) == ("sdxl", 6.0)
    assert (engine.info.native_size, engine.info.size_multiple) == (64, 16)
    assert engine.model.latent_channels == 4
    assert engine.info.control_kinds == ("canny", "openpose")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_text_to_image_alone_equals_stock_bitwise(
    engine: LocalEngine, stock: StockXL, sampler: Sampler
) -> None:
    for guidance, negative in ((1.0, ""), (6.5, ""), (6.5, "blurry")):
        assert_same(
            engine, stock, f"t2i-{sampler}-{guidance}-{negative}", sampler=sampler, num_images=2,
            guidance_scale=guidance, negative_prompt=negative, num_inference_steps=4,
        )  # fmt: skip


def test_size_is_part_of_what_guides(engine: LocalEngine, stock: StockXL) -> None:
    assert_same(engine, stock, "wide", width=96, height=64)
    assert_same(engine, stock, "tall", width=64, height=96)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_image_to_image_and_inpainting_alone_equal_stock_bitwise(
    engine: LocalEngine, stock: StockXL, sampler: Sampler
) -> None:
    shared = {"sampler": sampler, "num_images": 2, "num_inference_steps": 5}
    assert_same(engine, stock, f"i2i-{sampler}", a_picture(), strength=0.6, **shared)
    for strength in (0.7, 1.0):
        name = f"in-{sampler}-{strength}"
        assert_same(engine, stock, name, a_picture(), mask=a_mask(), strength=strength, **shared)


def test_controls_alone_equal_stock_bitwise(engine: LocalEngine, stock: StockXL) -> None:
    both = [(a_map(), POSE), (a_picture(), EDGES)]
    shared = {"sampler": Sampler.EULER_A, "num_inference_steps": 7, "negative_prompt": "blurry"}
    assert_same(engine, stock, "c1", controls=both[:1], num_images=2, **shared)
    assert_same(engine, stock, "c2", controls=both, **shared)
    assert_same(engine, stock, "c2n", controls=both[::-1], guidance_scale=1.0)
    assert_same(engine, stock, "c2i", a_picture(), controls=both, strength=0.7, **shared)


@pytest.mark.parametrize("sampler", [Sampler.EULER, Sampler.DDIM, Sampler.DPMPP_2M_KARRAS])
def test_v_prediction_down_to_no_signal_equals_stock(zero_snr: Path, sampler: Sampler) -> None:
    engine, tabled = LocalEngine(zero_snr, has_tables=False), LocalEngine(zero_snr)
    stock = StockXL(zero_snr)
    assert engine.model.scheduler_config["rescale_betas_zero_snr"] is True
    assert_same(engine, stock, "v", sampler=sampler)
    assert_same(engine, stock, "vi", a_picture(), sampler=sampler, strength=0.8)
    job = tabled.join("v", sampler=sampler)
    tabled.finish()
    ours, theirs = (
        pixels.decode(engine.model, x) for x in (final_latents(job), stock.latents(job.request))
    )
    # Euler begins at sigma 4096: the scheduler's own float32 sum is off by 2e-4 of a latent there.
    assert (ours - theirs).abs().max() <= (2e-3 if sampler is Sampler.EULER else 5e-4)


def test_pictures_equal_the_stock_pictures_and_second_pass_two_calls(
    engine: LocalEngine, stock: StockXL
) -> None:
    job = engine.join("png", second_pass=SecondPass(scale=1.5, strength=0.5), num_inference_steps=4)
    engine.finish()
    (picture,) = stock.images(job.request)
    larger = picture.resize((96, 96), Image.Resampling.LANCZOS)
    (expected,) = stock.images(job.request, larger, strength=0.5)
    (ours,) = engine.pictures("png")
    assert np.array_equal(np.asarray(ours), np.asarray(expected))


def test_mixed_batch_stays_close_to_stock(tiny_sdxl: Path, stock: StockXL) -> None:
    engine = LocalEngine(tiny_sdxl)
    random = np.random.default_rng(3)
    pose_late = Control("openpose", "", scale=0.5, start=0.5)
    kinds: list[dict[str, Any]] = [
        {},
        {"image": a_picture(), "strength": 0.6},
        {"image": a_picture(), "strength": 0.8, "mask": a_mask()},
        {"controls": [(a_map(), POSE), (a_picture(), EDGES)]},
        {"image": a_picture(), "strength": 0.7, "controls": [(a_map(), pose_late)]},
    ]
    jobs = []
    for number in range(15):
        kind = kinds[number % len(kinds)]
        job = engine.join(
            f"mixed{number}",
            **kind,
            prompt=str(random.choice(["a red cat", "cat", "a long dark corridor, " * 3])),
            negative_prompt=str(random.choice(["", "blurry"])),
            seed=int(random.integers(2**32)),
            sampler=list(Sampler)[number % len(Sampler)],
            guidance_scale=float(random.choice([1.0, 3.0, 7.5])),
            num_inference_steps=int(random.integers(3, 6)),
            num_images=int(random.integers(1, 3)),
        )
        jobs.append((job, kind))
        if number % 3 == 0:
            engine.loop.tick()
    engine.finish()
    assert max(engine.unet.rows) > 16
    for job, kind in jobs:
        maps = [map_ for map_, _ in kind.get("controls", ())]
        expected = stock.latents(job.request, kind.get("image"), maps=maps, mask=kind.get("mask"))
        for run, latents in zip(job.pictures, expected, strict=True):
            ours, theirs = (pixels.decode(engine.model, x) for x in (run.latents, latents[None]))
            assert (ours - theirs).abs().max() <= 5e-4, job.request


def test_rows_of_any_size_and_length_share_a_call(engine: LocalEngine) -> None:
    prompts, conditioner = PromptEncoder(engine.model.conditioner), engine.model.conditioner
    asked = [("a cat", (64, 64)), (LONG, (96, 64)), ("a cat", (1024, 768)), ("", (64, 64))]
    conditions = [conditioner.condition(prompts.encode(text), size) for text, size in asked]
    sample = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    predictor = Predictor(engine.unet.unet)

    def predict(own: list[Any]) -> Any:
        count = len(own)
        rows = Rows(
            sample.repeat(count, 1, 1, 1), torch.full((count,), 500.0), own,
            [()] * count, [None] * count,
        )  # fmt: skip
        return predictor.predict(rows)[0]

    alone = torch.cat([predict([condition]) for condition in conditions])
    assert (predict(conditions) - alone).abs().max() <= 1e-5
    assert (alone[0] - alone[2]).abs().max() > 1e-3, "the size matters"


def test_prompt_is_read_as_stock_reads_it(engine: LocalEngine, stock: StockXL) -> None:
    prompts = PromptEncoder(engine.model.conditioner)
    for text in ("a red cat", "", "é, " * 20):
        for skip in (0, 1):
            embeds, _, pooled, _ = stock.txt2img.encode_prompt(
                text, do_classifier_free_guidance=False, clip_skip=skip
            )
            encoded = prompts.encode(text, None, skip)
            assert encoded.embeds.shape == (1, 77, sum(WIDTHS))
            assert torch.equal(encoded.embeds, embeds)
            assert torch.equal(encoded.pooled, pooled)


def test_clip_skip_alone_equals_stock_and_has_a_limit(engine: LocalEngine, stock: StockXL) -> None:
    assert_same(engine, stock, "skip", clip_skip=1, guidance_scale=1.0)
    engine.send("skips", clip_skip=2)
    assert "has 3 layers. Use 1 or less." in engine.last("skips").fields["message"]
    text = infotext(engine.request(clip_skip=1), engine.info, 7, (64, 64))
    assert "Clip skip: 3," in text, "as A1111 counts: the last layer is left out anyway"


def test_no_negative_prompt_is_what_the_model_says(tiny_sdxl: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_sdxl, tmp_path / "empty")
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace('prompt": true', 'prompt": false'))
    engine, stock = LocalEngine(folder, has_tables=False), StockXL(folder)
    assert_same(engine, stock, "empty", negative_prompt="")
    zeros = PromptEncoder(LocalEngine(tiny_sdxl).model.conditioner).encode_negative("")
    assert not zeros.embeds.any()
    assert not zeros.pooled.any()
    text = PromptEncoder(engine.model.conditioner).encode_negative("")
    assert text.embeds.any()
    assert text.embeds.shape == zeros.embeds.shape
    assert text.pooled.shape == zeros.pooled.shape == (1, PROJECTION)


def test_weights_and_long_prompts_leave_the_pooled_vector_of_the_first_part(
    engine: LocalEngine,
) -> None:
    prompts = PromptEncoder(engine.model.conditioner)
    plain, weighted = prompts.encode("a red cat"), prompts.encode("a (red:1.5) cat")
    assert torch.equal(weighted.pooled, plain.pooled)
    for part in (slice(0, WIDTHS[0]), slice(WIDTHS[0], None)):
        expected = plain.embeds[..., part].clone()
        expected[:, 2] *= 1.5  # the word and nothing else, in both encoders
        assert torch.allclose(weighted.embeds[..., part], expected, atol=1e-6)
    both = prompts.encode("a red cat BREAK the sea")
    assert both.embeds.shape == (1, 154, sum(WIDTHS))
    assert torch.allclose(both.pooled, plain.pooled, atol=1e-6)
    assert torch.allclose(both.embeds[:, 77:], prompts.encode("the sea").embeds, atol=1e-6)


def test_long_prompts_share_a_call_with_short_ones(tiny_sdxl: Path) -> None:
    engine, single = LocalEngine(tiny_sdxl), LocalEngine(tiny_sdxl)
    asked = [LONG, "a red cat", "a BREAK b BREAK (c:0.7)"]
    runs = []
    for number, text in enumerate(asked):
        changes: dict[str, Any] = {"prompt": text, "seed": number, "num_inference_steps": 3}
        alone = single.join(f"p{number}", **changes)
        single.finish()
        runs.append((engine.join(f"p{number}", **changes), alone))
    engine.finish()
    assert engine.unet.rows == [6, 6, 6]
    for job, alone in runs:
        assert (final_latents(job) - final_latents(alone)).abs().max() <= 5e-5


def test_padded_calls_stay_close_to_stock(tiny_sdxl: Path, stock: StockXL) -> None:
    engine = LocalEngine(tiny_sdxl, buckets=(4, 8))
    kinds: list[dict[str, Any]] = [{}, {"controls": [(a_map(), POSE)]}, {"guidance_scale": 1.0}]
    jobs = [engine.join(f"b{k}", num_inference_steps=3, **kind) for k, kind in enumerate(kinds)]
    engine.finish()
    assert set(engine.unet.rows) == {8}, "five rows and three dead ones"
    for job, kind in zip(jobs, kinds, strict=True):
        maps = [map_ for map_, _ in kind.get("controls", ())]
        expected = stock.latents(job.request, maps=maps)
        ours, theirs = (pixels.decode(engine.model, x) for x in (final_latents(job), expected))
        assert (ours - theirs).abs().max() <= 5e-4


def test_half_precision_keeps_the_vae_in_float32(tiny_sdxl: Path) -> None:
    engine = LocalEngine(tiny_sdxl, dtype="float16")
    assert (engine.model.unet.unet.dtype, engine.model.vae.dtype) == (torch.float16, torch.float32)
    engine.join("half", a_picture(), strength=0.7, num_inference_steps=3)
    engine.finish()
    assert engine.last("half").kind == "done"
    assert engine.model.vae.dtype == torch.float32


def test_speed_can_be_measured(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knee, "_BUDGET_S", 0.0)
    engine.unet.rows.clear()
    assert knee.measure_knee(engine.model)[0] >= 2
    assert engine.unet.rows[0] == 2
