"""`/pose` and `/poses`: pictures that follow the pose, edges or depth of another one, and poses to keep."""

from typing import Any

import discord
from discord import app_commands
from discord.app_commands import Choice, Range
from discord.ext import commands

from cogs import (
    _answer,
    _controls,
    _flags,
    _options,
    _pose,
    _poses,
    _source_options,
    _sources,
    _styles,
    _text,
)
from cogs._desk import Desk
from cogs._language import N_, t
from cogs._options import ASPECTS, Options
from cogs._sources import Source
from engine.control.library import Pose
from engine.control.maps import AUTO, Fit
from engine.errors import InvalidRequestError
from engine.types import (
    MAX_ADAPTER_WEIGHT,
    MAX_CONTROL_SCALE,
    MAX_GUIDANCE_SCALE,
    MAX_IMAGES,
    MAX_PROMPT_LENGTH,
    MAX_SEED,
    MAX_STEPS,
)

NO_PICTURE = N_(
    "Which pose? Attach a picture with the option image, choose one of yours with source, or a pose of the "
    "library with pose."
)
TWO_PICTURES = N_("Give only one of image, source and pose: each of them says the whole pose.")
SAVED = N_("Saved: the pose **{name}** is yours. Use it with /pose and the option pose.")
SAVED_SHARED = N_(
    "Saved: everybody in this server can use the pose **{name}** with /pose and the option pose."
)
RENAMED = N_("The pose is called **{name}** now.")
SHARED = N_("Everybody in this server can use the pose **{name}** now.")
NOT_SHARED = N_("The pose **{name}** is not shared any more.")
DELETED = N_("The pose **{name}** is deleted.")
NO_SERVER = N_("Poses are shared with a server. Use this command in one.")

_MAX_SIDE = 4096
_FIT_NAMES = {
    Fit.CROP: "crop: fills the picture, what sticks out is cut off",
    Fit.PAD: "pad: all of it is seen",
    Fit.STRETCH: "stretch",
}


