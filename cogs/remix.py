"""`/remix`: a new picture from one of mine, from a linked one or from an attached one."""

from typing import Any

import discord
from discord import app_commands
from discord.app_commands import Choice, Range
from discord.ext import commands

from cogs import _flags, _remix, _source_options, _sources, _styles
from cogs._desk import Desk
from cogs._options import ASPECTS, Options
from engine.types import MAX_ADAPTER_WEIGHT, MAX_IMAGES, MAX_PROMPT_LENGTH

KEEP = "keep"


class Remix(commands.Cog):
    """The command that starts from a picture."""

    def __init__(self, desk: Desk) -> None:
        """Takes the parts of the bot."""
        self._desk = desk

    @app_commands.command(description="Make a new picture from another one.")
    @app_commands.allowed_installs(guilds=True, users=True)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
    @app_commands.describe(
        image="A picture to start from: PNG, JPEG or WebP",
        source="One of your pictures, by words of its prompt, or a link to a message with a picture",
        prompt="What the new picture should show; left out, it is the old prompt",
        strength="How far the picture is changed; Medium when left out",
        amount="The same as a number: 0 keeps the picture, 1 ignores it",
        keep_seed="Use the seed of the old picture again",
        count=f"How many pictures, 1 to {MAX_IMAGES}",
        aspect="Shape of the new picture; left out, it is the old shape",
        negative='What to keep out of the picture; "none" for nothing at all',
        style='Looks to draw in, like neon, or several: neon:0.7, sepia:0.4; "none" for no style',
        style_strength="0 to 2; 1 is full",
        private="Only you see the picture",
    )
    @app_commands.choices(
        strength=[Choice(name=name, value=key) for key, name in _remix.STRENGTH_NAMES.items()],
        aspect=[Choice(name=aspect, value=aspect) for aspect in (KEEP, *ASPECTS)],
    )
    async def remix(
        self,
        interaction: discord.Interaction,
        image: discord.Attachment | None = None,
        source: Range[str, 1, 200] | None = None,
        prompt: Range[str, 0, MAX_PROMPT_LENGTH] | None = None,
        strength: str | None = None,
        amount: Range[float, 0.0, 1.0] | None = None,
        keep_seed: bool = False,
        count: Range[int, 1, MAX_IMAGES] | None = None,
        aspect: str | None = None,
        negative: Range[str, 0, MAX_PROMPT_LENGTH] | None = None,
        style: Range[str, 1, _styles.MAX_LENGTH] | None = None,
        style_strength: Range[float, 0.0, MAX_ADAPTER_WEIGHT] | None = None,
        private: bool | None = None,
    ) -> None:
        """Finds the picture, checks the options and shows the status line."""
        options = Options(
            prompt=prompt,
            aspect=None if aspect == KEEP else aspect,
            negative=negative,
            count=count,
            style=style,
            style_strength=style_strength,
        )
        options, private = _flags.read(options, private=private)
        mine = _remix.own_strength(self._desk, interaction.user.id, options.image_weight)
        change = _remix.strength_of(strength, amount, mine)
        found = await _source_options.find(self._desk, interaction, image, source)
        await _remix.place(
            interaction,
            self._desk,
            found,
            options,
            strength=change,
            keep_seed=bool(keep_seed),
            private=_source_options.is_private(self._desk, interaction, found, private),
        )

    @remix.autocomplete("source")
    async def _pictures(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        return await _sources.choices(self._desk, interaction.user.id, current)

    @remix.autocomplete("style")
    async def _style_names(
        self, interaction: discord.Interaction, current: str
    ) -> list[Choice[str]]:
        return _styles.own_choices(self._desk, interaction, current)


async def setup(bot: Any) -> None:
    """Adds the cog; called by discord.py."""
    await bot.add_cog(Remix(bot.desk))
