"""How the whole bot is doing, as a card for its owners that also reads well on a phone."""

from __future__ import annotations

import asyncio
import importlib.metadata
import platform
import shutil
from collections.abc import Mapping
from typing import Any

import discord

from cogs import _buttons, _counts, _errors, _pages, _settings, _text
from cogs._answer import in_time
from cogs._authority import Reach, only_pressed_by
from cogs._buttons import Action, Press
from cogs._desk import Desk, desk_of
from cogs._language import N_, t
from engine.errors import EngineDiedError
from engine.types import EngineDied, EngineLoading, EngineReady, Flow

TITLE = N_("How I am doing")

_STATS_S = 1.0  # an engine that is busy loading something answers later
_MOST_SERVERS = 8
_MOST_DEATHS = 3
_WHY_LIMIT = 160
_FLOWS = {Flow.PAUSED: N_("paused"), Flow.DRAINING: N_("running empty, takes nothing new")}


async def show(interaction: discord.Interaction) -> None:
    """Answers with the card, or shows it anew in the message whose button was pressed."""
    embed = await in_time(interaction, card(interaction), ephemeral=True)
    view = _buttons.view_of(Press(_buttons.MINE, _buttons.MACHINE))
    await _settings.show(interaction, embed, view)


@only_pressed_by(Reach.OWNER)
async def refresh(interaction: discord.Interaction, _: Press) -> None:
    """Shows the card anew."""
    await show(interaction)


async def card(interaction: discord.Interaction) -> discord.Embed:
    """Returns the card."""
    desk = desk_of(interaction)
    stats = await _stats(desk)
    embed = discord.Embed(title=t(TITLE))
    for name, text in (
        (t("Engine"), _engine(desk, stats)),
        (t("Queue"), await _queue(desk, interaction.client)),
        (t("Speed"), await _speed(desk, stats)),
        (t("Disk"), await _disk(desk)),
        (t("Restarts of the engine"), _deaths(desk)),
        (t("Running"), _running(desk, interaction.client)),
    ):
        embed.add_field(name=name, value=text, inline=False)
    return embed


async def _stats(desk: Desk) -> Mapping[str, Any]:
    """Returns what the engine says of itself now; nothing when it does not answer at once."""
    try:
        async with asyncio.timeout(_STATS_S):
            value: Mapping[str, Any] = await desk.parts.engine.call("stats")
            return value
    except (EngineDiedError, TimeoutError):
        return {}


def _engine(desk: Desk, stats: Mapping[str, Any]) -> str:
    match desk.parts.queue.engine_state:
        case EngineReady(info):
            size = _counts.size(info.memory_bytes)
            lines = [
                _pages.joined((t("ready"), f"**{_text.shown(info.model, 100)}**", info.dtype)),
                _pages.joined((_text.shown(info.device_name, 100), t("{size} loaded", size=size))),
            ]
        case EngineLoading(stage, fraction):
            done = "" if fraction is None else f" {fraction:.0%}"
            lines = [t("loading: {stage}", stage=_text.shown(stage, 100)) + done]
        case EngineDied(message, is_hopeless=is_hopeless):
            state = t("cannot load its model") if is_hopeless else t("stopped, starts again")
            lines = [state, _text.shown(message, _WHY_LIMIT)]
    if total := stats.get("device_total_bytes"):
        used = _counts.size(total - stats["device_free_bytes"])
        lines.append(t("GPU memory: {used} of {total} used", used=used, total=_counts.size(total)))
    if resident := stats.get("rss_bytes"):
        lines.append(t("memory of the process: {size}", size=_counts.size(resident)))
    return "\n".join(lines)


async def _queue(desk: Desk, client: discord.Client) -> str:
    servers = await desk.parts.figures.waiting()
    parts = [_counts.jobs(sum(servers.values()))]
    flow = desk.parts.queue.flow
    if flow in _FLOWS:
        parts.append(t(_FLOWS[flow]))
    lines = [_pages.joined(parts)]
    for guild_id, jobs in list(servers.items())[:_MOST_SERVERS]:
        lines.append(f"{_place(client, guild_id)}: {jobs}")
    if len(servers) > _MOST_SERVERS:
        lines.append(t("and {count} more", count=len(servers) - _MOST_SERVERS))
    return _text.joined_within(lines, 1000)


def _place(client: discord.Client, guild_id: int | None) -> str:
    if guild_id is None:
        return t("direct messages")
    guild = client.get_guild(guild_id)
    return _text.shown(guild.name, 60) if guild is not None else f"`{guild_id}`"


async def _speed(desk: Desk, stats: Mapping[str, Any]) -> str:
    speeds = await desk.parts.figures.speeds()
    pictures = _counts.pictures(speeds.pictures)
    lines = [t("{pictures} in the last hour", pictures=pictures)]
    if "steps_per_s" in stats:
        steps, rows = stats["steps_per_s"], stats["row_steps_per_s"]
        lines.append(t("{steps:.1f} steps/s, {rows:.1f} rows/s now", steps=steps, rows=rows))
    if speeds.jobs:
        lines.append(
            t(
                "until a job starts: {half:.1f} s for half of them, {most:.1f} s for 95 % (24 h)",
                half=speeds.wait_p50_s,
                most=speeds.wait_p95_s,
            )
        )
    return "\n".join(lines)


async def _disk(desk: Desk) -> str:
    parts = desk.parts
    disk = await asyncio.to_thread(shutil.disk_usage, parts.settings.data_dir)
    held = await parts.figures.holdings()
    backup = await parts.backups.newest()
    free, total = _counts.size(disk.free), _counts.size(disk.total)
    kept, size = _counts.pictures(held.pictures), _counts.size(held.picture_bytes)
    lines = [
        t(
            "{free} free, {used} of {total} used",
            free=free,
            used=_counts.size(disk.used),
            total=total,
        ),
        t("{pictures}: {size}", pictures=kept, size=size),
        t("database: {size}", size=_counts.size(held.database_bytes)),
    ]
    if backup is None:
        lines.append(t("no backup yet"))
    else:
        lines.append(t("last backup: {when}", when=_errors.stamp(backup.made_at)))
    return "\n".join(lines)


def _deaths(desk: Desk) -> str:
    tally = desk.parts.tally
    if not tally.deaths:
        return t("none since I started")
    newest = list(tally.deaths)[: -_MOST_DEATHS - 1 : -1]
    lines = [f"{_errors.stamp(one.at)}: {_text.shown(one.why, _WHY_LIMIT)}" for one in newest]
    return _text.joined_within([t("{count} in all", count=tally.engine_deaths), *lines], 1000)


def _running(desk: Desk, client: discord.Client) -> str:
    found = {"Easel": _version("easel"), "Python": platform.python_version()}
    found["discord.py"] = discord.__version__
    info = desk.parts.engine.info
    if info is not None:
        found |= {k: info.versions[k] for k in ("torch", "diffusers", "cuda") if k in info.versions}
    versions = _pages.joined(f"{name} {version}" for name, version in found.items() if version)
    since = t("since {when}", when=_errors.stamp(desk.parts.tally.since))
    servers = _counts.servers(len(client.guilds))
    return f"{_pages.joined((since, servers))}\n{versions}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # run from a folder
        return ""


ACTIONS: dict[str, Action] = {_buttons.MACHINE: refresh}
