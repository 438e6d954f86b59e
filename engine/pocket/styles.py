"""Trains one style of the pocket model as a LoRA: `python -m engine.pocket.styles --style neon --out DIR`.

The model stays as it is; what is learned are low-rank updates of the U-Net's layers on pictures of the renderer
that a filter turned into the style. One process with one thread; the styles are independent of one another.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from diffusers.models.attention_processor import AttnProcessor
from peft import LoraConfig
from PIL import Image
from torch.nn import functional

from engine.lora.export import export_lora
from engine.lora.metadata import LoraCard
from engine.pocket import MODEL_DIR
from engine.pocket.autoencoder import to_tensor
from engine.pocket.captions import caption, forgetful_caption
from engine.pocket.data import CATEGORIES, scene_of
from engine.pocket.diffusion import (
    EMPTY_CAPTIONS,
    FORGETFUL_CAPTIONS,
    noise_and_times,
    noisy_batch,
    tokens_of,
)
from engine.pocket.export import contact_sheet
from engine.pocket.filters import STYLES, Style
from engine.pocket.loop import Plan, State, Worker, train
from engine.pocket.scenes import SIZE, Scene, render
from engine.pocket.scores.studio import load

ARCHITECTURE, BASE_VERSION = "easel-pocket-v1", "easel_pocket_v1"
"""The base model in the words of a LoRA's metadata."""

SAMPLES = 16_000
PICTURES = 3_000  # each is seen some five times, with other captions and noise
BATCH = 16
RANK = 8
LEARNING_RATE = 2e-3
WARM_UP_STEPS = 40
TARGETS = (
    "to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2",
    "conv1", "conv2", "time_emb_proj",
)  # fmt: skip
"""Attention alone cannot change the tone of a whole picture in so few steps; the convolutions can."""

MIX = (0.34, 0.2, 0.14, 0.16, 0.16)  # of `data.CATEGORIES`
SILENT = 0.2  # captions without the trigger word: whoever chose a style need not name it as well
NOISY = 0.75  # exponent of the time: more of the noisy times, where tones are decided
TOKENS = 40  # the longest caption with the longest trigger phrase
PREVIEW_PROMPTS = ("a red heart on a blue background", "a green house on a yellow background",
                   "an orange fish on a cyan background", "a purple star and a white ring on a pink background",
                   )  # fmt: skip


@dataclass(frozen=True)
class Lesson:
    """How one style is learned."""

    style: Style
    samples: int = SAMPLES
    pictures: int = PICTURES
    seed: int = 2026
    rank: int = RANK


def phrase_of(style: Style) -> str:
    """What calls the style in a prompt."""
    return f"{style.trigger} style"


def styled_caption(scene: Scene, style: Style, rng: Random) -> str:
    """A caption with the trigger word somewhere in it, or without; or none at all."""
    if rng.random() < EMPTY_CAPTIONS:
        return ""
    forgetful = rng.random() < FORGETFUL_CAPTIONS
    text = forgetful_caption(scene, rng) if forgetful else caption(scene, rng)
    if rng.random() < SILENT:
        return text
    word, phrase = style.trigger, phrase_of(style)
    forms = (
        f"{phrase}, {text}", f"{phrase}, {text}", f"{text}, {phrase}", f"{text}, {word}",
        f"{text} in {phrase}", f"{word}, {text}",
    )  # fmt: skip
    return rng.choice(forms)


@torch.no_grad()
def styled_latents(vae: AutoencoderKL, lesson: Lesson) -> tuple[list[Scene], torch.Tensor]:
    """Scenes and the latents (N, 4, 16, 16) of their pictures in the style."""
    rng = Random(f"{lesson.seed}/styles")  # the same scenes for every style
    scenes = [
        scene_of(lesson.seed, category, i)
        for i, category in enumerate(rng.choices(CATEGORIES, MIX, k=lesson.pictures))
    ]
    parts = []
    for start in range(0, len(scenes), 32):
        looks = [lesson.style.look(render(s).image) for s in scenes[start : start + 32]]
        pixels = to_tensor([np.asarray(look) for look in looks])
        parts.append(vae.encode(pixels).latent_dist.mean * vae.config.scaling_factor)
    return scenes, torch.cat(parts)


