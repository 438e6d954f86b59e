"""`/admin model`: which model is loaded for all servers, and which of them this server draws with."""

import asyncio
import logging

import aiohttp
import discord
from discord import app_commands
from discord.app_commands import Choice, Range

from cogs import _answer, _authority, _text
from cogs._authority import Reach, only
from cogs._board import TOKEN_LIFE_S
from cogs._desk import Desk, desk_of
from cogs._language import N_, t, tn
from engine.errors import ModelLoadError
from engine.lora.layers import FAMILIES
from engine.shelf import NamedModel

log = logging.getLogger(__name__)

LOADING = N_(
    "Loading {name}. What runs is finished first; what waits is made with {name} where that changes "
    "nothing that was chosen, and given back where not."
)
LOADED = N_("{name} is loaded. It will be after a restart, too.")
FAILED = N_("{name} could not be loaded, so {before} is loaded again. The log says why.")
DEFAULT = N_(
    "This server would rather have {name}. One model is loaded at a time: the owners of this bot see "
    "the wish, and while another one is loaded, results say so."
)
NO_DEFAULT = N_("This server takes whichever model is loaded.")
ALLOWED = N_("This server draws with {name} again.")
DENIED = N_(
    "This server does not draw with {name}: while it is loaded, requests from here are refused."
)
UNUSABLE = N_("cannot be used, the log says why")
_MODEL = "Choose one from the list that appears while you type"
_NAME_LIMIT = 80
_MAX_CHOICES = 25
_MAX_TEXT = 4000


class ModelGroup(app_commands.Group):
    """The owners load, the managers of a server say what counts there."""

    def __init__(self) -> None:
        """Needs nothing: the desk comes with each interaction."""
        super().__init__(
            name="model", description="The model that draws, and those of this server."
        )

    @app_commands.command(
        name="list", description="See the models, and which ones this server draws with."
    )
    @only(Reach.BOTH)
    async def list_models(self, interaction: discord.Interaction) -> None:
        """Answers with one line for each."""
        desk = desk_of(interaction)
        await _answer.in_time(interaction, desk.parts.models.refresh(), ephemeral=True)
        is_owner = await _authority.is_owner(interaction)
        lines = [
            line
            for model in desk.parts.models.known
            if (line := _line(desk, model, interaction.guild_id, is_owner=is_owner))
        ]
        text = _text.joined_within(lines, _MAX_TEXT)
        embed = discord.Embed(title=t("Models"), description=text)
        await _answer.answer(interaction, ephemeral=True, embed=embed)

    @app_commands.command(
        description="Load another model for all servers; for the owners of this bot."
    )
    @app_commands.describe(model=_MODEL)
    @only(Reach.OWNER)
    async def load(self, interaction: discord.Interaction, model: Range[str, 1, 100]) -> None:
        """Answers at once, and once more when the model is there or cannot be loaded."""
        models, operation = desk_of(interaction).parts.models, desk_of(interaction).parts.operation

        async def begin() -> tuple[asyncio.Task[object], NamedModel]:
            await models.refresh()
            found = models.check_load(model)
            await operation.note_loading(found.name, actor_id=interaction.user.id)
            return models.begin(found, interaction.user.id), found

        info = desk_of(interaction).parts.engine.info
        before = "" if info is None else info.model
        task, found = await _answer.in_time(interaction, begin(), ephemeral=True)
        await _answer.answer(interaction, t(LOADING, name=found.name), ephemeral=True)
        try:
            async with asyncio.timeout(TOKEN_LIFE_S):
                await asyncio.shield(task)
            text = t(LOADED, name=found.name)
        except TimeoutError:
            return  # it goes on: /admin model list tells
        except ModelLoadError:
            text = t(FAILED, name=found.name, before=before)
        try:
            await interaction.edit_original_response(content=text)
        except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
            log.info("That %s was loaded or not is not told: %r", found.name, error)

    @app_commands.command(description="The model that this server would rather have.")
    @app_commands.describe(model="Left out: whichever is loaded")
    @only(Reach.SERVER)
    async def default(
        self, interaction: discord.Interaction, model: Range[str, 1, 100] | None = None
    ) -> None:
        """Stores the wish."""
        guild_id, parts = _authority.require_manager(interaction), desk_of(interaction).parts
        name = None if model is None else parts.models.find(model).name
        work = parts.server_models.set_default(guild_id, name, actor_id=interaction.user.id)
        await _answer.in_time(interaction, work, ephemeral=True)
        text = t(NO_DEFAULT) if name is None else t(DEFAULT, name=name)
        await _answer.answer(interaction, text, ephemeral=True)

    @app_commands.command(description="Let this server draw with a model again.")
    @app_commands.describe(model=_MODEL)
    @only(Reach.SERVER)
    async def allow(self, interaction: discord.Interaction, model: Range[str, 1, 100]) -> None:
        """Stores it."""
        guild_id, parts = _authority.require_manager(interaction), desk_of(interaction).parts
        name = parts.models.find(model).name
        work = parts.server_models.allow(guild_id, name, actor_id=interaction.user.id)
        await _answer.in_time(interaction, work, ephemeral=True)
        await _answer.answer(interaction, t(ALLOWED, name=name), ephemeral=True)

    @app_commands.command(description="Keep this server from drawing with a model.")
    @app_commands.describe(model=_MODEL)
    @only(Reach.SERVER)
    async def deny(self, interaction: discord.Interaction, model: Range[str, 1, 100]) -> None:
        """Stores it."""
        guild_id, parts = _authority.require_manager(interaction), desk_of(interaction).parts
        name = parts.models.find(model).name
        work = parts.server_models.deny(guild_id, name, actor_id=interaction.user.id)
        await _answer.in_time(interaction, work, ephemeral=True)
        await _answer.answer(interaction, t(DENIED, name=name), ephemeral=True)

    @load.autocomplete("model")
    @only(Reach.OWNER)
    async def _loadable(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        return _choices(desk_of(interaction), current)

    @default.autocomplete("model")
    @allow.autocomplete("model")
    @deny.autocomplete("model")
    @only(Reach.SERVER)
    async def _names(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        return _choices(desk_of(interaction), current)


def _choices(desk: Desk, typed: str) -> list[Choice[str]]:
    names = desk.parts.models.matching(typed, _MAX_CHOICES)
    return [Choice(name=_text.plain(name, 100), value=name) for name in names if len(name) <= 100]


def _line(desk: Desk, model: NamedModel, guild_id: int | None, *, is_owner: bool) -> str:
    """Returns what a model is and counts here; "" for one that only the owners have to know of."""
    name = f"**{_text.shown(model.name, _NAME_LIMIT)}**"
    if model.card is None:
        return f"{name} · {t(UNUSABLE)}" if is_owner else ""
    parts = [name, FAMILIES.get(model.card.family, model.card.family)]
    info, rules = desk.parts.engine.info, desk.parts.server_models.of(guild_id)
    if desk.parts.models.coming == model.name:
        parts.append(t("is being loaded"))
    elif info is not None and info.model == model.name:
        parts.append(t("loaded"))
    if rules.default == model.name:
        parts.append(t("this server would rather have it"))
    if model.name in rules.denied:
        parts.append(t("not used in this server"))
    if is_owner and (count := desk.parts.server_models.wishes()[model.name]):
        parts.append(tn("{number} server wants it", "{number} servers want it", count))
    return " · ".join(parts)
