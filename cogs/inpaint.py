"""`/inpaint`: a part of a picture made anew, the rest kept as it is."""

import asyncio
import dataclasses
from typing import Any

import discord
from discord import app_commands
from discord.app_commands import Choice, Range
from discord.ext import commands

from cogs import (
    _canvas,
    _cells,
    _defaults,
    _flags,
    _limits,
    _options,
    _orders,
    _remix,
    _source_options,
    _sources,
)
from cogs._desk import Desk
from cogs._language import N_
from cogs._options import Options
from cogs._orders import Order
from cogs._sources import Source
from engine.errors import InvalidRequestError
from engine.types import MAX_PROMPT_LENGTH
from storage.arrivals import Arrival
from storage.pictures import sha256_of

INPAINT = "inpaint"
STRENGTH = 0.95  # a trace of the old colours stays

NO_PART = N_(
    "Which part is to be made anew? Attach a mask (white is new), or name cells of a grid of 3 x 3, "
    "like 1,2,5 or top left."
)
TWO_PARTS = N_("Give either mask or cells: each of them says alone what is made anew.")
EVERYTHING = N_("Nothing would be left to make anew. Leave invert out, or name fewer cells.")


class Inpaint(commands.Cog):
    """The command that draws a part of a picture again."""

    def __init__(self, desk: Desk) -> None:
        """Takes the parts of the bot."""
        self._desk = desk

    @app_commands.command(description="Make a part of a picture anew and keep the rest.")
    @app_commands.allowed_installs(guilds=True, users=True)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
    @app_commands.describe(
        prompt="What the picture should show there; left out, it is the old prompt",
        image="The picture: PNG, JPEG or WebP",
        source="One of your pictures, by words of its prompt, or a link to a message with a picture",
        mask="A picture of the same shape: white or transparent is made anew, black is kept",
        cells="Instead of a mask, cells of a 3 x 3 grid: 1,2,5 (1 is top left), or names: top, right",
        invert="Keep that part and make the rest anew",
        strength="0 keeps that part, 1 ignores what was there",
        private="Only you see the picture",
    )
    async def inpaint(
        self,
        interaction: discord.Interaction,
        prompt: Range[str, 0, MAX_PROMPT_LENGTH] | None = None,
        image: discord.Attachment | None = None,
        source: Range[str, 1, 200] | None = None,
        mask: discord.Attachment | None = None,
        cells: Range[str, 1, 100] | None = None,
        invert: bool = False,
        strength: Range[float, 0.0, 1.0] | None = None,
        private: bool | None = None,
    ) -> None:
        """Finds the picture, checks the options and shows the status line."""
        if mask is not None and cells is not None:
            raise InvalidRequestError(TWO_PARTS)
        if mask is None and cells is None:
            raise InvalidRequestError(NO_PART)
        marked = _cells.read(cells) if cells is not None else ()
        if invert and len(marked) == 9:
            raise InvalidRequestError(EVERYTHING)
        options, private = _flags.read(Options(prompt=prompt), private=private)
        change, weight = STRENGTH, options.image_weight
        if strength is not None or weight is not None:
            change = _options.strength_of(strength, has_picture=True, weight=weight)
        found = await _source_options.find(self._desk, interaction, image, source)
        is_private = _source_options.is_private(self._desk, interaction, found, private)
        _orders.check_permissions(interaction, private=is_private)
        order = self._order(interaction, found, options, change, private=is_private)
        if found.address is None and mask is None:
            await self._place(interaction, order, marked, invert=bool(invert))
            return
        if found.address is not None:
            self._desk.arrivals.check(found.address, found.size)
        if mask is not None:
            self._desk.arrivals.check(mask.url, mask.size)
        arrival = Arrival(
            _orders.submission_of(interaction, order, _orders.origin_of(interaction)),
            found.address or "",
            change,
            takes_size=found.address is not None,
            mask_address=mask.url if mask is not None else None,
            cells=marked,
            invert=bool(invert),
        )
        await self._desk.arrivals.place(interaction, arrival)

    def _order(
        self,
        interaction: discord.Interaction,
        source: Source,
        options: Options,
        strength: float,
        *,
        private: bool,
    ) -> Order:
        """Returns the order, still without its mask and without a picture that is not ours."""
        request = _remix.request_of(
            source,
            options,
            self._desk.info(),
            _defaults.of(self._desk, interaction),
            default_negative_prompt=self._desk.parts.settings.default_negative_prompt,
            limits=_limits.of(interaction),
        )
        if source.address is None:
            request = dataclasses.replace(request, init_image=source.sha256, strength=strength)
        generation = source.generation
        return Order(
            request,
            action=INPAINT,
            parent_id=generation.id if generation is not None else None,
            private=private,
            spoiler=source.spoiler,
        )

    async def _place(
        self,
        interaction: discord.Interaction,
        order: Order,
        cells: tuple[int, ...],
        *,
        invert: bool,
    ) -> None:
        request = order.request

        def draw(png: bytes) -> tuple[str, bytes]:
            mask = _canvas.cells_mask(_canvas.size_of(png), cells, invert=invert)
            return sha256_of(mask), mask

        async def masked() -> Order:
            png = await self._desk.parts.pictures.get(request.init_image or "")
            sha256, mask = await asyncio.to_thread(draw, png)
            changed = dataclasses.replace(request, mask_image=sha256)
            return dataclasses.replace(order, request=changed, files={sha256: mask})

        await self._desk.orders.place(interaction, masked, private=order.private)

    @inpaint.autocomplete("source")
    async def _pictures(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        return await _sources.choices(self._desk, interaction.user.id, current)


async def setup(bot: Any) -> None:
    """Adds the cog; called by discord.py."""
    await bot.add_cog(Inpaint(bot.desk))
