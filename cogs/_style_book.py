"""What people see of the styles: their own one, pages to browse with previews, one with all its facts."""

from __future__ import annotations

import asyncio
import dataclasses

import discord

from cogs import _answer, _buttons, _counts, _drawings, _pages, _styles, _text
from cogs._album import Page
from cogs._buttons import MINE, Action, Press
from cogs._desk import Desk, desk_of
from cogs._language import N_, t, told
from engine.errors import UnknownAdapterError
from engine.lora.layers import FAMILIES
from engine.style_shelf import Shelf, key_of
from engine.types import InstalledAdapter
from storage.people import Preferences

BROWSE = "styles"
USE = "style_use"
CLEAR = "style_clear"

PAGE = 6  # three a row, as the buttons below them
NO_STYLES = N_(
    "There are no styles here yet. The owners of this bot can add LoRA files with /admin lora add."
)
NOTHING_FOUND = N_("No style is called like that.")
NO_STYLE = N_("You have no style. Choose one, or draw without.")
CLEARED = N_("Your pictures are drawn without a style now.")
GONE = N_("This style is not there any more. Choose another one with /styles browse.")
SHA = 16  # characters of a hash in a button
_MAX_QUERY = 50


def current(desk: Desk, interaction: discord.Interaction) -> tuple[str, discord.ui.View]:
    """Returns what the person's style is, with the buttons to change it."""
    mine = desk.parts.people.preferences(interaction.user.id)
    styles = desk.parts.styles.here(interaction.guild_id)
    browse = _buttons.button(Press(MINE, BROWSE), t("Browse"))
    if mine.style is None:
        return t(NO_STYLE), _view(browse)
    lines = [t("Your style is **{style}**.", style=_text.shown(mine.style, 400))]
    try:
        for one in _styles.resolve(styles, mine.style, mine.mixes or {}):
            name = _text.shown(styles.name_of(one.sha256), 60)
            weight = f"{one.weight:g}"
            line = t("{style}: weight {weight}", style=name, weight=weight)
            if one.trigger:
                line = t(
                    '{style}: weight {weight}, called with "{words}"',
                    style=name,
                    weight=weight,
                    words=_text.shown(one.trigger, 60),
                )
            lines.append(f"-# {line}")
    except UnknownAdapterError as error:
        lines.append(_text.shown(told(error), 300))
    return "\n".join(lines), _view(browse, _buttons.button(Press(MINE, CLEAR), t("Clear")))


async def set_style(desk: Desk, user: discord.abc.User, text: str | None) -> None:
    """Stores the person's style; None for none."""
    await _store(desk, user, style=text)


async def set_mix(desk: Desk, user: discord.abc.User, name: str, text: str | None) -> None:
    """Stores what a name stands for; None forgets it."""
    mixes = dict(desk.parts.people.preferences(user.id).mixes or {})
    for known in [one for one in mixes if key_of(one) == key_of(name)]:
        del mixes[known]
    if text is not None:
        mixes[name] = text
    await _store(desk, user, mixes=mixes or None)


