"""The card with everything that decided a picture, and the command that makes it again."""

from __future__ import annotations

import discord

from cogs import _buttons, _text
from cogs._language import N_, again, t
from cogs._recipe import Recipe
from engine.types import Generation

HEADLINE = N_("Picture {id}")
COPY_FILE = N_("The attached command makes the same picture again.")

# Discord takes 4,096 and 1,024 characters, but 6,000 in all.
_MAX_DESCRIPTION = 3500
_MAX_FIELD = 450


def card(
    generation: Generation, recipe: Recipe, style: str = ""
) -> tuple[discord.Embed, str | None]:
    """Returns the card, and the command as a file's text when the card cannot show it unchanged.

    `style` is what stands for the request's LoRAs.
    """
    request = generation.request
    line = recipe.command
    block = f"{recipe.words}\n```\n{line}\n```" if line else recipe.words
    text = line if "```" in line or _text.length(block) > _MAX_DESCRIPTION else None
    embed = discord.Embed(
        title=t(HEADLINE, id=generation.id),
        description=block if text is None else t(COPY_FILE),
        timestamp=generation.created_at,
    )
    fields = {
        N_("Size"): f"{request.width} x {request.height}",
        N_("Steps"): str(request.num_inference_steps),
        N_("Guidance"): f"{request.guidance_scale:g}",
        N_("Sampler"): str(request.sampler),
        N_("Seed") if len(generation.seeds) == 1 else N_("Seeds"): ", ".join(
            map(str, generation.seeds)
        ),
        N_("Model"): request.model,
        N_("Time"): t("{seconds:.1f} s", seconds=generation.seconds),
    }
    second = request.second_pass
    if second is not None:
        fields[N_("Second pass")] = t(
            "{scale:g}x the size, strength {strength:g}",
            scale=second.scale,
            strength=second.strength,
        )
    if request.upscaler is not None:
        fields[N_("Upscaler")] = request.upscaler.label
    elif request.strength is not None:
        fields[N_("Strength")] = t(
            "{strength:g} (0 keeps the picture, 1 ignores it)", strength=request.strength
        )
    if request.controls:
        fields[N_("Control")] = "; ".join(
            t(
                "{kind}, strength {strength:g}, from {start:g} to {end:g} of the steps",
                kind=control.kind,
                strength=control.scale,
                start=control.start,
                end=control.end,
            )
            for control in request.controls
        )
    if style:
        fields[N_("Style")] = style
    if request.full_prompt != request.prompt:
        fields[N_("Read as")] = request.full_prompt
    if generation.submission.action != "imagine":
        fields[N_("Made by")] = _buttons.words_of(generation.submission.action)
    if generation.submission.parent_id is not None:
        fields[N_("Made from")] = generation.submission.parent_id
    for name, value in fields.items():
        embed.add_field(name=t(name), value=_text.shown(value, _MAX_FIELD) or "-")
    if generation.warnings:
        notes = _text.shown(" ".join(map(again, generation.warnings)), _MAX_FIELD)
        embed.add_field(name=t("Notes"), value=notes, inline=False)
    return embed, text
