"""Stage three: the U-Net and the text encoder learn to predict v from noisy latents and captions."""

from __future__ import annotations

from random import Random

import torch
from diffusers import StableDiffusionPipeline
from diffusers.models.attention_processor import AttnProcessor
from torch.nn import functional
from transformers import CLIPTokenizer

from engine.pocket import export
from engine.pocket.captions import caption, forgetful_caption, junk
from engine.pocket.data import CATEGORIES, Phase, is_clear, phase_at, scene_of
from engine.pocket.loop import Plan, State, Worker, train
from engine.pocket.parts import TRAIN_STEPS, Sizes, build_scheduler, build_vae
from engine.pocket.scenes import Scene
from engine.pocket.tokenizer import MAX_TOKENS, tokenizer_of

SHORT_TOKENS = 32  # no caption is longer; three steps of four save the time of the padding
EMPTY_CAPTIONS = 0.1
JUNK_CAPTIONS = 0.2  # of the empty ones: words that mean nothing must not tint the picture
FORGETFUL_CAPTIONS = 0.12
RECOLOURED_SHARE = 0.15
REMIX_STARTS = (300, 650)  # of 1000: where a remix begins, around strength 0.5
PROBES = (
    "a red circle on a blue background",
    "a small yellow star in the top left corner on a black background",
    "a big green triangle on a white background",
    "a purple heart and an orange ring on a cyan background",
    "a pink house on a cyan background",
    "a blue cat on a yellow background",
    "a red square and a blue ring on a white background",
    "a woman in a red shirt and blue trousers waving on a meadow",
    "a man in a green shirt and black trousers on a pink background",
    "an orange fish on a beach",
    "a boy in a white shirt and brown trousers with arms up on a blue background",
    "a purple flower above a red boat on a gray background",
)

Latents = dict[str, torch.Tensor]


class Examples:
    """Draws captions and latents, each by step, process and seed alone, so that a run resumes exactly."""

    def __init__(self, worker: Worker, latents: Latents, other: Latents) -> None:
        """With `latents` by category, (N, 4, 16, 16), and `other`: the recoloured ones of the first of them."""
        self._worker, self._latents, self._other = worker, latents, other
        self._clear = {
            category: [
                i for i in range(len(latents[category])) if is_clear(self.scene(category, i))
            ]
            for category in ("single", "thing")
        }

    def scene(self, category: str, place: int) -> Scene:
        """The scene of this process's latent at this place."""
        worker = self._worker
        return scene_of(worker.seed, category, worker.rank + place * worker.world)

    def draw(
        self, rng: Random, phase: Phase, count: int
    ) -> tuple[list[str], torch.Tensor, torch.Tensor]:
        """Captions, latents, and what the same layout in other colours differs by (0 in most), as float32."""
        captions, chosen, change = [], [], []
        for category in rng.choices(CATEGORIES, phase.mix, k=count):
            latents, other = self._latents[category], self._other[category]
            again = rng.random() < RECOLOURED_SHARE
            if again:
                place = rng.randrange(len(other))
            elif category in self._clear and rng.random() < phase.clear:
                place = rng.choice(self._clear[category])
            else:
                place = rng.randrange(len(latents))
            scene = self.scene(category, place)
            latent = latents[place].float()
            chosen.append(latent)
            change.append(other[place].float() - latent if again else torch.zeros_like(latent))
            captions.append(self._caption(scene, again, rng))
        return captions, torch.stack(chosen), torch.stack(change)

    @staticmethod
    def _caption(scene: Scene, again: bool, rng: Random) -> str:
        if again:  # only the words tell the colours
            return caption(scene, rng)
        if rng.random() < EMPTY_CAPTIONS:
            return junk(rng) if rng.random() < JUNK_CAPTIONS else ""
        forgetful = rng.random() < FORGETFUL_CAPTIONS
        return forgetful_caption(scene, rng) if forgetful else caption(scene, rng)


