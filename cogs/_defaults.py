"""What an option that somebody left out is: the one place that knows whose default wins.

Slash option > flag in the prompt > my default > channel's > server's > model's. The first two are
one by the time they come here (`_flags`), the last one is `_options`.
"""

from __future__ import annotations

import dataclasses

from cogs._options import Options
from storage.people import Preferences

_SHAPE = ("aspect", "width", "height")  # whoever gives one of them decides the shape
_OPTIONS = {field.name for field in dataclasses.fields(Options)} & {
    field.name for field in dataclasses.fields(Preferences)
}


def fill(
    options: Options, private: bool | None, *layers: Preferences, has_picture: bool = False
) -> tuple[Options, bool]:
    """Returns the options with what was left out, and whether the result is private.

    Args:
        options: What was given; None is "left out".
        private: The same.
        layers: Defaults, the most personal first.
        has_picture: A picture to start from is given, which decides the shape.
    """
    for layer in layers:
        has_shape = has_picture or any(getattr(options, name) is not None for name in _SHAPE)
        changes = {
            name: getattr(layer, name)
            for name in _OPTIONS
            if getattr(options, name) is None and not (name == "aspect" and has_shape)
        }
        options = dataclasses.replace(options, **changes)
        if private is None:
            private = layer.private
    return options, bool(private)
