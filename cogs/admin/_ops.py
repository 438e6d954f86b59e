"""`/admin ops`: what keeps the bot running, for its owners."""

import discord
from discord import app_commands
from discord.app_commands import Range

from cogs import _acts, _answer, _counts, _machine, _purging, _text
from cogs._authority import Reach, only
from cogs._desk import desk_of
from cogs._language import N_, t

BACKED_UP = N_(
    "Backed up: `{name}`, {size}, checked. It lists {pictures}; these files are not in it, so copy "
    "the folder of pictures elsewhere as well."
)


class OpsGroup(app_commands.Group):
    """Owners see how the bot is doing and who did what, make backups and make room."""

    def __init__(self) -> None:
        """Needs nothing: the desk comes with each interaction."""
        super().__init__(name="ops", description="How the bot runs; for its owners.")

    @app_commands.command(description="See engine, queue, speed, disk and versions.")
    @only(Reach.OWNER)
    async def status(self, interaction: discord.Interaction) -> None:
        """Answers with the card."""
        await _machine.show(interaction)

    @app_commands.command(description="See who changed what, newest first.")
    @app_commands.describe(person="Only what this person did")
    @only(Reach.OWNER)
    async def audit(
        self, interaction: discord.Interaction, person: discord.User | None = None
    ) -> None:
        """Answers with the first page."""
        await _acts.show(interaction, 0 if person is None else person.id)

    @app_commands.command(description="Back the database up now, and check the backup.")
    @only(Reach.OWNER)
    async def backup(self, interaction: discord.Interaction) -> None:
        """Answers when it is there."""
        backups = desk_of(interaction).parts.backups
        made = await _answer.in_time(interaction, backups.make(interaction.user.id), ephemeral=True)
        text = t(
            BACKED_UP,
            name=_text.code(made.file.name),
            size=_counts.size(made.size_bytes),
            pictures=_counts.pictures(made.pictures),
        )
        await _answer.answer(interaction, text, ephemeral=True)

    @app_commands.command(description="Delete old pictures that nobody starred; asks first.")
    @app_commands.describe(days="Older than so many days")
    @only(Reach.OWNER)
    async def purge(
        self, interaction: discord.Interaction, days: Range[int, 1, _purging.MAX_DAYS]
    ) -> None:
        """Says how much that would be, with a button."""
        await _purging.ask(interaction, days)
