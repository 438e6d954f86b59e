"""REST routes of the application, its commands, servers, members and users."""

from __future__ import annotations

from playground.api import Call, Route
from playground.commands import Commands
from playground.errors import ApiError
from playground.gateway import Gateway
from playground.model import Guild, Json
from playground.payloads import Payloads
from playground.world import TeamMember, World


class ApplicationRoutes:
    """Who the bot is, what it offers and whom it can see."""

    def __init__(
        self,
        world: World,
        payloads: Payloads,
        gateway: Gateway,
        commands: Commands,
        *,
        shards: int,
        flags: int,
    ) -> None:
        self._world = world
        self._payloads = payloads
        self._gateway = gateway
        self._commands = commands
        self._shards = shards
        self._flags = flags

    def routes(self) -> list[Route]:
        commands = "/applications/{application_id}/commands"
        in_guild = "/applications/{application_id}/guilds/{guild_id}/commands"
        routes = [
            Route("GET", "/gateway/bot", self.gateway_bot),
            Route("GET", "/gateway", self.gateway_bot, auth=False),
            Route("GET", "/users/@me", self.me),
            Route("GET", "/users/@me/guilds", self.my_guilds),
            Route("GET", "/users/{user_id}", self.user),
            Route("GET", "/applications/@me", self.application),
            Route("GET", "/oauth2/applications/@me", self.application),
            Route("GET", "/applications/{application_id}/emojis", self.emojis),
            Route("GET", "/guilds/{guild_id}", self.guild),
            Route("GET", "/guilds/{guild_id}/channels", self.guild_channels),
            Route("GET", "/guilds/{guild_id}/roles", self.roles),
            Route("GET", "/guilds/{guild_id}/members/{user_id}", self.member),
            Route("GET", "/guilds/{guild_id}/members", self.members),
        ]
        for path in (commands, in_guild):
            routes += [
                Route("GET", path, self.list_commands, "commands"),
                Route("PUT", path, self.overwrite_commands, "commands"),
                Route("POST", path, self.add_command, "commands"),
                Route("GET", path + "/{command_id}", self.get_command, "commands"),
                Route("PATCH", path + "/{command_id}", self.edit_command, "commands"),
                Route("DELETE", path + "/{command_id}", self.delete_command, "commands"),
            ]
        return routes

    async def gateway_bot(self, call: Call) -> Json:
        return {
            "url": self._gateway.url,
            "shards": self._shards,
            "session_start_limit": {
                "total": 1000,
                "remaining": 1000,
                "reset_after": 0,
                "max_concurrency": 1,
            },
        }

    async def me(self, call: Call) -> Json:
        return self._payloads.user(self._world.bot) | {"verified": True, "mfa_enabled": True}

    async def my_guilds(self, call: Call) -> list[Json]:
        return [
            {
                "id": str(guild.id),
                "name": guild.name,
                "icon": None,
                "owner": False,
                "permissions": str(guild.base_permissions(self._world.bot.id)),
                "features": [],
            }
            for guild in self._world.guilds.values()
            if guild.bot_installed
        ]

    async def user(self, call: Call) -> Json:
        user = self._world.users.get(call.number("user_id"))
        if user is None:
            raise ApiError(10013)
        return self._payloads.user(user)

    async def application(self, call: Call) -> Json:
        bot = self._world.bot
        return {
            "id": str(self._world.application_id),
            "name": bot.display_name,
            "icon": None,
            "description": "",
            "summary": "",
            "type": None,
            "bot": self._payloads.user(bot),
            "bot_public": True,
            "bot_require_code_grant": False,
            "verify_key": "0" * 64,
            "flags": self._flags,
            "owner": self._owner(),
            "team": self._team(),
            "hook": True,
            "redirect_uris": [],
            "interactions_endpoint_url": None,
            "role_connections_verification_url": None,
            "approximate_guild_count": len(self._world.guilds),
            "approximate_user_install_count": 0,
            "integration_types_config": {"0": {}, "1": {}},
        }

    def _owner(self) -> Json:
        """The owner; of a team's application a user that stands for the team, and is nobody."""
        owner = self._payloads.user(self._world.owner)
        if self._world.team:
            owner |= {"id": str(self._world.application_id + 1), "username": "team"}
        return owner

    def _team(self) -> Json | None:
        """The team with the application's owner as its own; None while there is nobody else."""
        if not self._world.team:
            return None
        owner = self._world.owner
        team_id = str(self._world.application_id + 1)
        return {
            "id": team_id,
            "name": "Studio",
            "icon": None,
            "owner_user_id": str(owner.id),
            "members": [
                {
                    "team_id": team_id,
                    "role": member.role,
                    "membership_state": 2 if member.has_joined else 1,
                    "permissions": ["*"],
                    "user": self._payloads.user(member.user),
                }
                for member in (TeamMember(owner, "admin"), *self._world.team)
            ],
        }

    async def emojis(self, call: Call) -> Json:
        return {"items": []}

    def _guild(self, call: Call) -> Guild:
        guild = self._world.guilds.get(call.number("guild_id"))
        if guild is None or not guild.bot_installed:
            raise ApiError(10004)
        return guild

    async def guild(self, call: Call) -> Json:
        return self._payloads.guild(self._guild(call)) | {
            "approximate_member_count": len(self._guild(call).members),
            "approximate_presence_count": len(self._guild(call).members),
        }

    async def guild_channels(self, call: Call) -> list[Json]:
        channels: list[Json] = self._payloads.guild(self._guild(call))["channels"]
        return channels

    async def roles(self, call: Call) -> list[Json]:
        return [self._payloads.role(role) for role in self._guild(call).roles.values()]

    async def member(self, call: Call) -> Json:
        member = self._guild(call).members.get(call.number("user_id"))
        if member is None:
            raise ApiError(10007)
        return self._payloads.member(member)

    async def members(self, call: Call) -> list[Json]:
        after = int(call.query.get("after", "0"))
        listed = sorted(self._guild(call).members.items())
        limit = int(call.query.get("limit", "1"))
        return [self._payloads.member(one) for key, one in listed if key > after][:limit]

    # Commands

    def _scope(self, call: Call) -> int | None:
        if call.number("application_id") != self._world.application_id:
            raise ApiError(20012)
        return self._guild(call).id if "guild_id" in call.path else None

    async def list_commands(self, call: Call) -> list[Json]:
        return self._commands.listed(self._scope(call))

    async def overwrite_commands(self, call: Call) -> list[Json]:
        return self._commands.overwrite(self._scope(call), call.body)

    async def add_command(self, call: Call) -> Json:
        return self._commands.add(self._scope(call), call.body)

    async def get_command(self, call: Call) -> Json:
        return self._commands.get(self._scope(call), call.number("command_id"))

    async def edit_command(self, call: Call) -> Json:
        return self._commands.edit(self._scope(call), call.number("command_id"), call.body)

    async def delete_command(self, call: Call) -> None:
        self._commands.delete(self._scope(call), call.number("command_id"))
