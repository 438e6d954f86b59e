"""README tells of every command, menu and button that people have."""

from __future__ import annotations

import re
from pathlib import Path

import discord
from discord import app_commands

from cogs import _buttons
from tests.cogs.conftest import World, labels

README = (Path(__file__).parents[2] / "README.md").read_text()
TABLE = README[README.index("## Commands") : README.index("## Configuration")]
OPTIONS_IN_THE_TABLE = {"imagine", "remix", "inpaint", "upscale"}


def row_of(name: str) -> str:
    """The row that begins with the command."""
    return next((line for line in TABLE.splitlines() if re.match(rf"\|[^|]*`/{name}\b", line)), "")


async def test_every_command_and_menu_is_listed(world: World) -> None:
    for command in world.bot.tree.walk_commands():
        if isinstance(command, app_commands.Group) or command.qualified_name.startswith("admin"):
            continue
        row = row_of(command.qualified_name)
        assert row, f"/{command.qualified_name} is not in README's table"
        for option in command.parameters:
            if command.name in OPTIONS_IN_THE_TABLE:
                listed = re.search(rf"`[^`]*\b{option.name}\b[^`]*`", row)
                assert listed, f"/{command.name} {option.name}"
    menus = [
        menu.name
        for kind in (discord.AppCommandType.message, discord.AppCommandType.user)
        for menu in world.bot.tree.get_commands(type=kind)
    ]
    assert [name for name in menus if f"**{name}**" not in TABLE] == []


async def test_every_button_of_a_result_is_listed(world: World) -> None:
    views = [_buttons.result_view("a", 1, can_publish=True), _buttons.result_view("a", 4)]
    shown = {label for view in views for label in labels_of(view)}
    several = {label for label in shown if re.fullmatch(r"[UV]\d", label)}
    assert several == {f"{letter}{n}" for letter in "UV" for n in range(1, 5)}
    assert "**U1**-**U4**, **V1**-**V4**" in TABLE
    assert [one for one in sorted(shown - several) if f"**{one}**" not in TABLE] == []


def labels_of(view: discord.ui.View) -> list[str]:
    return labels(type("Sent", (), {"components": view.to_components()}))
