"""What an option that somebody left out is: the one place that knows whose default wins.

Slash option > flag in the prompt > my default > channel's > server's > model's. The first two are
one by the time they come here (`_flags`), the last one is `_options`.
"""

from __future__ import annotations

import dataclasses
import logging

import discord

from cogs import _fitting, _styles, _whereabouts
from cogs._desk import Desk
from cogs._options import Options
from engine.errors import RequestError
from engine.style_shelf import Shelf
from engine.types import Limits
from storage.people import Preferences

log = logging.getLogger(__name__)

_SHAPE = ("aspect", "width", "height")  # whoever gives one of them decides the shape
_OPTIONS = {field.name for field in dataclasses.fields(Options)} & {
    field.name for field in dataclasses.fields(Preferences)
}


def of(desk: Desk, interaction: discord.Interaction) -> tuple[Preferences, ...]:
    """Returns the defaults that count for an interaction, the most personal first, for `fill`."""
    parts = desk.parts
    mine = parts.people.preferences(interaction.user.id)
    if interaction.guild_id is None:
        return (mine,)
    channel = parts.places.channel(_whereabouts.channel_of(interaction))
    shelf = parts.styles.here(interaction.guild_id)
    server = parts.places.server(interaction.guild_id)
    return mine, _usable(shelf, channel), _usable(shelf, server)


def _usable(styles: Shelf, place: Preferences) -> Preferences:
    """Returns a place's defaults without a style that is gone: nobody there could draw with it."""
    if place.style is None:
        return place
    try:
        _styles.resolve(styles, place.style, {})
    except RequestError as error:
        log.info("A default style is left out: %s", error)
        return dataclasses.replace(place, style=None)
    return place


def fill(
    options: Options,
    private: bool | None,
    *layers: Preferences,
    has_picture: bool = False,
    limits: Limits | None = None,
    times: int = 1,
) -> tuple[Options, bool]:
    """Returns the options with what was left out, and whether the result is private.

    Args:
        options: What was given; None is "left out".
        private: The same.
        layers: Defaults, the most personal first.
        has_picture: A picture to start from is given, which decides the shape.
        limits: What the person may have: the number of pictures that nobody gave keeps to it.
        times: So many jobs of this number of pictures are asked for.
    """
    is_counted = options.count is not None
    for layer in layers:
        has_shape = has_picture or any(getattr(options, name) is not None for name in _SHAPE)
        changes = {
            name: getattr(layer, name)
            for name in _OPTIONS
            if getattr(options, name) is None and not (name == "aspect" and has_shape)
        }
        if changes.get("quality") is not None:
            changes["lowers_quality"] = True
        options = dataclasses.replace(options, **changes)
        if private is None:
            private = layer.private
    if not is_counted and isinstance(options.count, int):
        count = _fitting.count_within(options.count, limits, times)
        options = dataclasses.replace(options, count=count)
    return options, bool(private)
