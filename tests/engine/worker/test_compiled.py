"""Compiled blocks: the same pictures, with LoRAs too, and blocks as they are where that cannot be."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from engine.settings import EngineSettings
from engine.worker import compiled, warm_up
from engine.worker.buckets import Bucketed, Eager
from engine.worker.compiled import compile_blocks
from engine.worker.conditions import Condition
from engine.worker.denoise import Predictor, Rows
from engine.worker.lora_rows import Combination, Folded
from tests.engine.worker import loras
from tests.engine.worker.local import LocalEngine
from tests.engine.worker.process import a_request, running
from tests.engine.worker.test_equality import final_latents

# The compiler is torch's own business, and so is what it warns of.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

KINDS = ("transformer", "resnet")
ROWS = 4


class Counted:
    """A backend of torch.compile that runs what was traced as it is, and counts."""

    def __init__(self, change: Callable[[Any], Any] = lambda outputs: outputs) -> None:
        self.graphs = 0
        self.calls = 0
        self._change = change

    def __call__(self, module: Any, examples: Any) -> Callable[..., Any]:
        self.graphs += 1

        def run(*args: Any) -> Any:
            self.calls += 1
            return self._change(module(*args))

        return run


@pytest.fixture(autouse=True)
def compiler() -> Iterator[None]:
    """Leaves torch's compiler as it was."""
    import torch._dynamo

    names = ("recompile_limit", "accumulated_recompile_limit", "skip_nnmodule_hook_guards")
    before = {name: getattr(torch._dynamo.config, name) for name in names}
    yield
    torch.compiler.set_stance("default")
    torch._dynamo.reset()
    for name, value in before.items():
        setattr(torch._dynamo.config, name, value)


def compile_all(engine: LocalEngine, backend: Any) -> tuple[str, ...]:
    shares: list[float] = []
    unet = engine.unet.unet
    calls = warm_up.calls(engine.model, (ROWS,))
    found = compile_blocks(unet, KINDS, calls, shares.append, backend=backend)
    assert shares == sorted(shares)
    return found


def test_setting_chooses_the_blocks() -> None:
    assert compiled.choose("off") == ()
    assert compiled.choose("resnet, transformer") == KINDS
    assert compiled.choose("resnet") == ("resnet",)
    for wrong in ("on", "resnet,", "transformers"):
        with pytest.raises(ValueError, match="compiled_blocks"):
            EngineSettings(compiled_blocks=wrong)


def test_jobs_with_and_without_loras_are_the_same_pictures(tiny_sd15: Path, tmp_path: Path) -> None:
    """The compiled code is what runs, and no LoRA is left out of it, whichever layers it changes."""
    backend = Counted()
    results = []
    for is_compiled in (False, True):
        engine = LocalEngine(tiny_sd15, buckets=(ROWS,))
        unet = engine.unet.unet
        attention = loras.pairs(unet, ("to_q", "to_k", "to_v"), 3, seed=2)
        every = loras.pairs(unet, loras.LINEAR + loras.CONV, 5, seed=1)
        files = [
            loras.peft(tmp_path / "attention.safetensors", attention),
            loras.peft(tmp_path / "every.safetensors", every),
        ]
        if is_compiled:
            assert compile_all(engine, backend) == KINDS
            traced = backend.graphs
            # A predictor finds what is compiled when it is made.
            engine = LocalEngine(tiny_sd15, model=engine.model, buckets=(ROWS,))
        jobs, calls = [], []
        for number, styles in enumerate([[], files[:1], [], files[1:], []]):
            before = backend.calls
            jobs.append(
                engine.join(
                    f"c{number}",
                    styles=[(path, 0.8) for path in styles],
                    prompt="a red cat, " * (1 + 20 * (number % 2)),
                    num_inference_steps=2,
                )
            )
            engine.finish()
            calls.append(backend.calls - before)
        results.append([final_latents(job) for job in jobs])
    assert backend.graphs == traced, "nothing is compiled while people wait"
    count = [sum(isinstance(m, compiled.KINDS[kind]) for m in unet.modules()) for kind in KINDS]
    assert [calls[job] for job in (0, 1, 2, 4)] == [2 * sum(count)] * 4, (
        "two steps, each block in each"
    )
    assert calls[3] == 2 * count[0], "resnets with LoRAs of convolutions run as they are"
    for ours, theirs in zip(*results, strict=True):
        assert (ours - theirs).abs().max() <= 1e-5
    assert (results[0][0] - results[0][2]).abs().max() == 0
    for styled in (1, 3):
        assert (results[0][0] - results[0][styled]).abs().max() > 0.01, "the LoRAs matter"


