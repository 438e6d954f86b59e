"""The parts of the pocket Stable Diffusion, untrained: their sizes, and the noise schedule."""

from __future__ import annotations

from dataclasses import dataclass

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from engine.pocket.tokenizer import MAX_TOKENS

TRAIN_STEPS = 1000


@dataclass(frozen=True)
class Sizes:
    """Widths of the three networks; the defaults make the committed model."""

    vae_channels: tuple[int, ...] = (16, 32, 64, 64)
    unet_channels: tuple[int, ...] = (48, 96, 128)
    unet_layers: int = 1
    unet_norm_groups: int = 8
    text_width: int = 128
    text_layers: int = 2


TINY = Sizes((4, 4, 4, 4), (8, 8, 8), unet_norm_groups=4, text_width=16, text_layers=1)
"""Small enough to try every stage within seconds."""


def build_vae(sizes: Sizes) -> AutoencoderKL:
    """Eight pixels to a latent, four latent channels; no attention, so any size will do."""
    return AutoencoderKL(
        block_out_channels=sizes.vae_channels,
        down_block_types=("DownEncoderBlock2D",) * len(sizes.vae_channels),
        up_block_types=("UpDecoderBlock2D",) * len(sizes.vae_channels),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=2,
        mid_block_add_attention=False,
        sample_size=128,
        scaling_factor=1.0,
    )


def build_text_encoder(sizes: Sizes, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A small CLIP text model, trained along with the U-Net."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=sizes.text_width,
        intermediate_size=4 * sizes.text_width,
        projection_dim=sizes.text_width,
        num_hidden_layers=sizes.text_layers,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="eager",  # SDPA's backward is slow on the CPU
    )
    return CLIPTextModel(config)


def build_unet(sizes: Sizes) -> UNet2DConditionModel:
    """The pooled text joins the time embedding: without it shapes take far longer to learn."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=sizes.unet_channels,
        layers_per_block=sizes.unet_layers,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=sizes.text_width,
        attention_head_dim=4,  # the number of heads, by an old mistake in diffusers
        norm_num_groups=sizes.unet_norm_groups,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    )


def build_scheduler() -> DDIMScheduler:
    """The noise schedule, as every sampler takes it over through `from_config`.

    A 16x16 latent repeats itself less than Stable Diffusion's 64x64 one, so the same noise destroys more
    of it (Hoogeboom et al. 2023, "simple diffusion"), and img2img at strength 0.5 would leave nothing of
    the picture. Beginning lower and ending higher (0.0002 to 0.014 for 0.00085 to 0.012) raises the
    signal-to-noise ratio in the middle, from 0.38 to 0.66, and leaves the end as noisy as it was: there the
    noise must hide the picture wholly, else plain backgrounds come out wrong.
    """
    return DDIMScheduler(
        num_train_timesteps=TRAIN_STEPS,
        beta_schedule="scaled_linear",
        beta_start=0.0002,
        beta_end=0.014,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
