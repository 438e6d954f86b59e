"""The learned upscaler: transformers' own Swin2SR with random weights, tile by tile between the steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
import torch
from transformers import Swin2SRConfig, Swin2SRForImageSuperResolution
from transformers.models.swin2sr.image_processing_pil_swin2sr import Swin2SRImageProcessorPil

from engine.errors import InvalidRequestError, ModelLoadError
from engine.model_card import provisional_info, upscaler_source
from engine.receipts import PNG_KEY, read_recipe
from engine.settings import EngineSettings
from engine.types import Upscaler
from engine.worker import upscaling
from tests.engine.worker.hub_server import serving
from tests.engine.worker.local import LocalEngine
from tests.engine.worker.test_equality import a_picture

LEARNED = {"upscaler": Upscaler.SWIN2SR, "strength": 0.0}


def write_swin2sr(folder: Path, **changes: Any) -> Path:
    """Writes a random Swin2SR, of which most of a picture's own colours come through."""
    state = torch.get_rng_state()
    torch.manual_seed(5)
    values = {"embed_dim": 16, "depths": [2, 2], "num_heads": [2, 2], "window_size": 8} | changes
    model = Swin2SRForImageSuperResolution(Swin2SRConfig(**values))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.normal_(std=0.15)
    torch.set_rng_state(state)
    model.save_pretrained(folder)
    Swin2SRImageProcessorPil().save_pretrained(folder)
    return folder


def stock(folder: Path, picture: Image.Image) -> Image.Image:
    """Returns what transformers' own code makes of a picture."""
    model = Swin2SRForImageSuperResolution.from_pretrained(folder).eval()
    inputs = Swin2SRImageProcessorPil.from_pretrained(folder)(picture, return_tensors="pt")
    (output,) = model(**inputs).reconstruction.clamp(0, 1).numpy()
    scale = model.config.upscale
    height, width = picture.height * scale, picture.width * scale
    return Image.fromarray(
        (output[:, :height, :width].transpose(1, 2, 0) * 255).round().astype("uint8")
    )


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_swin2sr(tmp_path_factory.mktemp("upscalers") / "x2")


@pytest.fixture(scope="module")
def engine(tiny_sd15: Path, twice: Path) -> LocalEngine:
    return LocalEngine(tiny_sd15, upscaler=str(twice))


def enlarged(
    engine: LocalEngine, name: str, picture: Image.Image, size: tuple[int, int]
) -> Image.Image:
    engine.send(name, picture, width=size[0], height=size[1], model="another", **LEARNED)
    engine.finish()
    assert engine.last(name).kind == "done", engine.last(name).fields
    return engine.pictures(name)[0].convert("RGB")


def differ(one: Image.Image, other: Image.Image) -> Any:
    return abs(np.asarray(one, int) - np.asarray(other, int))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("pixelshuffle", {"upscale": 2}),
        ("pixelshuffle-3", {"upscale": 3}),
        ("pixelshuffle_aux", {"upscale": 4}),
        ("pixelshuffledirect", {"upscale": 2}),
        ("nearest+conv", {"upscale": 4}),
    ],
)
@pytest.mark.parametrize("side", [(20, 13), (5, 3)])
def test_every_architecture_makes_what_transformers_makes(
    tiny_sd15: Path, tmp_path: Path, name: str, changes: dict[str, Any], side: tuple[int, int]
) -> None:
    folder = write_swin2sr(tmp_path / "net", upsampler=name.partition("-3")[0], **changes)
    net = upscaling.load(torch.device("cpu"), str(folder))
    picture = a_picture().resize(side)
    size = (side[0] * changes["upscale"], side[1] * changes["upscale"])
    work = upscaling.Enlarging(net, picture, size)
    while not work.is_done:
        work.step()
    assert work.total == 1
    assert work.result().size == size
    assert differ(work.result(), stock(folder, picture)).max() <= 1


def test_a_job_is_enlarged_and_says_by_what(engine: LocalEngine, twice: Path) -> None:
    picture = a_picture().resize((40, 24))
    made = enlarged(engine, "learned", picture, (80, 48))
    assert differ(made, stock(twice, picture)).max() <= 1
    assert differ(made, picture.resize((80, 48), Image.Resampling.LANCZOS)).mean() > 1
    text = engine.pictures("learned")[0].info["parameters"]
    assert "Postprocess upscaler: Swin2SR" in text
    assert len(engine.last("learned").fields["receipt"]["upscaler"]) == 10


def test_large_pictures_are_made_in_tiles_without_seams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_swin2sr(tmp_path / "net", depths=[2], num_heads=[2])
    monkeypatch.setattr(upscaling, "TILE", 80)
    monkeypatch.setattr(upscaling, "MARGIN", 24)  # as far as so few layers look
    picture = a_picture().resize((150, 113))
    work = upscaling.Enlarging(
        upscaling.load(torch.device("cpu"), str(folder)), picture, (300, 226)
    )
    while not work.is_done:
        work.step()
    assert work.total == 4 * 3
    assert differ(work.result(), stock(folder, picture)).max() <= 1


def test_other_sizes_than_the_models_own_are_met_exactly(engine: LocalEngine) -> None:
    picture = a_picture().resize((24, 16))
    assert enlarged(engine, "four", picture, (96, 64)).size == (
        96,
        64,
    )  # twice, one after the other
    assert enlarged(engine, "odd", picture, (60, 40)).size == (60, 40)
    same = enlarged(engine, "same", picture, (24, 16))
    assert differ(same, picture).max() == 0


def test_a_flat_picture_is_no_error(engine: LocalEngine) -> None:
    assert enlarged(engine, "flat", Image.new("RGB", (16, 16), "grey"), (32, 32)).size == (32, 32)


