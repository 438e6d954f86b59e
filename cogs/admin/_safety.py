"""`/admin safety`: which words, pictures and reports are dealt with how."""

import discord
from discord import app_commands
from discord.app_commands import Choice, Range

from cogs import _authority, _blocked_words, _classifier, _reports
from cogs._authority import Reach, only
from storage.safety import Classifier

_SCOPE = "This server, or all servers and DMs (the bot's owners only)"
_SCOPES = [
    Choice(name="this server", value=_blocked_words.SERVER),
    Choice(name="everywhere", value=_blocked_words.ALL),
]


class SafetyGroup(app_commands.Group):
    """What a server does not want to see."""

    def __init__(self) -> None:
        """Needs nothing: the desk comes with each interaction."""
        super().__init__(name="safety", description="What must not be asked for or shown here.")

    @app_commands.command(description="Words that no prompt may have, however they are written.")
    @app_commands.describe(
        action="What to do with the list",
        words="Words or phrases with commas between them; * at the end stands for any ending",
        scope=_SCOPE,
    )
    @app_commands.choices(
        action=[
            Choice(name="add", value=_blocked_words.ADD),
            Choice(name="remove", value=_blocked_words.REMOVE),
            Choice(name="list", value=_blocked_words.LIST),
        ],
        scope=_SCOPES,
    )
    @only(Reach.BOTH)
    async def words(
        self,
        interaction: discord.Interaction,
        action: str,
        words: Range[str, 1, 4000] | None = None,
        scope: str = _blocked_words.SERVER,
    ) -> None:
        """Changes or shows the list."""
        await _blocked_words.run(interaction, action, words, scope)

    @app_commands.command(description="Where reports of pictures in this server go.")
    @app_commands.describe(
        channel="A channel of the moderators; what is set is shown when both are left out",
        off="Leave the reports to the owners of this bot again",
    )
    @only(Reach.SERVER)
    async def reports(
        self,
        interaction: discord.Interaction,
        channel: discord.TextChannel | None = None,
        off: bool = False,
    ) -> None:
        """Sets the channel, ends it, or says which it is."""
        guild_id = _authority.require_manager(interaction)
        await _reports.set_channel(interaction, guild_id, channel, off=off)

    @app_commands.command(
        description="What becomes of pictures that a safety checker finds unsafe."
    )
    @app_commands.describe(mode="What happens to them; what is set is shown when it is left out")
    @app_commands.choices(
        mode=[
            Choice(name="off: they are shown", value=Classifier.OFF.value),
            Choice(name="spoiler: hidden until clicked", value=Classifier.SPOILER.value),
            Choice(name="hold: a moderator decides first", value=Classifier.HOLD.value),
            Choice(name="block: they are not shown", value=Classifier.BLOCK.value),
        ]
    )
    @only(Reach.SERVER)
    async def classifier(self, interaction: discord.Interaction, mode: str | None = None) -> None:
        """Sets the mode, or says which it is."""
        guild_id = _authority.require_manager(interaction)
        await _classifier.choose(interaction, guild_id, mode)
