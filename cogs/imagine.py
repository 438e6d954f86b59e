"""`/imagine`: from a prompt and options to a job with a status line."""

import asyncio
import dataclasses
from typing import Any

import discord
from discord import app_commands
from discord.app_commands import Choice, Range
from discord.ext import commands

from cogs import _batch, _defaults, _flags, _limits, _options, _styles
from cogs._desk import Desk
from cogs._language import N_
from cogs._options import ASPECTS, Options, Quality
from cogs._orders import Order, check_permissions, origin_of, submission_of
from engine import prompts
from engine.errors import InvalidRequestError
from engine.types import (
    MAX_ADAPTER_WEIGHT,
    MAX_GUIDANCE_SCALE,
    MAX_IMAGES,
    MAX_PROMPT_LENGTH,
    MAX_SEED,
    MAX_STEPS,
    GenerationRequest,
)
from storage.arrivals import Arrival

ONE_PROMPT = N_(
    "Choices in braces make several pictures, and an attached image starts only one. Give one of them."
)
_MAX_SIDE = 4096  # the model's own limit is checked with the rest
_QUALITY_NAMES = {
    Quality.DRAFT: "draft: half the steps, half the cost",
    Quality.STANDARD: "standard",
    Quality.HD: "hd: more steps, 1.5x the size, about 3x the cost",
}


class Imagine(commands.Cog):
    """The command that makes pictures from words."""

    def __init__(self, desk: Desk) -> None:
        """Takes the parts of the bot."""
        self._desk = desk

    @app_commands.command(description="Make a picture from words.")
    @app_commands.allowed_installs(guilds=True, users=True)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
    @app_commands.describe(
        prompt="What the picture should show",
        aspect="Shape of the picture, width to height; 1:1 is a square",
        negative='What to keep out of the picture; "none" for nothing at all',
        model="The model that draws",
        width="Width in pixels; with an aspect, the height follows",
        height="Height in pixels; with an aspect, the width follows",
        count=f"How many pictures, 1 to {MAX_IMAGES}",
        seed=f"0 to {MAX_SEED}; the same seed and options give the same picture",
        steps=f"1 to {MAX_STEPS}; more take longer and are a little finer",
        guidance=f"0 to {MAX_GUIDANCE_SCALE:g}; how closely the picture follows the words",
        sampler="The method that turns noise into the picture",
        image="A picture to start from: PNG, JPEG or WebP",
        strength="With an image: 0 keeps it, 1 ignores it",
        quality="How much work goes into the picture",
        style='Looks to draw in, like neon, or several: neon:0.7, sepia:0.4; "none" for no style',
        style_strength="0 to 2; 1 is full",
        private="Only you see the picture",
        spoiler="The picture is hidden until somebody clicks on it",
    )
    @app_commands.choices(
        aspect=[Choice(name=aspect, value=aspect) for aspect in ASPECTS],
        quality=[Choice(name=name, value=str(quality)) for quality, name in _QUALITY_NAMES.items()],
    )
    async def imagine(
        self,
        interaction: discord.Interaction,
        prompt: Range[str, 1, MAX_PROMPT_LENGTH],
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
        image: discord.Attachment | None = None,
        strength: Range[float, 0.0, 1.0] | None = None,
        quality: str | None = None,
        style: Range[str, 1, _styles.MAX_LENGTH] | None = None,
        style_strength: Range[float, 0.0, MAX_ADAPTER_WEIGHT] | None = None,
        private: bool | None = None,
        spoiler: bool = False,
    ) -> None:
        """Checks the options, stores the job and shows its status line."""
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
            quality=quality,
            style=style,
            style_strength=style_strength,
        )
        written = await self._written_out(prompt)
        drafts = [
            self._draft(
                interaction,
                dataclasses.replace(options, prompt=one),
                private,
                image,
                times=len(written),
            )
            for one in written
        ]
        placed = [
            Order(
                request,
                private=is_private,
                spoiler=bool(spoiler) or (image is not None and image.is_spoiler()),
                pins_model=said.model is not None,
            )
            for request, said, is_private in drafts
        ]
        change = _options.strength_of(
            strength, has_picture=image is not None, weight=drafts[0][1].image_weight
        )
        if len(placed) > 1:
            if image is not None:
                raise InvalidRequestError(ONE_PROMPT)
            wanted = _batch.Wanted(interaction.user.id, tuple(placed))
            await _batch.ask(interaction, self._desk, wanted)
            return
        if image is not None:
            said = drafts[0][1]
            takes_size = said.width is said.height is said.aspect is None
            await self._start_from(interaction, placed[0], image, change, takes_size=takes_size)
            return

        async def order() -> Order:
            return placed[0]

        await self._desk.orders.place(interaction, order, private=placed[0].private)

    async def _written_out(self, prompt: str) -> list[str]:
        """Returns the prompts that one with `{a, b}` and `__wildcards__` stands for."""
        found = prompts.permutations(prompt)
        if not any(map(prompts.has_wildcards, found)):
            return found
        folder = self._desk.parts.settings.wildcard_folder
        return await asyncio.to_thread(
            lambda: [prompts.with_wildcards(one, folder) for one in found]
        )

    def _draft(
        self,
        interaction: discord.Interaction,
        options: Options,
        private: bool | None,
        image: discord.Attachment | None,
        *,
        times: int,
    ) -> tuple[GenerationRequest, Options, bool]:
        """Returns the request, what was said with flags and defaults, and whether it is private."""
        options, said_private = _flags.read(options, private=private)
        limits = _limits.of(interaction)
        options, is_private = _defaults.fill(
            options,
            said_private,
            *_defaults.of(self._desk, interaction),
            has_picture=image is not None,
            limits=limits,
            times=times,
        )
        self._desk.parts.models.check_named(options.model)
        request = _options.request_from(
            options,
            self._desk.info(),
            default_negative_prompt=self._desk.parts.settings.default_negative_prompt,
            limits=limits,
        )
        request = _styles.styled(self._desk, interaction, request, options)
        return request, options, is_private

    async def _start_from(
        self,
        interaction: discord.Interaction,
        order: Order,
        image: discord.Attachment,
        strength: float,
        *,
        takes_size: bool,
    ) -> None:
        check_permissions(interaction, private=order.private)
        self._desk.arrivals.check(image.url, image.size)
        submission = submission_of(interaction, order, origin_of(interaction))
        arrival = Arrival(submission, image.url, strength, takes_size)
        await self._desk.arrivals.place(interaction, arrival)

    @imagine.autocomplete("style")
    async def _style_names(
        self, interaction: discord.Interaction, current: str
    ) -> list[Choice[str]]:
        return _styles.own_choices(self._desk, interaction, current)

    @imagine.autocomplete("model")
    async def _models(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        info = self._desk.parts.engine.info
        return _options.choices([info.model] if info is not None else [], current)

    @imagine.autocomplete("sampler")
    async def _samplers(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        info = self._desk.parts.engine.info
        return _options.choices(
            [str(name) for name in info.samplers] if info is not None else [], current
        )


async def setup(bot: Any) -> None:
    """Adds the cog; called by discord.py."""
    await bot.add_cog(Imagine(bot.desk))
