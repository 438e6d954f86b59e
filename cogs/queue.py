"""`/queue`: a person's waiting jobs, and how to end one."""

from typing import Any

import discord
from discord import app_commands
from discord.app_commands import Choice, Range
from discord.ext import commands

from cogs import _answer, _pages, _text
from cogs._desk import Desk
from cogs._language import N_, t
from engine.errors import InvalidRequestError, NotAllowedError, UnknownJobError
from engine.types import Job

NOT_WAITING = N_(
    "You have no such job waiting. Choose one from the list that appears while you type."
)
SEVERAL = N_(
    "{count} of your jobs have these words. Choose one from the list that appears while you type."
)
CANCELLED = N_("Cancelled: **{title}**. The cost was given back.")
ENDED = N_("This job has ended already.")


@app_commands.allowed_installs(guilds=True, users=True)
@app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
class Queue(commands.GroupCog, group_name="queue", group_description="Your waiting jobs."):
    """Shows people where their jobs stand; only they see it."""

    def __init__(self, desk: Desk) -> None:
        """Takes the parts of the bot."""
        super().__init__()
        self._desk = desk

    @app_commands.command(description="See where your jobs are in line.")
    async def view(self, interaction: discord.Interaction) -> None:
        """Answers with the list."""
        page = await _answer.in_time(
            interaction, _pages.waiting(self._desk, interaction.user.id), ephemeral=True
        )
        await _answer.answer(interaction, ephemeral=True, embed=page.embed)

    @app_commands.command(description="End one of your jobs; its cost is given back.")
    @app_commands.describe(job="Type words of its prompt, or its id")
    async def cancel(self, interaction: discord.Interaction, job: Range[str, 1, 100]) -> None:
        """Cancels the job; its status line says so, too."""

        async def work() -> tuple[Job, bool]:
            found = await self._own(interaction.user.id, job)
            return found, await self._desk.parts.queue.cancel(found.id)

        found, is_cancelled = await _answer.in_time(interaction, work(), ephemeral=True)
        title = _text.shown(found.request.prompt, 300)
        text = t(CANCELLED, title=title) if is_cancelled else t(ENDED)
        await _answer.answer(interaction, text, ephemeral=True)

    @cancel.autocomplete("job")
    async def _jobs(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        return await _pages.waiting_choices(self._desk, interaction.user.id, current)

    async def _own(self, owner_id: int, typed: str) -> Job:
        """Returns the job with the id, or else the only one with these words."""
        try:
            job = await self._desk.parts.jobs.get(_pages.id_of(typed))
        except UnknownJobError as error:
            found = await _pages.waiting_matches(self._desk, owner_id, typed)
            if len(found) > 1:
                raise InvalidRequestError(SEVERAL, count=len(found)) from error
            if not found:
                raise UnknownJobError(NOT_WAITING) from error
            return found[0]
        if job.owner_id != owner_id:
            raise NotAllowedError(NOT_WAITING)
        return job


async def setup(bot: Any) -> None:
    """Adds the cog; called by discord.py."""
    await bot.add_cog(Queue(bot.desk))
