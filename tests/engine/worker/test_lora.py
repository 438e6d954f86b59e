"""LoRA rows: equal to the stock pipeline's adapters, each row its own, loaded beside the loop."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from engine.errors import InvalidRequestError, UnknownAdapterError
from engine.protocol import Frame
from engine.types import AdapterWeight, Sampler
from engine.worker import lora_file, pixels
from engine.worker.denoise import Predictor
from engine.worker.lora_rows import applied, combine, plan
from engine.worker.pool import Pool
from tests.engine.worker import loras
from tests.engine.worker.local import LocalEngine, Stock
from tests.engine.worker.test_equality import final_latents

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning",
    "ignore:__array_wrap__ must accept:DeprecationWarning",
    "ignore:Already found a `peft_config`:UserWarning",
)


@pytest.fixture(scope="module")
def files(sd15: LocalEngine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Returns LoRA files by name, each of another layout, rank and part of the model."""
    folder = tmp_path_factory.mktemp("loras")
    unet, text = sd15.unet.unet, sd15.model.text_encoder
    every = loras.pairs(unet, loras.LINEAR + loras.CONV, 4, seed=1)
    attention = loras.pairs(unet, ("to_q", "to_k", "to_v", "to_out.0"), 3, seed=2)
    words = loras.pairs(text, loras.TEXT, 2, seed=3)
    return {
        "kohya": loras.kohya(folder / "kohya.safetensors", every, words),
        "peft": loras.peft(folder / "peft.safetensors", every, words),
        "old": loras.old_diffusers(folder / "old.safetensors", attention),
        "unet": loras.kohya(folder / "unet.safetensors", every, {}, alpha=1.0),
        "text": loras.kohya(folder / "text.safetensors", {}, words, alpha=4.0),
    }


@pytest.fixture(scope="module")
def stock(tiny_sd15: Path) -> Stock:
    """Returns stock pipelines of this module's own: adapters stay in them."""
    return Stock(tiny_sd15)


def with_adapters(pipe: StableDiffusionPipeline, styles: list[tuple[Path, float]]) -> None:
    pipe.unload_lora_weights()
    for number, (path, _) in enumerate(styles):
        pipe.load_lora_weights(load_file(path), adapter_name=f"a{number}")
    if styles:
        pipe.set_adapters([f"a{n}" for n in range(len(styles))], [weight for _, weight in styles])


def load(path: Path, engine: LocalEngine) -> lora_file.Adapter:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return lora_file.load(path, sha256, engine.unet.unet, engine.model.text_encoder)


@pytest.mark.parametrize(
    "names",
    [("kohya",), ("peft",), ("old",), ("text",), ("kohya", "old"), ("unet", "peft", "text")],
)
def test_alone_equals_stock_adapters_to_rounding(
    sd15: LocalEngine, stock: Stock, files: dict[str, Path], names: tuple[str, ...]
) -> None:
    styles = [(files[name], 0.9 - 0.5 * k) for k, name in enumerate(names)]
    name = f"lora-{'-'.join(names)}"
    job = sd15.join(name, styles=styles, num_images=2, num_inference_steps=3)
    sd15.finish()
    with_adapters(stock.txt2img, styles)
    expected = stock.latents(job.request)
    with_adapters(stock.txt2img, [])
    plain = stock.latents(job.request)
    assert (final_latents(job) - expected).abs().max() <= 2e-5
    assert (expected - plain).abs().max() > 1e-2, "the LoRA matters"