async def page(desk: Desk, here: Shelf, query: str = "", number: int = 0) -> Page:
    """Returns some of the styles of a place with their previews and a button for each."""
    styles = desk.parts.styles
    known = here.usable()
    wanted = key_of(query)
    found = [one for one in known if wanted in key_of(" ".join([one.name, *one.trigger_words]))]
    pages = max(-(-len(found) // PAGE), 1)
    number = min(number, pages - 1)
    shown = found[number * PAGE : (number + 1) * PAGE]
    embed = discord.Embed(title=t("Styles"))
    if not shown:
        embed.description = t(NOTHING_FOUND if known else NO_STYLES)
        return Page(embed)
    embed.description = "\n".join(_line(one) for one in shown)
    embed.set_footer(
        text=_pages.joined(
            (
                t("Page {number} of {count}", number=number + 1, count=pages),
                _counts.styles(len(found)),
            )
        )
    )
    embed.set_image(url="attachment://pictures.webp")
    view = discord.ui.View(timeout=None)
    for index, one in enumerate(shown):
        _add(view, Press(MINE, USE, 0, one.sha256[:SHA]), _text.plain(one.name, 40), index // 3)
    rest = query[:_MAX_QUERY]
    if number > 0:
        _add(view, Press(MINE, BROWSE, number - 1, rest), t("Back"), 2)
    if number + 1 < pages:
        _add(view, Press(MINE, BROWSE, number + 1, rest), t("More"), 2)
    pictures = [await styles.preview(one.sha256) for one in shown]
    names = [one.name for one in shown]
    sheet = await asyncio.to_thread(_drawings.contact_sheet, pictures, 3, names)
    alt_text = _text.plain(
        t("Previews of the styles {names}", names=", ".join(names)), _text.MAX_ALT_TEXT
    )
    return Page(embed, view, sheet, alt_text)


async def facts(desk: Desk, style: InstalledAdapter) -> Page:
    """Returns everything about one style."""
    embed = discord.Embed(title=_text.shown(style.name, 200))
    embed.description = _text.shown(style.description, 1000) or None
    fields = {
        N_("Called with"): ", ".join(style.trigger_words)
        or t("nothing: it is enough to choose it"),
        N_("Weight"): t("{weight} unless you say another", weight=f"{style.default_weight:g}"),
        N_("Made for"): FAMILIES.get(style.family, style.family),
        N_("Size"): t("{size:.1f} MiB", size=style.size_bytes / 2**20),
        N_("SHA-256"): f"{style.sha256[:10]}\N{HORIZONTAL ELLIPSIS}",
    }
    for name, value in fields.items():
        embed.add_field(name=t(name), value=_text.shown(value, 1000))
    view = _view(_buttons.button(Press(MINE, USE, 0, style.sha256[:SHA]), t("Use")))
    png = await desk.parts.styles.preview(style.sha256)
    if png is None:
        return Page(embed, view)
    embed.set_image(url="attachment://pictures.webp")
    sheet = await asyncio.to_thread(_drawings.contact_sheet, [png], 1, [style.name])
    return Page(embed, view, sheet, _text.plain(t("A preview of {name}", name=style.name), 200))


async def browse(interaction: discord.Interaction, press: Press) -> None:
    """Turns to a page."""
    desk = desk_of(interaction)
    here = desk.parts.styles.here(interaction.guild_id)
    turned = await _answer.in_time(
        interaction, page(desk, here, press.rest, press.index), ephemeral=True
    )
    has_pages = interaction.message is not None and bool(interaction.message.embeds)
    if has_pages and not interaction.response.is_done():
        await interaction.response.edit_message(
            embed=turned.embed, view=turned.view, attachments=turned.files()
        )
        return
    await _answer.answer(
        interaction, ephemeral=True, embed=turned.embed, view=turned.view, files=turned.files()
    )


async def use(interaction: discord.Interaction, press: Press) -> None:
    """Makes a style the presser's own."""
    desk = desk_of(interaction)
    sha, _, weight = press.rest.partition(":")
    usable = desk.parts.styles.here(interaction.guild_id).usable()
    style = next((s for s in usable if s.sha256.startswith(sha)), None)
    if style is None or not sha:
        raise UnknownAdapterError(GONE)
    text = f"{style.name}:{weight}" if weight else style.name
    await _answer.in_time(interaction, set_style(desk, interaction.user, text), ephemeral=True)
    await _show(interaction, desk)


async def clear(interaction: discord.Interaction, _: Press) -> None:
    """Lets the presser draw without a style."""
    desk = desk_of(interaction)
    await _answer.in_time(interaction, set_style(desk, interaction.user, None), ephemeral=True)
    if interaction.response.is_done():
        await _answer.answer(interaction, t(CLEARED), ephemeral=True)
        return
    view = current(desk, interaction)[1]
    await interaction.response.edit_message(content=t(CLEARED), view=view)


ACTIONS: dict[str, Action] = {BROWSE: browse, USE: use, CLEAR: clear}


async def _show(interaction: discord.Interaction, desk: Desk) -> None:
    content, view = current(desk, interaction)
    await _answer.answer(interaction, content, ephemeral=True, view=view)


async def _store(desk: Desk, user: discord.abc.User, **changes: object) -> None:
    people = desk.parts.people
    now: Preferences = dataclasses.replace(people.preferences(user.id), **changes)  # type: ignore[arg-type]
    await people.set_preferences(user.id, user.display_name, now)


def _line(style: InstalledAdapter) -> str:
    called = ", ".join(style.trigger_words[:3])
    tail = f" — {_text.shown(called, 120)}" if called else ""
    weight = ""
    if style.default_weight != 1:
        weight = " · " + t("weight {weight}", weight=f"{style.default_weight:g}")
    return f"**{_text.shown(style.name, 60)}**{tail}{weight}"


def _add(view: discord.ui.View, press: Press, label: str, row: int) -> None:
    button = _buttons.button(press, label)
    button.row = row
    view.add_item(button)


def _view(*buttons: _buttons.JobButton) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for button in buttons:
        view.add_item(button)
    return view