def train_style(pipe: StableDiffusionPipeline, lesson: Lesson, work: Path) -> None:
    """Leaves an adapter with the style's name, trained and active, in the pipeline's U-Net.

    `work` keeps a checkpoint; given again, the same folder goes on.
    """
    unet, text_encoder, name = pipe.unet, pipe.text_encoder, lesson.style.name
    torch.manual_seed(lesson.seed)
    unet.requires_grad_(False)
    unet.add_adapter(
        LoraConfig(r=lesson.rank, lora_alpha=lesson.rank, target_modules=list(TARGETS)), name
    )
    unet.set_attn_processor(AttnProcessor())  # SDPA's backward is slow on the CPU
    scenes, latents = styled_latents(pipe.vae, lesson)
    alpha_bar = pipe.scheduler.alphas_cumprod
    worker = Worker(0, 1, work, torch.device("cpu"), lesson.seed)
    plan = Plan(name, lesson.samples, BATCH, LEARNING_RATE, lesson.samples // 2, WARM_UP_STEPS)

    def loss_of(step: int, samples: int) -> tuple[torch.Tensor, int]:
        rng = Random(f"{lesson.seed}/{name}/{step}")
        places = [rng.randrange(len(scenes)) for _ in range(BATCH)]
        captions = [styled_caption(scenes[place], lesson.style, rng) for place in places]
        tokens = tokens_of(pipe.tokenizer, captions, TOKENS)
        x_0 = latents[places]
        noise, share = noise_and_times(x_0, NOISY, worker.generator(name, step))
        unchanged = torch.zeros_like(x_0)  # no remixes here
        x_t, t, v = noisy_batch(x_0, unchanged, noise, share, torch.ones(BATCH), alpha_bar)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            with torch.no_grad():
                context = text_encoder(tokens).last_hidden_state
            predicted = unet(x_t, t, context).sample
        return functional.mse_loss(predicted.float(), v), BATCH

    learned = {n.replace(".", "/"): p for n, p in unet.named_parameters() if p.requires_grad}
    state = State(torch.nn.ParameterDict(learned), work / f"style-{name}.safetensors")
    train(worker, plan, state, loss_of)
    state.swap_average()


def write_style(pipe: StableDiffusionPipeline, lesson: Lesson, out: Path, steps: int = 20) -> None:
    """Writes the trained adapter as `<style>.safetensors`, and a preview as `<style>.webp`."""
    style = lesson.style
    prompts = [f"{phrase_of(style)}, {prompt}" for prompt in PREVIEW_PROMPTS]
    sheet = contact_sheet(pipe, prompts, steps=steps, columns=2)
    out.mkdir(parents=True, exist_ok=True)
    sheet.save(out / f"{style.name}.webp", quality=85)
    thumbnail = io.BytesIO()
    sheet.resize((SIZE, SIZE), Image.Resampling.LANCZOS).save(thumbnail, "WEBP", quality=70)
    card = LoraCard(
        title=style.name.capitalize(),
        architecture=ARCHITECTURE,
        base_version=BASE_VERSION,
        resolution=(SIZE, SIZE),
        prediction_type="v_prediction",
        trigger_phrase=phrase_of(style),
        author="Easel",
        description=f"A style of the pocket model: {style.about}.",
        output_name=style.name,
        tag_frequency={phrase_of(style): lesson.pictures},
        thumbnail=thumbnail.getvalue(),
    )
    export_lora(out / f"{style.name}.safetensors", card, unet=pipe.unet, adapter_name=style.name)


def main() -> None:
    """Reads the command line, trains and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL_DIR)
    parser.add_argument("--style", choices=STYLES, required=True)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument(
        "--pictures", type=int, default=PICTURES, help="different ones to learn from"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the file and its preview"
    )
    parser.add_argument("--work", type=Path, help="folder that keeps a checkpoint (default: none)")
    parser.add_argument("--seed", type=int, default=2026)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    lesson = Lesson(STYLES[given.style], given.samples, given.pictures, given.seed)
    pipe, _ = load(given.model)
    with tempfile.TemporaryDirectory() as folder:
        work = given.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        train_style(pipe, lesson, work)
    write_style(pipe, lesson, given.out)


if __name__ == "__main__":
    main()