def test_eight_jobs_of_different_loras_stay_close_to_each_alone(
    tiny_sd15: Path, files: dict[str, Path]
) -> None:
    engine, single = LocalEngine(tiny_sd15), LocalEngine(tiny_sd15)
    asked = [
        [], ["kohya"], ["peft", "old"], ["text"], ["kohya"], ["unet", "text"], ["old"], ["unet"],
    ]  # fmt: skip
    runs = []
    for number, names in enumerate(asked):
        changes: dict[str, Any] = {
            "styles": [(files[name], 0.4 + number / 10) for name in names],
            "seed": number,
            "sampler": [Sampler.EULER_A, Sampler.DPMPP_2M, Sampler.DDIM][number % 3],
            "guidance_scale": [6.0, 1.0][number % 2],
            "num_inference_steps": 3 + number % 3,
        }
        alone = single.join(f"l{number}", **changes)
        single.finish()
        runs.append((engine.join(f"l{number}", **changes), alone))
    engine.finish()
    assert max(engine.unet.rows) == 12
    for job, alone in runs:
        ours, theirs = (pixels.decode(engine.model, final_latents(run)) for run in (job, alone))
        assert (ours - theirs).abs().max() <= 5e-4, job.job_id


@pytest.mark.parametrize("way", ["seg", "bmm"])
def test_rows_without_lora_keep_their_bits(
    sd15: LocalEngine, files: dict[str, Path], way: Any
) -> None:
    unet = sd15.unet.unet
    one, two = (combine([(load(files[name], sd15), 1.0)]) for name in ("kohya", "old"))
    assert one is not None
    assert two is not None
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(4, 4, 8, 8, generator=generator)
    text = torch.randn(4, 77, 16, generator=generator)
    call = {"encoder_hidden_states": text, "return_dict": False}
    plain = unet(sample, torch.full((4,), 500.0), **call)[0]
    with applied(plan(unet, [None, one.unet, None, two.unet], way)):
        mixed = unet(sample, torch.full((4,), 500.0), **call)[0]
    with applied(plan(unet, [one.unet, one.unet, two.unet, two.unet])):
        other = unet(sample, torch.full((4,), 500.0), **call)[0]
    assert torch.equal(mixed[[0, 2]], plain[[0, 2]])
    assert torch.allclose(mixed[[1, 3]], other[[1, 3]], atol=2e-5)
    assert not torch.allclose(mixed[1], plain[1], atol=1e-2)
    again = unet(sample, torch.full((4,), 500.0), **call)[0]
    assert torch.equal(again, plain), "nothing stays in the shared model"


def test_bmm_gives_the_pictures_of_seg(tiny_sd15: Path, files: dict[str, Path]) -> None:
    results = []
    for way in ("seg", "bmm"):
        engine = LocalEngine(tiny_sd15)
        engine.loop._predictor = Predictor(engine.unet, way)  # type: ignore[arg-type]
        jobs = [
            engine.join(f"w{k}", styles=[(files[name], 1.0)], num_inference_steps=3)
            for k, name in enumerate(("kohya", "old"))
        ]
        engine.finish()
        results.append(torch.cat([final_latents(job) for job in jobs]))
    assert torch.allclose(results[0], results[1], atol=2e-5)


def test_prompts_are_cached_by_what_changes_the_text_encoder(
    sd15: LocalEngine, files: dict[str, Path]
) -> None:
    prompts = sd15.loop._prompts
    plain = prompts.encode("a red cat")
    unet_only = combine([(load(files["unet"], sd15), 1.0)])
    text = load(files["text"], sd15)
    half, full = combine([(text, 0.5)]), combine([(text, 1.0)])
    assert prompts.encode("a red cat", unet_only) is plain
    changed = prompts.encode("a red cat", half)
    assert not torch.allclose(changed.embeds, plain.embeds, atol=1e-2)
    assert prompts.encode("a red cat", combine([(text, 0.5)])) is changed
    assert prompts.encode("a red cat", full) is not changed
    assert combine([(text, 0.0)]) is None


def test_out_of_memory_splits_the_loras_too(tiny_sd15: Path, files: dict[str, Path]) -> None:
    engine, whole = LocalEngine(tiny_sd15), LocalEngine(tiny_sd15)
    engine.unet.fail = lambda sample, _: (
        torch.OutOfMemoryError("no room") if len(sample) > 3 else None
    )
    jobs = [
        [e.join(f"o{k}", styles=styles, seed=k, num_inference_steps=3) for e in (engine, whole)]
        for k, styles in enumerate([[], [(files["kohya"], 1.0)], [(files["old"], 0.7)]])
    ]
    engine.finish()
    whole.finish()
    for ours, theirs in jobs:
        assert torch.allclose(final_latents(ours), final_latents(theirs), atol=1e-4)


