"""The card with everything that decided a picture, and the command that makes it again."""

from __future__ import annotations

import discord

from cogs import _buttons, _options, _parcel, _text
from cogs._desk import Desk
from engine.errors import UnknownJobError
from engine.types import Generation

HEADLINE = "Picture {id}"
COPY = "Copy this to make the same picture again:"
COPY_FROM = "Copy this for another one from the same picture:"
COPY_AND_ATTACH = "Copy this, and attach the picture with the option image:"
COPY_FILE = "The attached command makes the same picture again."
NO_COMMAND = (
    "No command says which part was made anew. **Reroll** makes it again with another seed."
)

_MAX_DESCRIPTION = 4096
_MAX_FIELD = 1024


async def source_of(desk: Desk, generation: Generation, viewer_id: int) -> str | None:
    """Returns what the option `source` takes for the picture that this one was made from.

    None when there was none, it was attached, or it is gone.
    """
    parent_id, init_image = generation.submission.parent_id, generation.request.init_image
    if parent_id is None or init_image is None:
        return None
    try:
        parent = await desk.parts.history.get(parent_id)
    except UnknownJobError:
        return None
    if init_image not in parent.pictures:
        return None
    index = parent.pictures.index(init_image)
    if parent.submission.owner_id == viewer_id:
        return f"{parent.id}:{index + 1}" if index else parent.id
    return _parcel.link(parent) if index == 0 else None


def card(
    generation: Generation, style: str = "", source: str | None = None
) -> tuple[discord.Embed, str | None]:
    """Returns the card, and the command as a file's text when the card cannot show it unchanged.

    `style` is what stands for the request's LoRAs, `source` for the picture that it started from.
    """
    request = generation.request
    intro, line = _command(generation, style, source)
    block = f"{intro}\n```\n{line}\n```" if line else intro
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
    if request.upscaler is not None:
        fields["Upscaler"] = request.upscaler.title()
    elif request.strength is not None:
        fields["Strength"] = f"{request.strength:g} (0 keeps the picture, 1 ignores it)"
    if style:
        fields["Style"] = style
    if request.full_prompt != request.prompt:
        fields["Read as"] = request.full_prompt
    if generation.submission.action != "imagine":
        fields["Made by"] = generation.submission.action.replace("_", " ")
    if generation.submission.parent_id is not None:
        fields["Made from"] = generation.submission.parent_id
    for name, value in fields.items():
        embed.add_field(name=name, value=_text.shown(value, _MAX_FIELD) or "-")
    if generation.warnings:
        notes = _text.shown(" ".join(generation.warnings), _MAX_FIELD)
        embed.add_field(name="Notes", value=notes, inline=False)
    return embed, text


def _command(generation: Generation, style: str, source: str | None) -> tuple[str, str]:
    """Returns what to say of the command, and the command; "" when none can say it."""
    request = generation.request
    if request.init_image is None:
        return COPY, _options.command_line(request, style)
    if request.mask_image is not None:
        return NO_COMMAND, ""
    if request.upscaler is not None:
        factor = 4 if generation.submission.action == _buttons.UPSCALE_MORE else 2
        parts = [f"factor:{factor}"]
        line = "/upscale"
    else:
        parts = [
            f"prompt:{_text.clean(request.prompt)}",
            f"amount:{request.strength:g}",
            f"negative:{_text.clean(request.negative_prompt) or _options.NO_NEGATIVE}",
            f"count:{request.num_images}",
            f"style:{style or 'none'}",
        ]
        line = "/remix"
    if source is None:
        return COPY_AND_ATTACH, " ".join((line, *parts))
    return COPY_FROM, " ".join((line, f"source:{source}", *parts))
