"""`/history`: a person's own pictures, searched, shown again, starred, traced and taken along."""

from typing import Any

import discord
from discord import app_commands
from discord.app_commands import Choice, Range
from discord.ext import commands

from cogs import (
    _album,
    _answer,
    _buttons,
    _exports,
    _family,
    _info,
    _parcel,
    _recipe,
    _search,
    _sharing,
    _styles,
    _text,
)
from cogs._desk import Desk
from cogs._recipe import Recipe
from cogs._search import MAX_WORDS
from engine.types import Generation

_WORDS = "Words of the prompt, in any order"
_STYLE = 'A style that they were drawn in, also one that is gone; "none" for no style'
_SINCE = "From which day on: 2026-01-31, today, 7 days, 3 weeks"
_STARRED = "Only what you starred, whoever made it"
_PICTURE = "Type words of its prompt, or its id"


@app_commands.allowed_installs(guilds=True, users=True)
@app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
class History(
    commands.GroupCog, group_name="history", group_description="The pictures that you have made."
):
    """Shows people what they made; only they see it."""

    def __init__(self, desk: Desk) -> None:
        """Takes the parts of the bot."""
        super().__init__()
        self._desk = desk

    @app_commands.command(name="list", description="See your pictures, the newest first.")
    @app_commands.describe(query=_WORDS, style=_STYLE, since=_SINCE, starred=_STARRED)
    async def list_(
        self,
        interaction: discord.Interaction,
        query: Range[str, 1, MAX_WORDS] | None = None,
        style: Range[str, 1, 60] | None = None,
        since: Range[str, 1, 40] | None = None,
        starred: bool = False,
    ) -> None:
        """Answers with the first page."""
        wanted = _search.wanted(self._desk, query, style, since, starred=starred)
        page = await _answer.in_time(
            interaction, _album.page(self._desk, interaction.user.id, wanted), ephemeral=True
        )
        await _answer.answer(
            interaction, ephemeral=True, embed=page.embed, view=page.view, files=page.files()
        )

    @app_commands.command(description="Show one of your pictures again.")
    @app_commands.describe(picture=_PICTURE)
    async def show(self, interaction: discord.Interaction, picture: Range[str, 1, 100]) -> None:
        """Answers with the pictures, their parameters and their buttons."""

        async def work() -> tuple[Generation, Recipe, list[discord.File]]:
            generation = await _album.pick(self._desk, interaction.user.id, picture)
            recipe = await _recipe.of(self._desk, generation, interaction.user.id)
            files = await _parcel.files_of(
                generation.id,
                generation.pictures,
                self._desk.parts.pictures,
                interaction.filesize_limit,
                alt_text=_text.plain(generation.request.prompt, _text.MAX_ALT_TEXT),
                spoiler=generation.submission.destination.spoiler,
            )
            return generation, recipe, files

        generation, recipe, files = await _answer.in_time(interaction, work(), ephemeral=True)
        embed, _ = _info.card(
            generation,
            recipe,
            _styles.written(self._desk.parts.styles, generation.request.adapters),
        )
        await _answer.answer(
            interaction,
            ephemeral=True,
            embed=embed,
            view=_buttons.result_view(
                generation.id,
                len(generation.pictures),
                can_publish=_sharing.can_publish(generation, interaction.user.id),
            ),
            files=files,
        )

    @app_commands.command(description="See where a picture comes from, and what came of it.")
    @app_commands.describe(picture=_PICTURE)
    async def tree(self, interaction: discord.Interaction, picture: Range[str, 1, 100]) -> None:
        """Answers with a drawing of its parents and children."""

        async def work() -> tuple[discord.Embed, discord.File]:
            generation = await _album.pick(self._desk, interaction.user.id, picture)
            return await _family.tree(self._desk, interaction.user.id, generation.id)

        embed, file = await _answer.in_time(interaction, work(), ephemeral=True)
        await _answer.answer(interaction, ephemeral=True, embed=embed, files=[file])

    @app_commands.command(description="Star one of your pictures, or take its star away.")
    @app_commands.describe(picture=_PICTURE, remove="Take the star away")
    async def star(
        self,
        interaction: discord.Interaction,
        picture: Range[str, 1, 100],
        remove: bool = False,
    ) -> None:
        """Answers with what the picture has now."""

        async def work() -> None:
            generation = await _album.pick(self._desk, interaction.user.id, picture)
            gallery = self._desk.parts.gallery
            await gallery.set_star(interaction.user.id, generation.id, on=not remove)

        await _answer.in_time(interaction, work(), ephemeral=True)
        text = _sharing.UNSTARRED if remove else _sharing.STARRED
        await _answer.answer(interaction, text, ephemeral=True)

    @app_commands.command(description="Download your pictures with everything that made them.")
    @app_commands.describe(query=_WORDS, style=_STYLE, since=_SINCE, starred=_STARRED)
    async def export(
        self,
        interaction: discord.Interaction,
        query: Range[str, 1, MAX_WORDS] | None = None,
        style: Range[str, 1, 60] | None = None,
        since: Range[str, 1, 40] | None = None,
        starred: bool = False,
    ) -> None:
        """Answers with ZIP files."""
        wanted = _search.wanted(self._desk, query, style, since, starred=starred)
        await _exports.pictures(interaction, self._desk, wanted)

    @show.autocomplete("picture")
    @tree.autocomplete("picture")
    async def _pictures(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        return await _album.choices(self._desk, interaction.user.id, current)

    @star.autocomplete("picture")
    async def _to_star(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        is_starred = bool(interaction.namespace.remove)
        return await _album.choices(self._desk, interaction.user.id, current, starred=is_starred)

    @list_.autocomplete("since")
    @export.autocomplete("since")
    async def _dates(self, _: discord.Interaction, current: str) -> list[Choice[str]]:
        return _search.since_choices(current)

    @list_.autocomplete("style")
    @export.autocomplete("style")
    async def _style_names(self, _: discord.Interaction, current: str) -> list[Choice[str]]:
        return _styles.choices(self._desk.parts.styles, {}, current.replace(",", " "))


async def setup(bot: Any) -> None:
    """Adds the cog; called by discord.py."""
    await bot.add_cog(History(bot.desk))
