"""Every kind of LoRA file sent through Discord: a style that draws, or one sentence; the base model stays as it is."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from engine.pocket import MODEL_DIR
from playground import File, Message, Person, Playground
from tests.checker.check import check
from tests.checker.watched_bot import WatchedBot
from tests.cogs.cdn import photo
from tests.engine.lora.test_checking import BAD, GOOD

torch = pytest.importorskip("torch")
log = logging.getLogger(__name__)

TIMEOUT_S = 240
PROMPT = "a red circle on a blue background"
EMPTY = "nothing"  # Discord takes no file of no bytes


def fitting(folder: Path) -> dict[str, Path]:
    """A file of each layout and type of number whose layers are the pocket model's."""
    from diffusers import UNet2DConditionModel
    from safetensors.torch import load_file, save_file
    from transformers import CLIPTextModel

    from tests.engine.worker import loras

    unet = UNet2DConditionModel.from_pretrained(MODEL_DIR / "unet")
    text = CLIPTextModel.from_pretrained(MODEL_DIR / "text_encoder")
    every = loras.pairs(unet, loras.LINEAR + loras.CONV, 2, seed=1, size=0.1)
    attention = loras.pairs(unet, ("to_q", "to_k", "to_v", "to_out.0"), 2, seed=2)
    words = loras.pairs(text, loras.TEXT, 2, seed=3)
    files = {
        "kohya with convolutions": loras.kohya(folder / "a.safetensors", every, words),
        "kohya alone": loras.kohya(folder / "b.safetensors", attention, {}),
        "text alone": loras.kohya(folder / "c.safetensors", {}, words),
        "diffusers": loras.peft(folder / "d.safetensors", attention, words),
        "old diffusers": loras.old_diffusers(folder / "e.safetensors", attention),
    }
    for name, dtype in (("bf16", torch.bfloat16), ("float16", torch.float16)):
        files[name] = folder / f"{name}.safetensors"
        halves = {key: one.to(dtype) for key, one in load_file(files["kohya alone"]).items()}
        save_file(halves, files[name])
    return files


def pixels(message: Message) -> bytes:
    with Image.open(io.BytesIO(message.attachments[0].data)) as picture:
        return picture.convert("RGB").tobytes()


async def draw(person: Person, **options: object) -> Message:
    """The result, or the sentence that came in its place."""
    last = person.place.messages[-1] if person.place.messages else None
    await (await person.slash("imagine", options, prompt=PROMPT, seed=3, steps=4)).acknowledged()
    return await person.place.wait_for(
        lambda m: m.pings(person.user) and not {"Cancel", "Stop"} & set(m.buttons),
        timeout_s=TIMEOUT_S,
        after=last,
    )


async def add(operator: Person, name: str, data: bytes) -> str:
    """What the operator is told. Its preview comes with it, so that no job draws one beside the others."""
    asked = await operator.slash(
        "admin lora add",
        name=name,
        file=File("style.safetensors", data),
        preview=File(*photo()),
    )
    # A refusal comes as a message of its own after the answer that was put off.
    answer = await asked.wait_for(lambda m: m.content.strip("…"), timeout_s=TIMEOUT_S)
    assert answer.is_ephemeral
    return answer.content.replace("\\", "")


def is_sentence(text: str) -> bool:
    return 15 < len(text) < 400 and text.rstrip().endswith(".") and "Traceback" not in text


@pytest.mark.parametrize(
    "every", [12, pytest.param(1, marks=[pytest.mark.faults, pytest.mark.timeout(1800)])]
)
async def test_each_file_draws_or_is_one_sentence_and_the_base_model_keeps_its_bytes(
    discord: Playground, people: Callable[[int], list[Person]], tmp_path: Path, every: int
) -> None:
    bot = WatchedBot(
        discord,
        tmp_path,
        EASEL_MAX_LORA_MB="2",  # as the corpus has it
        EASEL_PER_MINUTE="0",
        EASEL_DAILY_ALLOWANCE="0",
    )
    (ana,) = people(1)
    operator = discord.operator.go(ana.place)
    files = fitting(tmp_path)
    async with bot:
        base = pixels(await draw(ana))
        verdicts = {"drawn": 0, "refused": 0, "refused by the engine": 0}
        for number, (layout, path) in enumerate(files.items()):
            name = f"style {number}"
            told = await add(operator, name, path.read_bytes())
            assert f"Added: **{name}**" in told, layout
            styled = await draw(ana, style=f"{name}:0.9")
            assert styled.attachments, f"{layout}: {styled.content}"
            assert pixels(styled) != base, f"{layout} does something"
            verdicts["drawn"] += 1
        for number, (kind, (make, family, _)) in enumerate(list(GOOD.items())[::every]):
            told = await add(operator, f"good {number}", make())
            if family != "pocket":
                assert "made for" in told, kind
                assert "the model here is" in told, kind
                verdicts["refused"] += 1
                continue
            # Its layers have names of the model's, and not their sizes, which the engine alone knows.
            assert "Added" in told, kind
            answer = await draw(ana, style=f"good {number}")
            assert not answer.attachments, kind
            assert is_sentence(answer.content.replace("\\", "")), answer.content
            verdicts["refused by the engine"] += 1
        bad = {kind: one for kind, one in BAD.items() if kind != EMPTY}
        for kind, (make, words) in list(bad.items())[::every]:
            told = await add(operator, "bad", make())
            # Most are spoilt files for another model, which may be what is noticed first.
            assert words in told or "made for" in told, f"{kind}: {told}"
            assert is_sentence(told), told
            verdicts["refused"] += 1
        assert pixels(await draw(ana)) == base
    log.info("%s", verdicts)
    assert sum(verdicts.values()) >= (len(GOOD) + len(bad)) // every, verdicts
    await check(bot)
