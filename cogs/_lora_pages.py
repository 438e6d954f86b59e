"""What admins see of the styles: all that are registered, with the reasons why some are not used, and one's facts."""

from __future__ import annotations

import discord

from cogs import _answer, _buttons, _counts, _pages, _style_book, _text
from cogs._album import Page
from cogs._authority import Reach, only_pressed_by
from cogs._buttons import MINE, Action, Press
from cogs._desk import Desk, desk_of
from cogs._errors import stamp
from cogs._language import N_, again, t
from engine.lora.layers import FAMILIES
from engine.style_shelf import key_of
from engine.types import InstalledAdapter

LIST = "lora_list"

NOTHING = N_("There are no styles. The owners of this bot add them with /admin lora add.")
OFF_HERE = N_("off in this server")
BY_OPERATOR = N_("the operator, in the LoRA folder")
_PAGE = 15
_MAX_QUERY = 50


def styles_page(desk: Desk, guild_id: int | None, query: str = "", number: int = 0) -> Page:
    """Returns some of the registered styles, as they stand in a server."""
    wanted = key_of(query)
    found = [one for one in desk.parts.styles.registered() if wanted in key_of(one.name)]
    pages = max(-(-len(found) // _PAGE), 1)
    number = min(number, pages - 1)
    shown = found[number * _PAGE : (number + 1) * _PAGE]
    lines = [_line(desk, guild_id, one) for one in shown]
    embed = discord.Embed(title=t("Styles"), description="\n".join(lines) or t(NOTHING))
    embed.set_footer(
        text=_pages.joined(
            (
                t("Page {number} of {count}", number=number + 1, count=pages),
                _counts.styles(len(found)),
            )
        )
    )
    view = discord.ui.View(timeout=None)
    rest = query[:_MAX_QUERY]
    if number > 0:
        view.add_item(_buttons.button(Press(MINE, LIST, number - 1, rest), t("Back")))
    if number + 1 < pages:
        view.add_item(_buttons.button(Press(MINE, LIST, number + 1, rest), t("More")))
    return Page(embed, view if view.children else None)


async def facts(desk: Desk, guild_id: int | None, style: InstalledAdapter) -> Page:
    """Returns everything about one style, and how it stands in a server."""
    page = await _style_book.facts(desk, style)
    added = f"<@{style.added_by}>" if style.added_by else t(BY_OPERATOR)
    page.embed.add_field(name=t("Added by"), value=added)
    page.embed.add_field(name=t("Added"), value=stamp(style.added_at, "f"))
    page.embed.add_field(name=t("State"), value=_state(desk, guild_id, style) or t("in use"))
    return page


@only_pressed_by(Reach.BOTH)
async def turn(interaction: discord.Interaction, press: Press) -> None:
    """Turns to a page."""
    page = styles_page(desk_of(interaction), interaction.guild_id, press.rest, press.index)
    if interaction.response.is_done():
        await _answer.answer(interaction, ephemeral=True, embed=page.embed, view=page.view)
        return
    await interaction.response.edit_message(embed=page.embed, view=page.view)


ACTIONS: dict[str, Action] = {LIST: turn}


def _line(desk: Desk, guild_id: int | None, style: InstalledAdapter) -> str:
    facts = [
        f"**{_text.shown(style.name, 60)}**",
        f"{style.default_weight:g}",
        FAMILIES.get(style.family, style.family),
        t("{size:.1f} MiB", size=style.size_bytes / 2**20),
    ]
    if state := _state(desk, guild_id, style):
        facts.append(f"*{state}*")
    return _pages.joined(facts)


def _state(desk: Desk, guild_id: int | None, style: InstalledAdapter) -> str:
    """Returns why the style is not used, "" when it is."""
    styles = desk.parts.styles
    if guild_id is not None and styles.is_hidden(guild_id, style):
        return t(OFF_HERE)
    reason = styles.reason(style)
    return "" if reason is None else _text.shown(again(reason), 200)
