"""`/admin queue`: the jobs of a server, and how the one queue of all servers goes on."""

import discord
from discord import app_commands
from discord.app_commands import Choice, Range

from cogs import _answer, _authority, _server_jobs, _text
from cogs._authority import Reach, only
from cogs._desk import Desk, desk_of
from cogs._language import N_, t
from engine.types import Flow, Job

CANCELLED_A_JOB = "cancelled a job"  # acts in the audit
BUMPED_A_JOB = "put a job to the front"

CANCELLED = N_("Cancelled: **{title}** of {person}. The cost was given back.")
ENDED = N_("This job has ended already.")
BUMPED = N_("It is the next one that starts.")
BEGUN = N_("The engine has it already: nothing is before it.")
PAUSED = N_(
    "Paused, also after a restart: what runs is finished, what waits stays in line, and new jobs "
    "wait behind it. /admin queue resume lets it go on."
)
DRAINING = N_(
    "The queue runs empty, also after a restart: what was accepted is made, and nothing new is taken. "
    "/admin queue resume opens it again."
)
OPEN = N_("The queue goes on.")
_ANSWERS = {Flow.PAUSED: PAUSED, Flow.DRAINING: DRAINING, Flow.OPEN: OPEN}
_JOB = "Type words of its prompt, or its id"


class QueueGroup(app_commands.Group):
    """Managers see and end what was asked for in their server; the owners move the queue."""

    def __init__(self) -> None:
        """Needs nothing: the desk comes with each interaction."""
        super().__init__(name="queue", description="Jobs of this server; the queue of all servers.")

    @app_commands.command(description="See the jobs that wait and run.")
    @app_commands.describe(everywhere="Of all servers; for the owners of this bot")
    @only(Reach.BOTH)
    async def view(self, interaction: discord.Interaction, everywhere: bool = False) -> None:
        """Answers with the list."""
        if everywhere:
            await _authority.require_owner(interaction)
        guild_id = None if everywhere else interaction.guild_id
        page = await _answer.in_time(
            interaction,
            _server_jobs.page(desk_of(interaction), interaction.client, guild_id),
            ephemeral=True,
        )
        await _answer.answer(interaction, ephemeral=True, embed=page.embed)

    @app_commands.command(description="End a job of this server; its cost is given back.")
    @app_commands.describe(job=_JOB)
    @only(Reach.BOTH)
    async def cancel(self, interaction: discord.Interaction, job: Range[str, 1, 100]) -> None:
        """Cancels a job of the server that the person manages; of any for the owners."""
        guild_id = await _reach(interaction)
        desk = desk_of(interaction)

        async def work() -> tuple[Job, bool]:
            found = await _server_jobs.find(desk, guild_id, job)
            desk.board.name_canceller(found.id, interaction.user.id)
            is_cancelled = await desk.parts.queue.cancel(found.id)
            if is_cancelled:
                await _note(desk, interaction, CANCELLED_A_JOB, found)
            return found, is_cancelled

        found, is_cancelled = await _answer.in_time(interaction, work(), ephemeral=True)
        private = found.submission.destination.private
        title = t(_server_jobs.PRIVATE) if private else _text.shown(found.request.prompt, 300)
        text = (
            t(CANCELLED, title=title, person=f"<@{found.owner_id}>") if is_cancelled else t(ENDED)
        )
        await _answer.answer(interaction, text, ephemeral=True)

    @app_commands.command(
        description="Put a job in front of all others; for the owners of this bot."
    )
    @app_commands.describe(job=_JOB)
    @only(Reach.OWNER)
    async def bump(self, interaction: discord.Interaction, job: Range[str, 1, 100]) -> None:
        """Moves any server's job."""
        desk = desk_of(interaction)

        async def work() -> bool:
            found = await _server_jobs.find(desk, None, job)
            is_bumped = await desk.parts.queue.bump(found.id)
            if is_bumped:
                await _note(desk, interaction, BUMPED_A_JOB, found)
            return is_bumped

        is_bumped = await _answer.in_time(interaction, work(), ephemeral=True)
        await _answer.answer(interaction, t(BUMPED if is_bumped else BEGUN), ephemeral=True)

    @app_commands.command(
        description="Start no more jobs, but take them; for the owners of this bot."
    )
    @only(Reach.OWNER)
    async def pause(self, interaction: discord.Interaction) -> None:
        """Lets everything wait but what runs."""
        await _set_flow(interaction, Flow.PAUSED)

    @app_commands.command(description="Let the queue go on; for the owners of this bot.")
    @only(Reach.OWNER)
    async def resume(self, interaction: discord.Interaction) -> None:
        """Ends a pause, or opens the queue again."""
        await _set_flow(interaction, Flow.OPEN)

    @app_commands.command(description="Make what waits and take nothing new; for the owners.")
    @only(Reach.OWNER)
    async def drain(self, interaction: discord.Interaction) -> None:
        """Lets the queue run empty."""
        await _set_flow(interaction, Flow.DRAINING)

    @cancel.autocomplete("job")
    @only(Reach.BOTH)
    async def _jobs(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        guild_id = await _reach(interaction)
        return await _server_jobs.choices(desk_of(interaction), guild_id, current)

    @bump.autocomplete("job")
    @only(Reach.OWNER)
    async def _all_jobs(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        return await _server_jobs.choices(desk_of(interaction), None, current)


async def _reach(interaction: discord.Interaction) -> int | None:
    """Returns the server whose jobs the person may end; None for all of them.

    Raises:
        NotAllowedError: None at all.
    """
    if await _authority.is_owner(interaction):
        return None
    return _authority.require_manager(interaction)


async def _set_flow(interaction: discord.Interaction, flow: Flow) -> None:
    parts = desk_of(interaction).parts
    await _answer.in_time(
        interaction, parts.operation.set_flow(flow, actor_id=interaction.user.id), ephemeral=True
    )
    parts.queue.set_flow(flow)
    await _answer.answer(interaction, t(_ANSWERS[flow]), ephemeral=True)


async def _note(desk: Desk, interaction: discord.Interaction, act: str, job: Job) -> None:
    guild_id = job.submission.destination.guild_id
    await desk.parts.audit.add(
        interaction.user.id, act, job_id=job.id, owner_id=job.owner_id, guild_id=guild_id
    )
