"""`/style` and `/styles`: choose how pictures look, browse, and save mixes."""

import dataclasses
from typing import Any

import discord
from discord import app_commands
from discord.app_commands import Choice, Range
from discord.ext import commands

from cogs import (
    _answer,
    _batch,
    _defaults,
    _fitting,
    _flags,
    _limits,
    _options,
    _sheet,
    _style_book,
    _styles,
    _text,
)
from cogs._album import Page
from cogs._batch import Wanted
from cogs._desk import Desk
from cogs._language import N_, t
from cogs._options import Options
from cogs._orders import Order
from engine import sheets
from engine.errors import InvalidRequestError
from engine.style_shelf import key_of
from engine.types import MAX_ADAPTER_WEIGHT, MAX_PROMPT_LENGTH, MAX_SEED

MAX_MIX_NAME = 30
MAX_MIXES = 25
SAVED = N_(
    "Saved: **{name}** is {text}. Use it like a style, with /style or the option style of /imagine."
)
FORGOTTEN = N_("Forgotten: there is no mix **{name}** any more.")
NO_SUCH_MIX = N_('You have no mix "{name}", so there is nothing to forget.')
BAD_NAME = N_(
    "The name of a mix takes 1 to {limit} characters, without commas and colons. Choose another one."
)
TAKEN = N_('There is a style "{name}" already. Choose another name for the mix.')
TOO_MANY = N_("You have {limit} mixes, which is the limit. Forget one with styles:none.")
NO_MIX_OF_MIXES = N_("A mix is made of styles, not of mixes. Name its styles.")


