"""Who may use `/admin`: every command says it, and what it says is checked."""

from __future__ import annotations

from typing import Any

import discord
import pytest
from discord import app_commands

from cogs import _answer, _authority
from cogs._authority import Reach, reach_of
from cogs._buttons import JobButton, Press
from tests.cogs.acts import press
from tests.cogs.conftest import World


def admin_commands(world: World) -> list[app_commands.Command[Any, ..., Any]]:
    """Every command below /admin, as Discord knows them."""
    return [
        command
        for command in world.bot.tree.walk_commands()
        if isinstance(command, app_commands.Command) and command.qualified_name.startswith("admin ")
    ]


async def test_every_admin_command_says_whom_it_is_for(world: World) -> None:
    commands = admin_commands(world)
    assert commands
    assert [one.qualified_name for one in commands if reach_of(one) is None] == []


def application(team: dict[str, Any] | None) -> discord.AppInfo:
    payload = {
        "id": "1",
        "name": "Easel",
        "description": "",
        "icon": None,
        "summary": "",
        "bot_public": True,
        "bot_require_code_grant": False,
        "verify_key": "0" * 64,
        "flags": 0,
        "owner": user(1 if team is None else 9),
        "team": team,
    }
    state = discord.Client(intents=discord.Intents.none())._connection
    return discord.AppInfo(state, payload)  # type: ignore[arg-type]  # Discord sends no more


def user(number: int) -> dict[str, Any]:
    return {"id": str(number), "username": "x", "discriminator": "0", "avatar": None}


@pytest.mark.parametrize(
    ("role", "state", "owns"),
    [
        ("admin", 2, True),
        ("developer", 2, True),
        ("read_only", 2, False),
        ("something new", 2, False),
        ("admin", 1, False),  # invited, and has not agreed yet
    ],
)
def test_owners_are_those_who_work_in_the_team(role: str, state: int, owns: bool) -> None:
    member = {"membership_state": state, "team_id": "9", "role": role, "user": user(3)}
    team = {"id": "9", "icon": None, "name": "us", "owner_user_id": "2", "members": [member]}
    assert _authority.owners_of(application(team)) == ({2, 3} if owns else {2})
    assert _authority.owners_of(application(None)) == {1}


@pytest.mark.parametrize(
    ("reach", "allowed"),
    [
        (Reach.OWNER, {"olga"}),
        (Reach.SERVER, {"max"}),
        (Reach.CHANNEL, {"max", "cara"}),
        (Reach.MODERATOR, {"max", "mod"}),
        (Reach.BOTH, {"olga", "max"}),
    ],
)
async def test_who_may_press_a_button(
    world: World, monkeypatch: pytest.MonkeyPatch, reach: Reach, allowed: set[str]
) -> None:
    @_authority.only_pressed_by(reach)
    async def act(interaction: discord.Interaction, press: Press) -> None:
        await _answer.answer(interaction, f"done for {press.rest}", ephemeral=True)

    assert reach_of(act) is reach
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    message = await world.result()
    monkeypatch.setattr(JobButton, "actions", {"act": act})
    may = discord.Permissions(manage_channels=True)
    role = world.guild.create_role("carpenters", permissions=may)
    cara = world.guild.add_member(world.env.create_user("cara"), roles=[role])
    done = set()
    for person in (world.ann, cara, world.manager(), world.moderator(), world.owner()):
        answer = await press(world, person, message, "easel:me:act:0:you")
        assert answer.ephemeral
        assert answer.response is not None
        if answer.response.content == "done for you":
            done.add(person.name)
        else:
            assert answer.response.content.startswith("Only ")
    assert done == allowed