def test_others_take_their_steps_between_two_tiles(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upscaling, "TILE", 48)
    size = (160, 160)
    start = len(engine.frames)
    picture = a_picture().resize((80, 80))
    engine.send("slow", picture, width=size[0], height=size[1], **LEARNED)
    engine.send("drawn", num_inference_steps=4)
    engine.finish()
    told = [
        (frame.fields["job_id"], frame.fields.get("step"), frame.fields.get("total"))
        for frame in engine.frames[start:]
        if frame.kind == "progress"
    ]
    tiles = [step for job, step, _ in told if job == "slow"]
    assert tiles == sorted(tiles)
    assert {total for job, _, total in told if job == "slow"} == {9}
    ends = [frame.fields["job_id"] for frame in engine.frames[start:] if frame.kind == "done"]
    assert ends == ["drawn", "slow"]


def test_cancelled_between_two_tiles(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.protocol import Frame

    monkeypatch.setattr(upscaling, "TILE", 48)
    job = engine.join("stopped", a_picture().resize((80, 80)), width=160, height=160, **LEARNED)
    engine.loop.tick()
    engine.loop.tick()
    assert 0 < job.steps_done < job.steps_total
    engine.loop.handle(Frame("cancel", {"job_id": "stopped"}))
    engine.finish()
    assert engine.last("stopped").fields["error"] == "GenerationCancelledError"
    assert not engine.pictures("stopped")


def test_memory_that_is_short_for_a_moment_costs_a_second_try(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = engine.join("short", a_picture().resize((16, 16)), width=32, height=32, **LEARNED)
    work = job.pictures[0].enlarging
    calls = []
    real = work.net.forward

    def forward(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*args, **options)

    monkeypatch.setattr(work.net, "forward", forward)
    engine.finish()
    assert engine.last("short").kind == "done"
    assert len(calls) == 2


def test_numbers_that_are_no_picture_are_refused(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = engine.join("broken", a_picture().resize((16, 16)), width=32, height=32, **LEARNED)
    net = job.pictures[0].enlarging.net
    real = net.forward

    def forward(*args: Any, **options: Any) -> Any:
        made = real(*args, **options)
        made.reconstruction.fill_(float("nan"))
        return made

    monkeypatch.setattr(net, "forward", forward)
    engine.finish()
    assert engine.last("broken").fields["error"] == "BrokenPictureError"


def test_the_same_picture_again_from_its_receipt(engine: LocalEngine) -> None:
    enlarged(engine, "before", a_picture().resize((40, 24)), (80, 48))
    (before,) = engine.pictures("before")
    request, receipt = read_recipe(before.info[PNG_KEY])
    assert request.upscaler is Upscaler.SWIN2SR
    assert receipt.upscaler == engine.last("before").fields["receipt"]["upscaler"]
    engine.replay("again", engine.sent["before"], before)
    engine.finish()
    assert differ(engine.pictures("again")[0].convert("RGB"), before.convert("RGB")).max() == 0


def test_without_one_it_is_refused_and_lanczos_is_the_best(sd15: LocalEngine) -> None:
    assert sd15.info.best_upscaler is Upscaler.LANCZOS
    asked = sd15.request(init_image="0" * 64, **LEARNED)
    with pytest.raises(InvalidRequestError, match="Swin2SR is not installed"):
        sd15.info.check(asked)


def test_it_costs_what_it_takes(engine: LocalEngine) -> None:
    assert engine.info.best_upscaler is Upscaler.SWIN2SR
    drawn = engine.request(width=512, height=512, num_inference_steps=20)
    learned = engine.request(width=1024, height=1024, init_image="0" * 64, **LEARNED)
    assert drawn.work / 5 < learned.work < drawn.work


def test_what_is_told_before_the_engine_has_loaded_has_it_too(twice: Path) -> None:
    settings = EngineSettings(model="pocket", device="cpu", upscaler=str(twice))
    assert provisional_info(settings).best_upscaler is Upscaler.SWIN2SR


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (None, "There is no folder"),
        ({"model_type": "swin2sr", "upscale": 1}, "1 times"),
        ({"model_type": "swin2sr", "upscale": 8}, "8 times"),
        ({"model_type": "swin2sr", "upscale": 2, "num_channels": 1}, "RGB"),
        ({"model_type": "vit"}, "no Swin2SR"),
    ],
)
def test_a_wrong_setting_is_told_at_the_start(
    tmp_path: Path, config: dict[str, Any] | None, told: str
) -> None:
    folder = tmp_path / "net"
    if config is not None:
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match=told):
        upscaler_source(EngineSettings(model="pocket", device="cpu", upscaler=str(folder)))


def test_weights_that_are_not_there_fail_that_job_alone(
    tiny_sd15: Path, twice: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "config.json").write_text((twice / "config.json").read_text())
    engine = LocalEngine(tiny_sd15, upscaler=str(folder))
    engine.send("lost", a_picture(), width=128, height=128, **LEARNED)
    engine.send("drawn")
    engine.finish()
    assert engine.last("lost").fields["error"] == "InvalidRequestError"
    assert "cannot be loaded" in engine.last("lost").fields["message"]
    assert engine.last("drawn").kind == "done"
    assert str(folder) in caplog.text


def test_a_hub_id_is_downloaded(twice: Path, tmp_path: Path) -> None:
    code = (
        "from engine.worker import hub\n"
        f"print(hub.transformers_folder('someone/x2', 'Swin2SR', {upscaling.FILES}))"
    )
    with serving({"someone/x2": twice}) as hub:
        environment = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path)}
        made = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert hub.downloaded() == {"config.json", "model.safetensors"}
    assert upscaling.load(torch.device("cpu"), made.stdout.strip()).file_hash