class PoseCommand(commands.Cog, name="Pose"):
    """The command that follows another picture."""

    def __init__(self, desk: Desk) -> None:
        """Takes the parts of the bot."""
        self._desk = desk

    @app_commands.command(
        description="Make a picture that follows the pose or outlines of another."
    )
    @app_commands.allowed_installs(guilds=True, users=True)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
    @app_commands.describe(
        prompt="What the picture should show",
        image="A picture with the pose: PNG, JPEG or WebP; a finished control map is used as it is",
        source="One of your pictures, by words of its prompt, or a link to a message with a picture",
        pose="A pose of the library, like waving; see /poses list",
        control="What is read from the picture; auto chooses",
        control_strength="How closely the picture follows: 0 not at all, 1 as usual, 2 at most",
        start="Share of the steps before which the picture is free, 0 to 1",
        end="Share of the steps after which the picture is free, 0 to 1",
        fit="How the pose comes into another shape; crop when left out",
        mirror="Left and right are exchanged",
        preview="Only show what is read from the picture; costs nothing",
        aspect="Shape of the picture; left out, it is that of the image",
        negative='What to keep out of the picture; "none" for nothing at all',
        model="The model that draws",
        width="Width in pixels; with an aspect, the height follows",
        height="Height in pixels; with an aspect, the width follows",
        count=f"How many pictures, 1 to {MAX_IMAGES}",
        seed=f"0 to {MAX_SEED}; the same seed and options give the same picture",
        steps=f"1 to {MAX_STEPS}; more take longer and are a little finer",
        guidance=f"0 to {MAX_GUIDANCE_SCALE:g}; how closely the picture follows the words",
        sampler="The method that turns noise into the picture",
        style='Looks to draw in, like neon, or several: neon:0.7, sepia:0.4; "none" for no style',
        style_strength="0 to 2; 1 is full",
        private="Only you see the picture",
    )
    @app_commands.choices(
        aspect=[Choice(name=aspect, value=aspect) for aspect in (_pose.MATCH, *ASPECTS)],
        fit=[Choice(name=name, value=str(fit)) for fit, name in _FIT_NAMES.items()],
    )
    async def pose(
        self,
        interaction: discord.Interaction,
        prompt: Range[str, 1, MAX_PROMPT_LENGTH],
        image: discord.Attachment | None = None,
        source: Range[str, 1, 200] | None = None,
        pose: Range[str, 1, 100] | None = None,
        control: str | None = None,
        control_strength: Range[float, 0.0, MAX_CONTROL_SCALE] | None = None,
        start: Range[float, 0.0, 1.0] | None = None,
        end: Range[float, 0.0, 1.0] | None = None,
        fit: str | None = None,
        mirror: bool = False,
        preview: bool = False,
        aspect: str | None = None,
        negative: Range[str, 0, MAX_PROMPT_LENGTH] | None = None,
        model: str | None = None,
        width: Range[int, 8, _MAX_SIDE] | None = None,
        height: Range[int, 8, _MAX_SIDE] | None = None,
        count: Range[int, 1, MAX_IMAGES] | None = None,
        seed: Range[int, 0, MAX_SEED] | None = None,
        steps: Range[int, 1, MAX_STEPS] | None = None,
        guidance: Range[float, 0.0, MAX_GUIDANCE_SCALE] | None = None,
        sampler: str | None = None,
        style: Range[str, 1, _styles.MAX_LENGTH] | None = None,
        style_strength: Range[float, 0.0, MAX_ADAPTER_WEIGHT] | None = None,
        private: bool | None = None,
    ) -> None:
        """Finds the picture or pose, checks the options and shows the status line or the map."""
        wish = _controls.wish_of(
            self._desk.info(),
            control=control,
            strength=control_strength,
            start=start,
            end=end,
            fit=fit,
            mirror=mirror,
        )
        options = Options(
            prompt=prompt,
            aspect=aspect,
            negative=negative,
            model=model,
            width=width,
            height=height,
            count=count,
            seed=seed,
            steps=steps,
            guidance=guidance,
            sampler=sampler,
            style=style,
            style_strength=style_strength,
        )
        options, private = _flags.read(options, private=private)
        found = await self._find(interaction, image, source, pose)
        if isinstance(found, Pose):
            _controls.check_pose(self._desk.info())
        else:
            private = _source_options.is_private(self._desk, interaction, found, private)
        wanted = _pose.asked(
            interaction,
            self._desk,
            options,
            wish,
            private=private,
            has_picture=isinstance(found, Source),
        )
        if preview:
            await _pose.preview(interaction, self._desk, found, wanted)
        elif isinstance(found, Pose):
            await _pose.place_pose(interaction, self._desk, found, wanted)
        else:
            await _pose.place(interaction, self._desk, found, wanted)

    async def _find(
        self,
        interaction: discord.Interaction,
        image: discord.Attachment | None,
        source: str | None,
        pose: str | None,
    ) -> Source | Pose:
        given = [one for one in (image, source, pose) if one is not None]
        if not given:
            raise InvalidRequestError(NO_PICTURE)
        if len(given) > 1:
            raise InvalidRequestError(TWO_PICTURES)
        if pose is not None:
            return _poses.find(self._desk, interaction.user.id, interaction.guild_id, pose).pose
        return await _source_options.find(self._desk, interaction, image, source)

    @pose.autocomplete("source")
    async def _pictures(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        return await _sources.choices(self._desk, interaction.user.id, current)

    @pose.autocomplete("pose")
    async def _pose_names(
        self, interaction: discord.Interaction, current: str
    ) -> list[Choice[str]]:
        return _poses.choices(self._desk, interaction.user.id, interaction.guild_id, current)

    @pose.autocomplete("control")
    async def _kinds(self, _: discord.Interaction, current: str) -> list[Choice[str]]:
        info = self._desk.parts.engine.info
        return _options.choices([AUTO, *_controls.kinds(info)] if info is not None else [], current)

    @pose.autocomplete("style")
    async def _style_names(
        self, interaction: discord.Interaction, current: str
    ) -> list[Choice[str]]:
        return _styles.own_choices(self._desk, interaction, current)

    @pose.autocomplete("model")
    async def _models(self, _: discord.Interaction, current: str) -> list[Choice[str]]:
        info = self._desk.parts.engine.info
        return _options.choices([info.model] if info is not None else [], current)

    @pose.autocomplete("sampler")
    async def _samplers(self, _: discord.Interaction, current: str) -> list[Choice[str]]:
        info = self._desk.parts.engine.info
        return _options.choices(
            [str(name) for name in info.samplers] if info is not None else [], current
        )


@app_commands.allowed_installs(guilds=True, users=True)
@app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
class Poses(
    commands.GroupCog, group_name="poses", group_description="Poses to use again with /pose."
):
    """The library; only the person who asks sees the answers."""

    def __init__(self, desk: Desk) -> None:
        """Takes the parts of the bot."""
        super().__init__()
        self._desk = desk

    @app_commands.command(name="list", description="See all poses that you can use.")
    async def list_(self, interaction: discord.Interaction) -> None:
        """Answers with the first page of thumbnails."""
        page = await _answer.in_time(
            interaction,
            _poses.page(self._desk, interaction.user.id, interaction.guild_id),
            ephemeral=True,
        )
        await _answer.answer(
            interaction, ephemeral=True, embed=page.embed, view=page.view, files=page.files()
        )

    @app_commands.command(description="Keep the pose of a picture under a name.")
    @app_commands.describe(
        name="What you will call it",
        image="A picture of a person, or of a skeleton: PNG, JPEG or WebP",
        source="One of your pictures, by words of its prompt, or a link to a message with a picture",
        share="Everybody in this server may use it",
    )
    async def save(
        self,
        interaction: discord.Interaction,
        name: Range[str, 1, _poses.MAX_NAME],
        image: discord.Attachment | None = None,
        source: Range[str, 1, 200] | None = None,
        share: bool = False,
    ) -> None:
        """Reads the picture and stores the joints; nothing is kept of the picture itself."""
        label = _poses.name_of(self._desk, interaction.guild_id, name)
        if share and interaction.guild_id is None:
            raise InvalidRequestError(NO_SERVER)
        _controls.check_pose(self._desk.info())
        found = await _source_options.find(self._desk, interaction, image, source)
        guild_id = interaction.guild_id if share else None

        async def work() -> None:
            made, request = await _pose.people_of(self._desk, found, interaction.user.id)
            await _pose.save(self._desk, interaction.user.id, label, made, request, guild_id)

        await _answer.in_time(interaction, work(), ephemeral=True)
        await self._say(interaction, SAVED_SHARED if share else SAVED, label)

    @app_commands.command(description="Give one of your poses another name.")
    @app_commands.describe(name="Which one", to="Its new name")
    async def rename(
        self,
        interaction: discord.Interaction,
        name: Range[str, 1, 100],
        to: Range[str, 1, _poses.MAX_NAME],
    ) -> None:
        """Stores the new name."""
        saved = _poses.own(self._desk, interaction.user.id, interaction.guild_id, name)
        label = _poses.name_of(self._desk, interaction.guild_id, to)
        self._desk.parts.moderation.check_name(saved.guild_id, label)  # perhaps of another server
        await _answer.in_time(
            interaction, self._desk.parts.poses.rename(saved, label), ephemeral=True
        )
        await self._say(interaction, RENAMED, label)

    @app_commands.command(description="Let everybody in this server use one of your poses.")
    @app_commands.describe(name="Which one", on="False: not any more (moderators: of anybody's)")
    async def share(
        self, interaction: discord.Interaction, name: Range[str, 1, 100], on: bool = True
    ) -> None:
        """Shares it, or ends that."""
        if on and interaction.guild_id is None:
            raise InvalidRequestError(NO_SERVER)
        saved = await _poses.share(interaction, name, on=on)
        await self._say(interaction, SHARED if on else NOT_SHARED, saved.name)

    @app_commands.command(description="Delete one of your poses.")
    @app_commands.describe(name="Which one")
    async def delete(self, interaction: discord.Interaction, name: Range[str, 1, 100]) -> None:
        """Removes it."""
        saved = _poses.own(self._desk, interaction.user.id, interaction.guild_id, name)
        await _answer.in_time(interaction, self._desk.parts.poses.delete(saved), ephemeral=True)
        await self._say(interaction, DELETED, saved.name)

    async def _say(self, interaction: discord.Interaction, text: str, name: str) -> None:
        await _answer.answer(interaction, t(text, name=_text.shown(name, 100)), ephemeral=True)

    @save.autocomplete("source")
    async def _pictures(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        return await _sources.choices(self._desk, interaction.user.id, current)

    @rename.autocomplete("name")
    @delete.autocomplete("name")
    async def _own_names(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        return _poses.choices(
            self._desk, interaction.user.id, interaction.guild_id, current, own_only=True
        )

    @share.autocomplete("name")
    async def _saved_names(
        self, interaction: discord.Interaction, current: str
    ) -> list[Choice[str]]:
        return _poses.choices(
            self._desk,
            interaction.user.id,
            interaction.guild_id,
            current,
            own_only=not interaction.permissions.manage_messages,
        )


async def setup(bot: Any) -> None:
    """Adds the cogs; called by discord.py."""
    await bot.add_cog(PoseCommand(bot.desk))
    await bot.add_cog(Poses(bot.desk))