def noisy_batch(
    x_0: torch.Tensor,
    change: torch.Tensor,
    noise: torch.Tensor,
    share: torch.Tensor,
    starts: torch.Tensor,
    alpha_bar: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the U-Net sees, when, and the v that it is to predict.

    Where `change` is not zero the sample lies on the way of a remix: at its start the picture has the other
    colours, x_0 + change, and to a sampler that makes for x_0 the difference is part of the noise from there
    on. So captions learn to decide the colours and the noisy picture the layout.

    Args:
        x_0: Latents (B, 4, h, w).
        change: What their recoloured twins differ by, of the same shape; 0 for all ordinary samples.
        noise: Gaussian, of the same shape.
        share: How noisy each sample is, 0 to 1, (B,).
        starts: The step at which a remix begins, (B,).
        alpha_bar: The schedule, by step.

    Returns:
        The noisy latents, their steps (B,) and the v of each.
    """
    remixed = change.flatten(1).abs().amax(dim=1) > 0
    last = TRAIN_STEPS - 1
    t = torch.where(remixed, starts * share.sqrt(), share * TRAIN_STEPS).long().clamp_(max=last)
    began = alpha_bar[starts.long()]
    noise = noise + (began / (1 - began)).sqrt()[:, None, None, None] * change
    alpha = alpha_bar[t].sqrt()[:, None, None, None]
    sigma = (1 - alpha_bar[t]).sqrt()[:, None, None, None]
    return alpha * x_0 + sigma * noise, t, alpha * noise - sigma * x_0


def noise_and_times(
    x_0: torch.Tensor, exponent: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gaussian noise for latents (B, 4, h, w), and how noisy each is to be, 0 to 1, (B,).

    The times are stratified, one in each slice, and an exponent below 1 makes more of them noisy.
    """
    noise = torch.randn(x_0.shape, generator=generator)
    spread = torch.rand(len(x_0), generator=generator)
    return noise, ((torch.arange(len(x_0)) + spread) / len(x_0)).pow(exponent)


def length_at(step: int) -> int:
    """How many tokens a step pads its captions to: each fourth step sees the whole padding."""
    return MAX_TOKENS if step % 4 == 0 else SHORT_TOKENS


def tokens_of(tokenizer: CLIPTokenizer, captions: list[str], length: int) -> torch.Tensor:
    """Token ids (B, length) of the captions, padded or cut."""
    ids: torch.Tensor = tokenizer(
        captions, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    ).input_ids
    return ids


def train_diffusion(
    worker: Worker, plan: Plan, sizes: Sizes, latents: Latents, other: Latents
) -> None:
    """Trains until the plan's number of samples; begins with the weights of `export.START`, if there are any."""
    tokenizer = tokenizer_of(worker.work)
    torch.manual_seed(worker.seed)
    model = export.build_diffusion(sizes, tokenizer, worker.work).to(worker.device)
    text_encoder, unet = model["text_encoder"], model["unet"]
    unet.set_attn_processor(AttnProcessor())  # SDPA's backward is slow on the CPU
    examples = Examples(worker, latents, other)
    alpha_bar = build_scheduler().alphas_cumprod

    def loss_of(step: int, samples: int) -> tuple[torch.Tensor, int]:
        rng = Random(f"{worker.seed}/unet/{step}/{worker.rank}")
        phase = phase_at(samples)
        captions, x_0, change = examples.draw(rng, phase, plan.batch)
        tokens = tokens_of(tokenizer, captions, length_at(step)).to(worker.device)
        generator = worker.generator(plan.stage, step)
        noise, share = noise_and_times(x_0, phase.noisy, generator)
        low, high = REMIX_STARTS
        starts = low + (high - low) * torch.rand(plan.batch, generator=generator)
        batch = noisy_batch(x_0, change, noise, share, starts, alpha_bar)
        x_t, t, v = (each.to(worker.device) for each in batch)
        with torch.autocast(worker.device.type, dtype=torch.bfloat16):
            context = text_encoder(tokens).last_hidden_state
            predicted = unet(x_t, t, context).sample
        return functional.mse_loss(predicted.float(), v), plan.batch

    def show(samples: int) -> None:
        vae = build_vae(sizes)
        export.load_vae(vae, worker.work)
        pipe = StableDiffusionPipeline(
            vae.to(worker.device), text_encoder, tokenizer, unet, build_scheduler(),
            safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
        model.eval()
        sheet = export.contact_sheet(pipe, PROBES, steps=12, columns=4)
        model.train()
        sheet.save(worker.work / f"samples-{samples:07}.png")

    train(
        worker,
        plan,
        State(
            model,
            worker.work / "diffusion.safetensors",
            has_muon=True,
            rank=worker.rank,
            world=worker.world,
        ),
        loss_of,
        show,
    )
