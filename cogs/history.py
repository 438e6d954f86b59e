"""`/history`: a person's own pictures, listed or shown again."""

from typing import Any

import discord
from discord import app_commands
from discord.app_commands import Choice, Range
from discord.ext import commands

from cogs import _answer, _buttons, _info, _pages, _parcel, _text
from cogs._desk import Desk
from engine.errors import NotAllowedError, UnknownJobError
from engine.types import Generation

NOT_IN_HISTORY = "There is no such picture in your history. Choose one from the list that appears while you type."
WAS_DELETED = "This picture was deleted."


@app_commands.allowed_installs(guilds=True, users=False)
@app_commands.allowed_contexts(guilds=True, dms=True, private_channels=False)
class History(
    commands.GroupCog, group_name="history", group_description="The pictures that you have made."
):
    """Shows people what they made; only they see it."""

    def __init__(self, desk: Desk) -> None:
        """Takes the parts of the bot."""
        super().__init__()
        self._desk = desk

    @app_commands.command(name="list", description="List your newest pictures.")
    async def list_(self, interaction: discord.Interaction) -> None:
        """Answers with the first page."""
        page = await _answer.in_time(
            interaction, _pages.history(self._desk, interaction.user.id), ephemeral=True
        )
        await _answer.answer(interaction, ephemeral=True, embed=page.embed, view=page.view)

    @app_commands.command(description="Show one of your pictures again.")
    @app_commands.describe(picture="Type words of its prompt, or its id")
    async def show(self, interaction: discord.Interaction, picture: Range[str, 1, 100]) -> None:
        """Answers with the pictures, their parameters and their buttons."""

        async def work() -> tuple[Generation, list[discord.File]]:
            generation = await self._own(interaction.user.id, picture)
            files = await _parcel.files_of(
                generation.id,
                generation.pictures,
                self._desk.parts.pictures,
                interaction.filesize_limit,
                alt_text=_text.plain(generation.request.prompt, _text.MAX_ALT_TEXT),
                spoiler=generation.submission.destination.spoiler,
            )
            return generation, files

        generation, files = await _answer.in_time(interaction, work(), ephemeral=True)
        embed, _ = _info.card(generation)
        await _answer.answer(
            interaction,
            ephemeral=True,
            embed=embed,
            view=_buttons.result_view(generation.id),
            files=files,
        )

    @show.autocomplete("picture")
    async def _pictures(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        return await _pages.history_choices(self._desk, interaction.user.id, current)

    async def _own(self, owner_id: int, typed: str) -> Generation:
        """Returns the picture with the id, or else the newest one with these words."""
        try:
            generation = await self._desk.parts.history.get(_pages.id_of(typed))
        except UnknownJobError as error:
            found = await _pages.history_matches(self._desk, owner_id, typed)
            if not found:
                raise UnknownJobError(NOT_IN_HISTORY) from error
            return found[0]
        if generation.submission.owner_id != owner_id:
            raise NotAllowedError(NOT_IN_HISTORY)
        if generation.deleted_at is not None:
            raise UnknownJobError(WAS_DELETED)
        return generation


async def setup(bot: Any) -> None:
    """Adds the cog; called by discord.py."""
    await bot.add_cog(History(bot.desk))
