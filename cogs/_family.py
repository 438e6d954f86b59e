"""The family tree of a picture: drawn with thumbnails, and told in words beside it."""

from __future__ import annotations

import asyncio
import io

import discord

from cogs import _album, _buttons, _drawings, _errors, _pages, _text
from cogs._desk import Desk
from cogs._drawings import Branch
from cogs._language import N_, t
from engine.types import Generation

TITLE = N_("Where this picture comes from, and what came of it")
ALONE = N_("It came from words alone, and nothing was made from it yet.")
CUT = N_("More distant relatives are left out.")
PRIVATE = N_("a private picture")
DELETED = N_("a deleted picture")
SHEET = "family.webp"

_MOST = 20
_TITLE = 70


async def tree(
    desk: Desk, person_id: int, generation_id: str
) -> tuple[discord.Embed, discord.File]:
    """Returns the card and the drawing; other people's private pictures stay hidden."""
    relatives, is_cut = await desk.parts.gallery.family(generation_id, limit=_MOST)
    rows = {one.generation.id: number for number, one in enumerate(relatives)}
    branches, lines = [], []
    for number, one in enumerate(relatives, 1):
        generation = one.generation
        action = _buttons.words_of(generation.submission.action)
        hidden = _hidden(generation, person_id)
        is_marked = generation.id == generation_id
        prompt = hidden or generation.request.prompt
        png = None if hidden else await _album.first_picture(desk.parts, generation)
        is_mine = generation.submission.owner_id == person_id
        name = t("you") if is_mine else _text.shown(generation.submission.owner_name, 40)
        branches.append(
            Branch(
                png=png,
                parent=None if one.parent_id is None else rows[one.parent_id],
                depth=one.depth,
                title=f"{number} \N{MIDDLE DOT} {action}",
                details=(_text.plain(prompt, 60),),  # the list beside it tells when
                is_marked=is_marked,
            )
        )
        facts = [action, name, _errors.stamp(generation.created_at)]
        if hidden is None:
            facts.insert(0, f"`{generation.id}`")
        title = _text.shown(prompt, _TITLE)
        here = " \N{LEFTWARDS ARROW} " + t("this one") if is_marked else ""
        lines.append(f"`{number}` **{title}**{here}\n{_pages.joined(facts)}")
    if len(relatives) == 1:
        lines.append(t(ALONE))
    if is_cut:
        lines.append(t(CUT))
    embed = discord.Embed(title=t(TITLE), description="\n".join(lines))
    embed.set_image(url=f"attachment://{SHEET}")
    data = await asyncio.to_thread(_drawings.family_tree, branches)
    alt_text = t("A family tree of {count} pictures", count=len(relatives))
    return embed, discord.File(io.BytesIO(data), SHEET, description=alt_text)


def _hidden(generation: Generation, person_id: int) -> str | None:
    """Returns what to say instead of the prompt; None when the person may see the picture."""
    submission = generation.submission
    if generation.deleted_at is not None:
        return t(DELETED)
    if submission.destination.private and submission.owner_id != person_id:
        return t(PRIVATE)
    return None
