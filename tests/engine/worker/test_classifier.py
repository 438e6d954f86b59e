"""The safety checker: its verdicts are diffusers' own, and a broken one stops the start in a sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402

from engine.errors import ModelLoadError  # noqa: E402
from engine.model_card import provisional_info, safety_checker_source  # noqa: E402
from engine.settings import EngineSettings  # noqa: E402
from engine.worker.classifier import Classifier  # noqa: E402
from tests.engine.worker.checkers import found_by_diffusers, write_checker  # noqa: E402
from tests.engine.worker.local import LocalEngine  # noqa: E402
from tests.engine.worker.process import a_request, running  # noqa: E402

WEIGHTS = "model.safetensors"


def drawn(shape: str, colour: str) -> Image.Image:
    picture = Image.new("RGB", (96, 64), "white")
    getattr(ImageDraw.Draw(picture), shape)((20, 10, 70, 54), fill=colour)
    return picture


RED, BLUE = drawn("ellipse", "red"), drawn("rectangle", "blue")


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checker(tmp_path_factory.mktemp("checker") / "checker", RED, BLUE)


def test_one_picture_is_flagged_and_another_is_not_as_by_diffusers(checker: Path) -> None:
    classifier = Classifier(str(checker))
    assert classifier.score(RED) > 0 > classifier.score(BLUE)
    assert found_by_diffusers(checker, RED)
    assert not found_by_diffusers(checker, BLUE)


def test_special_care_and_rounding_decide_as_in_diffusers(checker: Path, tmp_path: Path) -> None:
    """Around the threshold, with and without a concept that asks for care."""
    weights = load_file(checker / WEIGHTS)
    near = Classifier(str(checker)).score(BLUE) + float(weights["concept_embeds_weights"][3])
    seen = set()
    for has_care in (False, True):
        for margin in (-0.012, -0.009, -0.0004, 0.0004, 0.0006, 0.002):
            changed = {name: tensor.clone() for name, tensor in weights.items()}
            changed["concept_embeds_weights"][3] = near - margin
            changed["special_care_embeds_weights"][1] = -2.0 if has_care else 2.0
            folder = tmp_path / f"{has_care}{margin}"
            shutil.copytree(checker, folder)
            save_file(changed, folder / WEIGHTS, {"format": "pt"})
            verdict = Classifier(str(folder)).score(BLUE) > 0
            assert verdict == found_by_diffusers(folder, BLUE), (has_care, margin)
            seen.add((has_care, verdict))
    assert len(seen) == 4


def test_a_folder_of_a_pipeline_has_its_processor_beside_it(checker: Path, tmp_path: Path) -> None:
    shutil.copytree(checker, tmp_path / "safety_checker")
    alone = tmp_path / "alone"
    shutil.copytree(checker, alone)
    (alone / "preprocessor_config.json").unlink()
    (tmp_path / "feature_extractor").mkdir()
    (tmp_path / "safety_checker" / "preprocessor_config.json").rename(
        tmp_path / "feature_extractor" / "preprocessor_config.json"
    )
    expected = Classifier(str(checker)).score(RED)
    assert Classifier(str(tmp_path / "safety_checker")).score(RED) == expected
    assert Classifier(str(alone)).score(RED) == expected  # CLIP's own numbers


def no_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def cut(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:5000])


def incomplete(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    del weights["concept_embeds"]
    save_file(weights, folder / WEIGHTS, {"format": "pt"})


def no_numbers(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    weights["visual_projection.weight"][:] = float("nan")
    save_file(weights, folder / WEIGHTS, {"format": "pt"})


def another_model(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["CLIPModel"]}))


def no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


BREAKS: dict[Callable[[Path], None], str] = {
    no_folder: "There is no folder",
    no_weights: "has no model.safetensors",
    pickled: "Pickled weights",
    cut: "cannot be loaded",
    incomplete: "lacks weights",
    no_numbers: "give no numbers",
    another_model: "is no StableDiffusionSafetyChecker",
    no_json: "config.json",
}


@pytest.mark.parametrize("damage", BREAKS)
def test_a_broken_one_is_refused_with_one_sentence(
    checker: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    folder = tmp_path / "checker"
    shutil.copytree(checker, folder)
    damage(folder)
    with pytest.raises(ModelLoadError, match=BREAKS[damage]) as error:  # noqa: PT012
        source = safety_checker_source(EngineSettings(safety_checker=str(folder)))
        Classifier(str(source))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", [pickled, incomplete])
async def test_a_broken_one_stops_the_start(
    checker: Path, tiny_sd15: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    folder = tmp_path / "checker"
    shutil.copytree(checker, folder)
    damage(folder)
    async with running(tiny_sd15, EASEL_SAFETY_CHECKER=str(folder)) as engine:
        frame = await engine.next("fatal")
    assert frame.fields["error"] == ModelLoadError.__name__
    assert BREAKS[damage] in frame.fields["message"]


def test_scores_travel_with_the_pictures_of_a_job(tiny_sd15: Path, tmp_path: Path) -> None:
    """Two pictures of the loop; the checker is then made to tell them apart."""
    plain = LocalEngine(tiny_sd15)
    plain.send("a", num_images=2)
    plain.finish()
    assert scores(plain, "a") == [None, None]
    first, second = (picture.convert("RGB") for picture in plain.pictures("a"))
    folder = write_checker(tmp_path / "checker", second, first)
    engine = LocalEngine(tiny_sd15, model=plain.model, score=Classifier(str(folder)).score)
    engine.send("a", num_images=2)
    engine.finish()
    shown = [picture.convert("RGB").tobytes() for picture in engine.pictures("a")]
    assert shown == [first.tobytes(), second.tobytes()]  # not touched
    low, high = scores(engine, "a")
    assert low is not None
    assert high is not None
    assert low < 0 < high


def scores(engine: LocalEngine, job_id: str) -> list[float | None]:
    assert engine.last(job_id).kind == "done"
    frames = [one for one in engine.frames if one.kind == "picture"]
    frames.sort(key=lambda one: int(one.fields["index"]))
    return [one.fields["score"] for one in frames]


def test_a_picture_that_cannot_be_looked_at_comes_without_a_score(tiny_sd15: Path) -> None:
    def fail(_: Image.Image) -> float:
        raise RuntimeError("no memory for it")

    engine = LocalEngine(tiny_sd15, score=fail)
    engine.send("a")
    engine.finish()
    assert scores(engine, "a") == [None]


async def test_the_engine_process_looks_at_its_pictures(tiny_sd15: Path, checker: Path) -> None:
    async with running(tiny_sd15, EASEL_SAFETY_CHECKER=str(checker)) as engine:
        info = await engine.ready()
        assert info.has_classifier
        await engine.generate("a", a_request(info))
        (picture,) = [one for one in await engine.until_done("a") if one.kind == "picture"]
    assert isinstance(picture.fields["score"], float)


def test_the_bot_knows_of_it_while_the_engine_loads(checker: Path) -> None:
    assert provisional_info(
        EngineSettings(model="pocket", safety_checker=str(checker))
    ).has_classifier
    assert not provisional_info(EngineSettings(model="pocket")).has_classifier
    with pytest.raises(ModelLoadError, match="no folder"):
        provisional_info(EngineSettings(model="pocket", safety_checker="/nowhere"))
