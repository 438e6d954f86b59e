"""Calls padded to buckets: the same pictures, bits that depend on the bucket alone, tensors that stay."""

from __future__ import annotations

import gc
import hashlib
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.settings import EngineSettings
from engine.types import Control, Sampler
from engine.worker import controls, lora_file, pixels
from engine.worker.buckets import Bucketed, Eager, choose, powers_of_two
from engine.worker.conditions import Condition
from engine.worker.controls import ControlRun
from engine.worker.denoise import Predictor, Rows
from engine.worker.graphs import RECORD_AFTER, Graphed
from engine.worker.lora_rows import Combination, combine
from engine.worker.models import Model
from tests.engine.worker import loras
from tests.engine.worker.local import LocalEngine, Stock
from tests.engine.worker.test_controls import a_map
from tests.engine.worker.test_equality import a_picture, final_latents
from tests.engine.worker.test_inpaint import a_mask

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning",
    "ignore:__array_wrap__ must accept:DeprecationWarning",
)

BUCKETS = (1, 2, 4, 8, 16)
POSE = Control("openpose", "", scale=0.8)


@pytest.fixture(scope="module")
def model(tiny_sd15: Path) -> Model:
    """Returns a model of this module's own: hooks stay in it."""
    return LocalEngine(tiny_sd15).model