def test_loading_never_stops_the_others(
    tiny_sd15: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = LocalEngine(tiny_sd15)
    may_load = threading.Event()
    read = lora_file._read
    monkeypatch.setattr(lora_file, "_read", lambda path: may_load.wait(60) and read(path))
    engine.send("waits", styles=[(files["kohya"], 1.0)])
    engine.send("gone", styles=[(files["kohya"], 1.0)])
    engine.join("runs", num_inference_steps=4)
    while engine.loop.has_work:
        engine.loop.tick()
    engine.loop.encoder.drain()
    assert engine.last("runs").kind == "done", "while the file was still being read"
    assert engine.loop.waiting_ids() == ["waits", "gone"]
    engine.loop.handle(Frame("cancel", {"job_id": "gone"}))
    may_load.set()
    engine.finish()
    assert engine.last("waits").kind == "done"
    assert engine.last("gone").fields["error"] == "GenerationCancelledError"


def test_what_is_loaded_after_its_job_was_cancelled_does_not_stay(
    tiny_sd15: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = LocalEngine(tiny_sd15, adapter_memory_mb=0)
    may_load = threading.Event()
    read = lora_file._read
    monkeypatch.setattr(lora_file, "_read", lambda path: may_load.wait(60) and read(path))
    engine.send("gone", styles=[(files["kohya"], 1.0)])
    engine.loop.handle(Frame("cancel", {"job_id": "gone"}))
    assert engine.loop.is_idle
    may_load.set()
    engine.loop.handle(engine.inbox.get(timeout=60))  # what the loading thread says when it is done
    assert engine.loop._arrivals.loaded_adapters() == ()


def test_load_and_unload_answer_with_facts(tiny_sd15: Path, files: dict[str, Path]) -> None:
    engine = LocalEngine(tiny_sd15)
    sha256 = hashlib.sha256(files["kohya"].read_bytes()).hexdigest()

    def ask(kind: str, **fields: Any) -> Any:
        engine.loop.handle(Frame(kind, {"call_id": 5, "sha256": sha256, **fields}))
        while not engine.frames:
            engine.loop.handle(engine.inbox.get())
        reply = engine.frames.pop()
        assert (reply.kind, reply.fields["call_id"]) == ("reply", 5)
        return reply.fields["value"]

    for _ in range(2):  # the second time it is there
        facts = ask("adapter_load", path=str(files["kohya"]))
        assert (facts["unet"] > 20, facts["text"]) == (True, 12)
    assert engine.loop._arrivals.loaded_adapters() == (sha256,)
    assert ask("adapter_unload") is True
    assert ask("adapter_unload") is False
    wrong = ask("adapter_load", path=str(files["old"]))
    assert wrong["error"] == "UnknownAdapterError"
    assert ask("adapter_load", path="/nowhere")["error"] == "UnknownAdapterError"


def test_job_whose_file_is_gone_fails_alone(tiny_sd15: Path) -> None:
    engine = LocalEngine(tiny_sd15)
    missing = (AdapterWeight("0" * 64, 1.0),)
    engine.loop.handle(
        Frame(
            "generate",
            {
                "job_id": "a",
                "images": [],
                "adapters": [["0" * 64, "/nowhere"]],
                "request": {
                    **_packed(engine.request()),
                    "adapters": [{"sha256": missing[0].sha256, "weight": 1.0}],
                },
            },
        )
    )
    engine.finish()
    assert engine.last("a").fields["error"] == "UnknownAdapterError"
    assert "not there any more" in engine.last("a").fields["message"]


def _packed(request: Any) -> dict[str, Any]:
    from engine import protocol

    return dict(protocol.pack(request))


def test_pool_evicts_the_least_recently_used_and_keeps_what_is_in_use() -> None:
    with ThreadPoolExecutor(1) as executor:
        pool: Pool[bytes] = Pool(10, executor, len)
        leases = {key: pool.take(key, lambda: b"xxxx") for key in "abc"}
        for lease in leases.values():
            lease.loading.result()
        pool.trim()
        assert pool.keys() == ("a", "b", "c"), "all are in use"
        pool.give_back(leases["b"])
        assert pool.keys() == ("a", "c")
        for key in "ac":
            pool.give_back(leases[key])
        pool.give_back(pool.take("a", lambda: b"never called"))
        pool.take("d", lambda: b"xxxx").loading.result()
        pool.trim()
        assert pool.keys() == ("a", "d"), "c was used least recently"
        failed = pool.take("e", lambda: bytes(1 // 0))
        assert isinstance(failed.loading.exception(), ZeroDivisionError)
        pool.give_back(failed)
        assert pool.take("e", lambda: b"x").loading.result() == b"x", "tried again"


def broken(files: dict[str, Path], folder: Path, change: Any) -> Path:
    tensors = load_file(files["kohya"])
    change(tensors)
    save_file(tensors, folder / "broken.safetensors")
    return folder / "broken.safetensors"


UP = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q.lora_up.weight"
ALPHA = UP.replace("lora_up.weight", "alpha")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.pop(ALPHA), "has no alpha"),
        (lambda t: t.update({ALPHA: torch.tensor(1e30)}), "has the alpha 1e"),
        (lambda t: t.update({ALPHA: torch.tensor(float("nan"))}), "not finite"),
        (lambda t: t.update({UP: t[UP] * float("inf")}), "not finite"),
        (lambda t: t.update({UP: torch.zeros(5, 4)}), "for another model"),
        (lambda t: t.pop(UP), "not named as a LoRA's|only one of its two"),
        (lambda t: t.update({"lora_unet_x(a+)+$.alpha": torch.ones(())}), "odd name"),
        (lambda t: t.update({UP.replace("lora_up.weight", "dora_scale"): torch.ones(3)}), "DoRA"),
        (
            lambda t: (t.clear(), t.update({"transformer.x.lora_A.weight": torch.ones(2, 2)})),
            "more",
        ),
        (lambda t: t.clear() or t.update({"model.weight": torch.ones(2, 2)}), "more than"),
    ],
)
def test_wrong_files_are_refused_in_one_sentence(
    sd15: LocalEngine, files: dict[str, Path], tmp_path: Path, change: Any, reason: str
) -> None:
    with pytest.raises(InvalidRequestError, match=f"This LoRA cannot be used: .*({reason})"):
        load(broken(files, tmp_path, change), sd15)


def test_file_of_another_model_and_no_file_at_all_are_refused(
    sd2: LocalEngine, files: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequestError, match="for another model"):
        load(files["kohya"], sd2)
    (tmp_path / "x.safetensors").write_bytes(b"no tensors at all")
    with pytest.raises(InvalidRequestError, match=r"no sound \.safetensors"):
        load(tmp_path / "x.safetensors", sd2)
    with pytest.raises(UnknownAdapterError):
        lora_file.load(files["kohya"], "0" * 64, sd2.unet.unet, sd2.model.text_encoder)


def test_linear_file_fits_a_convolution_of_one_pixel(
    sd15: LocalEngine, files: dict[str, Path], tmp_path: Path
) -> None:
    def flatten(tensors: dict[str, Any]) -> None:
        for name, tensor in tensors.items():
            if "proj_in" in name and tensor.ndim == 4:
                tensors[name] = tensor[:, :, 0, 0].contiguous()

    changed = load(broken(files, tmp_path, flatten), sd15)
    original = load(files["kohya"], sd15)
    for name, pair in original.unet.items():
        assert torch.equal(pair.down, changed.unet[name].down)


@pytest.mark.parametrize("weight", [2.5, float("nan")])
def test_weights_out_of_range_are_refused(weight: float) -> None:
    with pytest.raises(InvalidRequestError):
        AdapterWeight("0" * 64, weight)