def test_other_shapes_run_as_they_are(tiny_sd15: Path) -> None:
    backend = Counted()
    plain = LocalEngine(tiny_sd15, buckets=(ROWS,))
    expected = plain.join("a", width=96, height=96, num_inference_steps=2)
    plain.finish()
    calls = warm_up.calls(plain.model, (ROWS,))[:1]
    compile_blocks(plain.unet.unet, ["resnet"], calls, lambda share: None, backend=backend)
    traced = backend.graphs
    assert traced > 0
    engine = LocalEngine(tiny_sd15, model=plain.model, buckets=(ROWS,))
    job = engine.join("a", width=96, height=96, num_inference_steps=2)
    engine.finish()
    assert torch.equal(final_latents(job), final_latents(expected))
    assert backend.graphs == traced


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ("no such backend", "no such backend"),
        (Counted(lambda outputs: [output + 10 for output in outputs]), "differs by"),
    ],
)
def test_blocks_that_cannot_be_compiled_run_as_they_are(
    tiny_sd15: Path, backend: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = LocalEngine(tiny_sd15, buckets=(ROWS,))
    before = warm_up.call(engine.model, ROWS, 1, has_loras=True)
    assert compile_all(engine, backend) == ()
    warnings = [r.getMessage() for r in caplog.records if r.name == compiled.__name__]
    for kind, warning in zip(KINDS, warnings, strict=True):
        assert f"{kind} blocks cannot be compiled" in warning
        assert reason in warning
    assert torch.equal(warm_up.call(engine.model, ROWS, 1, has_loras=True), before)


def test_device_that_is_lost_over_it_ends_the_start(tiny_sd15: Path) -> None:
    def lost(outputs: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    engine = LocalEngine(tiny_sd15, buckets=(ROWS,))
    with pytest.raises(RuntimeError, match="CUDA error"):
        compile_all(engine, Counted(lost))


def test_without_buckets_nothing_is_compiled(
    tiny_sd15: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = LocalEngine(tiny_sd15)
    calls = warm_up.calls(engine.model, ())
    assert compile_blocks(engine.unet.unet, KINDS, calls, lambda share: None) == ()
    (warning,) = caplog.records
    assert "EASEL_ROW_BUCKETS" in warning.getMessage()


@pytest.mark.compiler
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs g++")
async def test_engine_compiles_before_it_is_ready_and_says_so(
    tiny_sd15: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Torch's compiler leaves its folder in the environment of the process that imported it.
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    asked = {
        "EASEL_COMPILED_BLOCKS": "resnet",
        "EASEL_ROW_BUCKETS": "2",
        "EASEL_MAX_ROWS": "2",
        "EASEL_CACHE_DIR": str(tmp_path),
    }
    async with running(tiny_sd15, **asked) as engine:
        engine.limit_s = 900
        info = await engine.ready()
        assert engine.stages.count("compiling the model") == 4, (
            "short and long texts, LoRAs or none"
        )
        assert info.versions["compiled"] == "resnet"
        assert any((tmp_path / "compiled").iterdir()), "the next start finds it there"
        await engine.generate("a", a_request(info))
        assert (await engine.until_done("a"))[-1].kind == "done"


@pytest.mark.compiler
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs g++")
def test_really_compiled_blocks_give_the_numbers_of_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8,),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=4,
    ).eval()
    random = torch.Generator().manual_seed(1)
    linear = [name for name, layer in unet.named_modules() if isinstance(layer, torch.nn.Linear)]
    names = [name for name in linear if ".transformer_blocks." in name]
    shapes = {name: unet.get_submodule(name).weight.shape for name in names}
    folded = {
        name: Folded(
            torch.randn(4, columns, generator=random), torch.randn(out, 4, generator=random) * 0.1
        )
        for name, (out, columns) in shapes.items()
    }
    lora = Combination((("a", 1.0),), folded, {}, {}, ())
    sample = torch.randn(2, 4, 8, 8, generator=random)
    text = [Condition(torch.randn(1, 77, 16, generator=random)) for _ in range(2)]

    def call(adapters: Any) -> Any:
        predictor = Predictor(unet, caller=Bucketed((2,), Eager()))
        timesteps = torch.tensor([3.0, 500.0])
        return predictor.predict(Rows(sample, timesteps, text, [()] * 2, adapters))[0]

    without, expected = call([None, None]), call([lora, None])
    assert compile_blocks(unet, KINDS, [lambda: call([lora, None])], lambda share: None) == KINDS
    ours = call([lora, None])
    assert (ours - expected).abs().max() <= 1e-5
    assert (without - expected).abs().max() > 0.01, "the LoRA matters"