@pytest.fixture(scope="module")
def files(model: Model, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Returns LoRAs of different layers and ranks, the second with convolutions."""
    folder = tmp_path_factory.mktemp("loras")
    attention = loras.pairs(model.unet.unet, ("to_q", "to_k", "to_v"), 3, seed=2)
    every = loras.pairs(model.unet.unet, loras.LINEAR + loras.CONV, 5, seed=1)
    return [
        loras.peft(folder / "attention.safetensors", attention),
        loras.peft(folder / "every.safetensors", every),
    ]


def test_buckets_are_powers_of_two_up_to_the_limit() -> None:
    assert powers_of_two(16) == BUCKETS
    assert powers_of_two(12) == (1, 2, 4, 8, 12)
    assert powers_of_two(1) == (1,)
    bucketed = Bucketed((1, 2, 4), Eager())
    assert [bucketed.rows_of(rows) for rows in range(1, 7)] == [1, 2, 4, 4, 5, 6]


def test_setting_chooses_the_buckets() -> None:
    assert choose("auto", 16, on_gpu=True) == BUCKETS
    assert choose("auto", 16, on_gpu=False) == choose("off", 16, on_gpu=True) == ()
    assert choose("8, 2,4,4", 16, on_gpu=False) == (2, 4, 8)
    for wrong in ("0", "1,,2", "on", "2;4"):
        with pytest.raises(ValueError, match="row_buckets"):
            EngineSettings(row_buckets=wrong)


def test_mixed_batch_stays_close_to_stock_and_tells_its_buckets(
    tiny_sd15: Path, model: Model, stock_sd15: Stock
) -> None:
    engine = LocalEngine(tiny_sd15, model=model, buckets=BUCKETS)
    asked: list[dict[str, Any]] = [
        {"sampler": Sampler.EULER_A, "num_images": 2},
        {"controls": [(a_map(), POSE)], "guidance_scale": 1.0, "sampler": Sampler.DPMPP_2M},
        {"image": a_picture(), "strength": 0.7, "prompt": "a long dark corridor, " * 12},
        {"image": a_picture(), "mask": a_mask(), "strength": 0.8, "sampler": Sampler.EULER},
        {"controls": [(a_map(96), POSE)], "width": 96, "height": 96, "sampler": Sampler.UNIPC},
    ]
    jobs = []
    for number, changes in enumerate(asked):
        jobs.append(engine.join(f"b{number}", num_inference_steps=3 + number % 2, **changes))
        engine.loop.tick()
    engine.finish()
    for job, changes in zip(jobs, asked, strict=True):
        maps = [map_ for map_, _ in changes.get("controls", ())]
        if len(job.request.prompt) > 200:
            continue  # stock reads the beginning alone
        expected = stock_sd15.latents(
            job.request, changes.get("image"), maps=maps, mask=changes.get("mask")
        )
        for ours, theirs in zip(final_latents(job).split(1), expected.split(1), strict=True):
            distance = pixels.decode(engine.model, ours) - pixels.decode(engine.model, theirs)
            assert distance.abs().max() <= 5e-4, job.job_id
    assert set(engine.unet.rows) <= set(BUCKETS)
    receipt = engine.last("b1").fields["receipt"]["pictures"][0]
    assert {rows for _, rows, *_ in receipt["calls"]} <= set(BUCKETS)
    assert {run[4]["openpose"][0] for run in receipt["calls"]} <= set(BUCKETS)


def test_loras_in_slots_give_the_pictures_of_segments(
    tiny_sd15: Path, model: Model, files: list[Path]
) -> None:
    results = []
    for buckets in ((), BUCKETS):
        engine = LocalEngine(tiny_sd15, model=model, buckets=buckets)
        jobs = [engine.join("plain", num_inference_steps=3)]
        for number, styles in enumerate([files[:1], files[1:], files]):
            weighted = [(path, 0.9 - 0.4 * k) for k, path in enumerate(styles)]
            jobs.append(
                engine.join(
                    f"l{number}",
                    styles=weighted,
                    guidance_scale=1.0 + number,
                    num_inference_steps=3,
                )
            )
            engine.loop.tick()
        engine.finish()
        results.append([pixels.decode(engine.model, final_latents(job)) for job in jobs])
    for ours, theirs in zip(*results, strict=True):
        assert (ours - theirs).abs().max() <= 5e-4
    assert (results[0][1] - results[0][2]).abs().max() > 0.1, "the LoRAs matter"


def rows_of(model: Model, *kinds: tuple[int, Combination | None, ControlRun | None]) -> Rows:
    """Returns rows: of each the seed of its latents and text, its LoRAs, and its control."""
    generators = [torch.Generator().manual_seed(seed) for seed, _, _ in kinds]
    sample = torch.cat([torch.randn(1, 4, 8, 8, generator=g) for g in generators])
    for place, (seed, _, _) in enumerate(kinds):
        if seed < 0:
            sample[place] = float("nan")
    width = model.text_encoder.config.hidden_size
    return Rows(
        sample=sample,
        timesteps=torch.tensor([float(17 * abs(seed)) for seed, _, _ in kinds]),
        conditions=[Condition(torch.randn(1, 77, width, generator=g)) for g in generators],
        controls=[[] if control is None else [control] for _, _, control in kinds],
        adapters=[adapters for _, adapters, _ in kinds],
    )


def combination(model: Model, paths: Sequence[Path]) -> Combination:
    adapters = []
    for path in paths:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        parts = model.unet.unet, model.text_encoder, model.text_encoder_2
        adapters.append((lora_file.load(path, sha256, *parts), 1.0))
    found = combine(adapters)
    assert found is not None
    return found


def test_bits_depend_on_the_bucket_and_not_on_neighbours_or_place(
    tiny_sd15: Path, model: Model, files: list[Path]
) -> None:
    predictor = Predictor(model.unet, caller=Bucketed(BUCKETS, Eager()))
    one, two, both = (combination(model, own) for own in (files[:1], files[1:], files))
    net = controls.load(model, "openpose", str(tiny_sd15 / "controlnets" / "openpose"))
    pose = ControlRun(POSE, net, torch.rand(1, 3, 64, 64, generator=torch.Generator()))
    other = ControlRun(Control("openpose", "", scale=0.3), net, torch.ones(1, 3, 64, 64))
    plain, lora, posed = (1, None, None), (2, one, None), (3, None, pose)
    predictor.predict(rows_of(model, lora, (9, two, None)))  # all layers that there will be
    asked = [
        [plain, lora, posed],
        [posed, lora, plain, (4, None, None)],
        [(-5, None, None), posed, lora, plain],
        [(6, two, None), lora, posed],
        [lora, (7, both, None), plain],
        [posed, plain, (8, None, None)],
    ]
    seen: dict[int, list[Any]] = {}
    for kinds in asked:
        output, calls = predictor.predict(rows_of(model, *kinds))
        assert [call.rows for call in calls] == [4] * len(kinds)
        for (seed, _, _), row in zip(kinds, output, strict=True):
            seen.setdefault(seed, []).append(row)
    for kind in (plain, lora, posed):
        first, *others = seen[kind[0]]
        assert torch.isfinite(first).all()
        assert len(others) == 4
        for row in others:
            assert torch.equal(row, first), kind
    crowd = [posed, (10, None, other), plain]
    output, calls = predictor.predict(rows_of(model, *crowd))
    assert [call.controls for call in calls] == [{"openpose": (2, 0)}, {"openpose": (2, 1)}, {}]
    assert torch.equal(output[2], seen[1][0])
    assert torch.allclose(output[0], seen[3][0], atol=1e-5)


def test_tensors_of_a_call_stay_where_they_are(model: Model, files: list[Path]) -> None:
    predictor = Predictor(model.unet, caller=Bucketed(BUCKETS, Eager()))
    adapters = combination(model, files[1:])
    addresses: list[list[int]] = []

    def note(module: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        inputs = [*args, options["encoder_hidden_states"]]
        slots = predictor._slots._active.matrices.values()
        addresses.append([part.data_ptr() for part in inputs + [own for m in slots for own in m]])

    handle = model.unet.unet.register_forward_pre_hook(note, with_kwargs=True)
    for seed in (1, 2):
        predictor.predict(rows_of(model, (seed, adapters, None), (9, None, None), (3, None, None)))
        predictor.predict(rows_of(model, (9, None, None), (seed, adapters, None)))
    handle.remove()
    assert addresses[0] == addresses[2]
    assert addresses[1] == addresses[3]
    assert addresses[0] != addresses[1]


def test_slots_do_not_keep_what_was_evicted(model: Model, files: list[Path]) -> None:
    predictor = Predictor(model.unet, caller=Bucketed(BUCKETS, Eager()))
    adapters = combination(model, files[:1])
    predictor.predict(rows_of(model, (1, adapters, None)))
    expected, _ = predictor.predict(rows_of(model, (1, None, None)))
    gone = weakref.ref(adapters)
    del adapters
    gc.collect()
    assert gone() is None
    again, _ = predictor.predict(rows_of(model, (1, None, None)))
    assert torch.equal(again, expected)


def test_out_of_memory_halves_a_padded_call_and_lets_go_of_its_tensors(
    tiny_sd15: Path, model: Model, files: list[Path]
) -> None:
    def too_large(sample: Any, timestep: Any) -> Exception | None:
        return torch.OutOfMemoryError("no room") if len(sample) > 4 else None

    results = []
    for buckets in ((), BUCKETS):
        engine = LocalEngine(tiny_sd15, model=model, buckets=buckets)
        jobs = [
            engine.join(f"o{k}", styles=[(files[k % 2], 1.0)], seed=k, num_inference_steps=2)
            for k in range(3)
        ]
        engine.unet.fail = too_large if buckets else engine.unet.fail
        engine.finish()
        results.append([final_latents(job) for job in jobs])
    assert engine.unet.rows[:4] == [8, 8, 4, 4], "tried again after freeing, then halved"
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)


def test_where_no_graph_can_be_recorded_calls_run_as_they_are(
    model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    """Here torch has no CUDA at all; on a GPU whose recording fails it is the same way."""
    graphed = Predictor(model.unet, caller=Bucketed(BUCKETS, Graphed()))
    eager = Predictor(model.unet, caller=Bucketed(BUCKETS, Eager()))
    for _ in range(RECORD_AFTER + 3):
        for kinds in ([(1, None, None)], [(2, None, None), (3, None, None)]):
            ours, _ = graphed.predict(rows_of(model, *kinds))
            theirs, _ = eager.predict(rows_of(model, *kinds))
            assert torch.equal(ours, theirs)
    (warning,) = caplog.records
    assert "CUDA graphs cannot be used" in warning.getMessage()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_replayed_graphs_give_the_pictures_of_the_cpu(
    tiny_sd15: Path, files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    results = []
    for device in ("cpu", "cuda"):
        engine = LocalEngine(tiny_sd15, device=device, dtype="float32", buckets=BUCKETS)
        jobs = [
            engine.join("plain", num_inference_steps=9),
            engine.join("lora", styles=[(files[1], 1.0)], num_inference_steps=9),
            engine.join("pose", controls=[(a_map(), POSE)], num_inference_steps=9),
        ]
        engine.finish()
        results.append([final_latents(job).cpu() for job in jobs])
    for ours, theirs in zip(*results, strict=True):
        assert (ours - theirs).abs().max() <= 5e-3
    assert not [record for record in caplog.records if "CUDA graphs" in record.getMessage()]
