"""Nobody gets round `/admin`: every command, by everybody who may not, from everywhere, changes nothing.

Commands are read from the tree, so that a new one is tried as well.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import discord
import pytest
from discord import app_commands
from simcord.actors import MemberActor
from simcord.enums import AppCommandType, InteractionType
from simcord.interactions import base_payload
from simcord.results import InteractionResult

from cogs import _authority
from cogs._authority import Reach, reach_of
from cogs._bot import ACTIONS, FORMS
from cogs._buttons import UNKNOWN_BUTTON
from cogs._forms import UNKNOWN_FORM
from tests.cogs.conftest import SOON_S, World
from tests.cogs.test_authority import admin_commands
from tests.cogs.test_places import UNSET, person_who_may

Command = app_commands.Command[Any, ..., Any]

REFUSALS = (
    _authority.NEEDS_OWNER,
    _authority.NEEDS_MANAGER,
    _authority.NEEDS_CHANNEL_MANAGER,
    _authority.NEEDS_MODERATOR,
    _authority.ONLY_SERVERS,
    _authority.NO_MEMBER,
)
ALL = discord.Permissions.all()
NONE = discord.Permissions.none()
ELSEWHERE = 999_999_999_999  # a server that the bot is no member of


async def dump(world: World) -> dict[str, Any]:
    """Everything that is kept: all rows, the files, and what moves the queue."""
    db = world.parts.jobs._db
    found: dict[str, Any] = {}
    for row in await db.rows("SELECT name FROM sqlite_master WHERE type = 'table'"):
        rows = await db.rows(f"SELECT * FROM [{row['name']}]")
        found[row["name"]] = sorted(repr(tuple(one)) for one in rows)
    found["flow"] = world.parts.queue.flow
    found["waiting"] = [place.job_id for place in world.parts.queue.waiting()]
    found["files"] = await asyncio.to_thread(files_of, world)
    return found


def files_of(world: World) -> list[str]:
    return sorted(str(path) for path in world.settings.data_dir.rglob("*"))


@dataclass
class Try:
    """An interaction, in the shape that Discord sends."""

    person: MemberActor
    data: dict[str, Any]
    type: InteractionType = InteractionType.APPLICATION_COMMAND
    place: str = "server"
    permissions: discord.Permissions | None = None  # None: as they are
    message: Any = None

    async def send(self, world: World) -> InteractionResult:
        """Returns what came of it, once it was answered."""
        is_dm = self.place == "dm"
        record, payload = base_payload(
            world.env.backend,
            type=self.type,
            channel_id=self.person.user.dm_channel.id if is_dm else world.channel.id,
            guild_id=None if is_dm else world.guild.id,
            user_id=self.person.id,
            data=self.data,
        )
        if self.permissions is not None:
            payload["member"]["permissions"] = str(self.permissions.value)
        if self.place == "elsewhere":  # the bot as somebody's own app
            payload["guild_id"] = str(ELSEWHERE)
            payload["authorizing_integration_owners"] = {"1": str(self.person.id)}
        if self.message is not None:
            payload["message"] = self.message
        with world.env.time_context():
            world.bot._connection.parse_interaction_create(payload)
        result = InteractionResult(world.env, record)
        await world.until(lambda: self.answers(world, record), f"an answer to {self.data}")
        await world.env.settle()
        assert len(self.answers(world, record)) == 1, "answered once, and not again"
        return result

    def answers(self, world: World, record: Any) -> list[Any]:
        """The requests with which the bot answered."""
        return [r for r in world.env.http_requests if record.token in r.path]


def value_of(option: app_commands.Parameter, person_id: int) -> Any:
    """Something that Discord would send for an option of this type."""
    kind = discord.AppCommandOptionType
    if option.choices:
        return option.choices[0].value
    match option.type:
        case kind.boolean:
            return True
        case kind.integer | kind.number:
            return option.min_value if option.min_value is not None else 1
        case kind.string:
            return "x" * int(option.min_value or 1)
        case _:
            return str(person_id)  # people, roles, channels, files: looked up in `resolved`


def data_of(world: World, command: Command, person_id: int, **more: Any) -> dict[str, Any]:
    """The payload of a command below /admin with all of its options."""
    root = world.env.backend.find_command("admin", world.guild.id, type=AppCommandType.CHAT_INPUT)
    assert root is not None
    options = [
        {"name": one.name, "type": one.type.value, "value": value_of(one, person_id)} | more
        for one in command.parameters
    ]
    names = command.qualified_name.split()[1:]
    level = {"name": names.pop(), "type": 1, "options": options}
    for name in reversed(names):
        level = {"name": name, "type": 2, "options": [level]}
    user = {"id": str(person_id), "username": "x", "discriminator": "0", "avatar": None}
    role = {"id": str(person_id), "name": "x", "permissions": "0", "position": 0, "color": 0,
            "hoist": False, "managed": False, "mentionable": False}  # fmt: skip
    file = {"id": str(person_id), "filename": "x.safetensors", "size": 9, "url": "https://cdn.x/x",
            "proxy_url": "https://cdn.x/x"}  # fmt: skip
    channel = {"id": str(person_id), "name": "x", "type": 0, "permissions": "0"}
    resolved = {"users": user, "roles": role, "attachments": file, "channels": channel}
    return {
        "id": root["id"],
        "name": "admin",
        "type": 1,
        "options": [level],
        "resolved": {kind: {str(person_id): one} for kind, one in resolved.items()},
    }


def check_refused(result: InteractionResult, what: str, *also: str) -> None:
    assert result.response is not None, what
    assert result.ephemeral, what
    assert result.response.content in (*REFUSALS, *also), f"{what}: {result.response.content}"


@pytest.fixture
async def busy(world: World) -> World:
    """With a picture, a job that waits, defaults of the server, and what others could want to change."""
    manager = world.manager()
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    await world.result()
    await world.ben.slash(world.channel, "imagine", prompt="engine:hold a dog")
    await world.parts.audit.add(manager.id, "made the server")
    await world.parts.backups.make(manager.id)
    async with asyncio.timeout(SOON_S):
        async for event in world.parts.queue.watch(
            (await world.parts.jobs.waiting_of(world.ben.id))[0].id
        ):
            if type(event).__name__ in ("Started", "Progress"):
                break
    return world


@pytest.mark.parametrize("who", ["member", "manager elsewhere", "manager", "in a DM", "outside"])
async def test_every_command_refuses_those_whom_it_is_not_for(busy: World, who: str) -> None:
    world = busy
    elsewhere = world.env.create_guild()
    there = world.manager(elsewhere)
    here = world.guild.add_member(there.user)
    manager = world.manager()
    before = await dump(world)
    tried = 0
    for command in admin_commands(world):
        data = data_of(world, command, world.ben.id)
        match who:
            case "member":
                attempt = Try(world.ann, data)
            case "manager elsewhere":
                attempt = Try(here, data)
            case "manager" if reach_of(command) is Reach.OWNER:
                attempt = Try(manager, data)
            case "manager":
                continue
            case "in a DM":
                attempt = Try(manager, data, place="dm")
            case _:
                attempt = Try(world.ann, data, place="elsewhere", permissions=ALL)
        result = await attempt.send(world)
        check_refused(result, f"/{command.qualified_name}")
        tried += 1
    assert tried >= 4
    assert await dump(world) == before
    world.go()
    await world.result(2)


def forged_presses(world: World) -> list[tuple[str, InteractionType]]:
    """Ids of buttons and forms of admins, and of no such, with what they could hold."""
    ids = [f"easel:me:{name}:0:{rest}" for name in sorted(ACTIONS) if reach_of(ACTIONS[name])
           for rest in ("30", "5:0")]  # fmt: skip
    ids += [f"easel:me:{name}:0:{where}" for name in ("place", "place_reset")
            for where in ("server", "channel", "the neighbours")]  # fmt: skip
    ids += ["easel:me:purge:0:30", "easel:me:machine:0", "easel:me:acts:0:9:0"]
    ids += ["easel:me:purge:0", "easel:me:purge:0:-1", "easel:me:purge:999:1", "easel:me:purge:0:٣٠",
            "easel:me:acts:0:9:9:9", "easel:admin:purge:0:1", "easel:me:PURGE:0:1", "easel:me:drain:0",
            "easel:me:queue drain:0", "easel:me:machine:0:owner"]  # fmt: skip
    forms = [f"easel:me:{name}:0:30" for name in sorted(FORMS) if reach_of(FORMS[name])]
    forms += ["easel:me:place:0:server", "easel:me:place:0:channel", "easel:me:place:0:x",
              "easel:me:purge:0:30", "easel:me:lora_edit:0:1"]  # fmt: skip
    return [(one, InteractionType.MESSAGE_COMPONENT) for one in ids] + [
        (one, InteractionType.MODAL_SUBMIT) for one in forms
    ]


async def test_forged_buttons_and_forms_change_nothing(busy: World) -> None:
    world = busy
    stored = world.results()[0]
    shown = {
        "id": str(stored.id), "channel_id": str(world.channel.id), "content": "", "embeds": [],
        "author": {"id": str(world.bot.application_id), "username": "x", "discriminator": "0",
                   "avatar": None},
        "attachments": [], "timestamp": "2026-01-01T00:00:00+00:00", "edited_timestamp": None,
        "tts": False, "mention_everyone": False, "mentions": [], "mention_roles": [],
        "pinned": False, "type": 0, "components": [],
    }  # fmt: skip
    before = await dump(world)
    presses = forged_presses(world)
    assert len(presses) >= 25
    for custom_id, kind in presses:
        data: dict[str, Any] = {"custom_id": custom_id}
        if kind is InteractionType.MESSAGE_COMPONENT:
            data["component_type"] = 2
            button = {"type": 2, "style": 2, "label": "x", "custom_id": custom_id}
            shown["components"] = [{"type": 1, "components": [button]}]
        else:
            data["components"] = []
        result = await Try(world.ann, data, kind, message=shown).send(world)
        assert result.ephemeral, custom_id
        assert result.response is not None, custom_id
        said = result.response.content
        polite = (*REFUSALS, UNKNOWN_BUTTON, UNKNOWN_FORM)
        assert said in polite or said.startswith("Only people with the permission"), (
            f"{custom_id}: {said}"
        )
    assert await dump(world) == before
    world.go()
    await world.result(2)


async def test_forged_commands_change_nothing(busy: World) -> None:
    """Shapes that Discord never sends: by a manager, who may some of it otherwise."""
    world = busy
    manager = world.manager()
    world.expected += [app_commands.CommandSignatureMismatch, app_commands.CommandNotFound]
    before = await dump(world)
    purge = next(c for c in admin_commands(world) if c.qualified_name == "admin ops purge")
    good = data_of(world, purge, world.ben.id)
    for data in (
        data_of(world, purge, world.ben.id, value="all"),
        data_of(world, purge, world.ben.id, type=6),
        data_of(world, purge, world.ben.id, name="day"),
        good | {"options": []},
        good | {"options": [{"name": "ops", "type": 2, "options": []}]},
        good | {"options": [{"name": "purge", "type": 1, "options": []}]},
        good | {"options": [{"name": "ops", "type": 2, "options": [{"name": "all", "type": 1}]}]},
        good | {"name": "Admin"},
    ):
        result = await Try(manager, data).send(world)
        assert result.ephemeral, data
        assert result.response is not None
    assert await dump(world) == before
    world.go()
    await world.result(2)


async def test_choices_are_for_those_whom_the_command_is_for(busy: World) -> None:
    """What completes an option tells names and prompts: to nobody else."""
    world = busy
    asked = 0
    for command in admin_commands(world):
        for option in command.parameters:
            if not option.autocomplete:
                continue
            data = data_of(world, command, world.ben.id)
            level = data["options"][0]
            while level["type"] != 1:
                level = level["options"][0]
            for sent in level["options"]:
                if sent["name"] == option.name:
                    sent |= {"focused": True, "value": ""}
            await Try(world.ann, data, InteractionType.APPLICATION_COMMAND_AUTOCOMPLETE).send(world)
            answer = world.env.http_requests[-1].json
            assert answer["data"]["choices"] == [], f"/{command.qualified_name} {option.name}"
            asked += 1
    assert asked
    world.go()
    await world.result(2)


async def test_a_permission_that_was_lost_counts_at_once(busy: World) -> None:
    """The card and the form of before are of no use; nor is what Discord still shows."""
    world = busy
    mia = person_who_may(world, manage_guild=True)
    shown = await mia.slash(world.channel, "admin channel defaults", where="server")
    form = await mia.click(shown.response, label="Change")
    before = await dump(world)
    for role in world.guild._guild.roles.values():
        role.permissions &= ~discord.Permissions(manage_guild=True).value
    for answer in (
        await mia.submit_modal(form, UNSET | {"count": ["4"]}),
        await mia.click(shown.response, label="Reset"),
    ):
        assert answer.response is not None
        assert "Only people with the permission Manage Server" in answer.response.content
    for command in admin_commands(world):
        result = await Try(mia, data_of(world, command, world.ben.id)).send(world)
        check_refused(result, f"/{command.qualified_name}")
    assert await dump(world) == before
    world.go()
    await world.result(2)