class Style(commands.Cog):
    """The command that sets a person's own style."""

    def __init__(self, desk: Desk) -> None:
        """Takes the parts of the bot."""
        self._desk = desk

    @app_commands.command(description="Choose the style of all your pictures, or see it.")
    @app_commands.allowed_installs(guilds=True, users=True)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
    @app_commands.describe(
        name='Like neon, or several: neon:0.7, sepia:0.4; "none" draws without',
        strength="0 to 2; 1 is full",
    )
    async def style(
        self,
        interaction: discord.Interaction,
        name: Range[str, 1, _styles.MAX_LENGTH] | None = None,
        strength: Range[float, 0.0, MAX_ADAPTER_WEIGHT] | None = None,
    ) -> None:
        """Stores the choice, and answers with what it is now."""
        mine = self._desk.parts.people.preferences(interaction.user.id)
        text = mine.style if name is None else name
        number = _styles.strength_of(strength)
        if number is not None and text is None:
            raise InvalidRequestError(_styles.NO_STYLE)
        if text is not None and (name is not None or number is not None):
            pieces = _styles.with_strength(_styles.parse(text), number)
            again = ", ".join(map(str, pieces))
            here = self._desk.parts.styles.here(interaction.guild_id)
            _styles.resolve(here, again, mine.mixes or {})
            await _answer.in_time(
                interaction,
                _style_book.set_style(self._desk, interaction.user, again or None),
                ephemeral=True,
            )
        content, view = _style_book.current(self._desk, interaction)
        await _answer.answer(interaction, content, ephemeral=True, view=view)

    @style.autocomplete("name")
    async def _names(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        return _styles.own_choices(self._desk, interaction, current)


@app_commands.allowed_installs(guilds=True, users=True)
@app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
class Styles(
    commands.GroupCog, group_name="styles", group_description="The styles that pictures can have."
):
    """Shows what there is; only the person who asks sees it."""

    def __init__(self, desk: Desk) -> None:
        """Takes the parts of the bot."""
        super().__init__()
        self._desk = desk

    @app_commands.command(description="See all styles with previews.")
    @app_commands.describe(query="A part of the name, or of the words that call it")
    async def browse(
        self, interaction: discord.Interaction, query: Range[str, 1, 50] | None = None
    ) -> None:
        """Answers with the first page."""
        here = self._desk.parts.styles.here(interaction.guild_id)
        await _send(interaction, await _style_book.page(self._desk, here, query or ""))

    @app_commands.command(description="Everything about a style.")
    @app_commands.describe(name="Which one")
    async def info(self, interaction: discord.Interaction, name: Range[str, 1, 100]) -> None:
        """Answers with its facts and preview."""
        style = _styles.single(self._desk.parts.styles.here(interaction.guild_id), name)
        await _send(interaction, await _style_book.facts(self._desk, style))

    @app_commands.command(
        name="try", description="One prompt and seed in several styles or weights, side by side."
    )
    @app_commands.describe(
        prompt="What the pictures should show",
        styles="Several, like neon, sepia:0.5, none; left out, the first ones there are",
        weights="Each style with each of these weights, like 0.3, 0.6, 1",
        seed="The seed of all of them",
        private="Only you see the sheet",
    )
    async def try_(
        self,
        interaction: discord.Interaction,
        prompt: Range[str, 1, MAX_PROMPT_LENGTH],
        styles: Range[str, 1, _styles.MAX_LENGTH] | None = None,
        weights: Range[str, 1, 60] | None = None,
        seed: Range[int, 0, MAX_SEED] | None = None,
        private: bool | None = None,
    ) -> None:
        """Makes the sheet, or tells its cost first."""
        parts, limits = self._desk.parts, _limits.of(interaction)
        mine = parts.people.preferences(interaction.user.id)
        options, private = _flags.read(Options(prompt, seed=seed), private=private)
        text = styles or options.style
        pieces = [one.strip() for one in str(text).split(",") if one.strip()] if text else []
        here = parts.styles.here(interaction.guild_id)
        if not pieces:
            most = sheets.MAX_CELLS if weights else _fitting.count_within(sheets.MAX_CELLS, limits)
            usable = here.usable()[: max(most - 1, 1)]
            pieces = [_styles.NONE, *(one.name for one in usable)]
        strengths = _sheet.weights_of(weights)
        found = _sheet.cells(here, pieces, strengths, mine.mixes or {})
        options, is_private = _defaults.fill(
            options, private, *_defaults.of(self._desk, interaction)
        )
        options = dataclasses.replace(options, count=1)
        base = _options.request_from(
            options,
            self._desk.info(),
            default_negative_prompt=parts.settings.default_negative_prompt,
            limits=limits,
        )
        requests = _sheet.requests_of(base, found)
        orders = tuple(
            Order(request, action=sheets.ACTION, private=is_private) for request in requests
        )
        wanted = Wanted(interaction.user.id, orders, as_sheet=True)
        await _batch.ask(interaction, self._desk, wanted)

    @app_commands.command(description="Save several styles with their weights under a name.")
    @app_commands.describe(
        name="The name of your mix", styles='Like neon:0.7, sepia:0.4; "none" forgets the mix'
    )
    async def mix(
        self,
        interaction: discord.Interaction,
        name: Range[str, 1, MAX_MIX_NAME],
        styles: Range[str, 1, _styles.MAX_LENGTH],
    ) -> None:
        """Stores the mix."""
        registry = self._desk.parts.styles.here(interaction.guild_id)
        mixes = self._desk.parts.people.preferences(interaction.user.id).mixes or {}
        label = _text.clean(name)
        key = key_of(label)
        if not key or len(label) > MAX_MIX_NAME or set(label) & set(",:") or key == _styles.NONE:
            raise InvalidRequestError(BAD_NAME, limit=MAX_MIX_NAME)
        known = {key_of(one) for one in mixes}
        pieces = _styles.parse(styles)
        shown = _text.shown(label, 100)
        if not pieces:
            if key not in known:
                raise InvalidRequestError(NO_SUCH_MIX, name=label)
            await self._store(interaction, label, None)
            await _answer.answer(interaction, t(FORGOTTEN, name=shown), ephemeral=True)
            return
        self._desk.parts.moderation.check_name(interaction.guild_id, label)
        if any(key_of(one.name) == key for one in registry.usable()):
            raise InvalidRequestError(TAKEN, name=label)
        if any(key_of(piece.name) in known | {key} for piece in pieces):
            raise InvalidRequestError(NO_MIX_OF_MIXES)
        if key not in known and len(mixes) >= MAX_MIXES:
            raise InvalidRequestError(TOO_MANY, limit=MAX_MIXES)
        _styles.resolve(registry, styles, {})
        text = ", ".join(map(str, pieces))
        await self._store(interaction, label, text)
        await _answer.answer(
            interaction, t(SAVED, name=shown, text=_text.shown(text, 400)), ephemeral=True
        )

    async def _store(self, interaction: discord.Interaction, name: str, text: str | None) -> None:
        await _answer.in_time(
            interaction,
            _style_book.set_mix(self._desk, interaction.user, name, text),
            ephemeral=True,
        )

    @info.autocomplete("name")
    async def _names(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        here = self._desk.parts.styles.here(interaction.guild_id)
        return _styles.choices(here, {}, current.replace(",", " "))

    @try_.autocomplete("styles")
    async def _own_lists(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        return _styles.own_choices(self._desk, interaction, current)

    @mix.autocomplete("styles")
    async def _lists(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        return _styles.choices(self._desk.parts.styles.here(interaction.guild_id), {}, current)


async def _send(interaction: discord.Interaction, page: Page) -> None:
    await _answer.answer(
        interaction, ephemeral=True, embed=page.embed, view=page.view, files=page.files()
    )


async def setup(bot: Any) -> None:
    """Adds the cogs; called by discord.py."""
    await bot.add_cog(Style(bot.desk))
    await bot.add_cog(Styles(bot.desk))
