"""The card with everything that decided a picture, and the command that makes it again."""

from __future__ import annotations

import discord

from cogs import _options, _text
from engine.types import Generation

HEADLINE = "Picture {id}"
COPY = "Copy this to make the same picture again:"
COPY_FILE = "The attached command makes the same picture again."

_MAX_DESCRIPTION = 4096
_MAX_FIELD = 1024


def card(generation: Generation, style: str = "") -> tuple[discord.Embed, str | None]:
    """Returns the card, and the command as a file's text when the card cannot show it unchanged.

    `style` is what stands for the request's LoRAs.
    """
    request = generation.request
    line = _options.command_line(request, style)
    block = f"{COPY}\n```\n{line}\n```"
    text = line if "```" in line or _text.length(block) > _MAX_DESCRIPTION else None
    embed = discord.Embed(
        title=HEADLINE.format(id=generation.id),
        description=block if text is None else COPY_FILE,
        timestamp=generation.created_at,
    )
    fields = {
        "Size": f"{request.width} x {request.height}",
        "Steps": str(request.num_inference_steps),
        "Guidance": f"{request.guidance_scale:g}",
        "Sampler": str(request.sampler),
        "Seed" if len(generation.seeds) == 1 else "Seeds": ", ".join(map(str, generation.seeds)),
        "Model": request.model,
        "Time": f"{generation.seconds:.1f} s",
    }
    second = request.second_pass
    if second is not None:
        fields["Second pass"] = f"{second.scale:g}x the size, strength {second.strength:g}"
    if request.strength is not None:
        fields["Strength"] = f"{request.strength:g}"
    if style:
        fields["Style"] = style
    if request.full_prompt != request.prompt:
        fields["Read as"] = request.full_prompt
    if generation.submission.action != "imagine":
        fields["Made by"] = generation.submission.action
    if generation.submission.parent_id is not None:
        fields["Made from"] = generation.submission.parent_id
    for name, value in fields.items():
        embed.add_field(name=name, value=_text.shown(value, _MAX_FIELD) or "-")
    if generation.warnings:
        notes = _text.shown(" ".join(generation.warnings), _MAX_FIELD)
        embed.add_field(name="Notes", value=notes, inline=False)
    return embed, text
