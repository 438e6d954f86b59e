"""`bot.py doctor`: says what is there, what is missing and how to get it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from cli.metrics import MISSING
from engine.model_card import provisional_info
from engine.settings import Settings

_API = "https://discord.com/api/v10"
_TIMEOUT = aiohttp.ClientTimeout(total=10)
_JOINED = 2  # the membership state of who has accepted the invitation to a team
_FREE_DISK_BYTES = 10 * 2**30  # a full-size model, its download and some thousand pictures

# View Channels, Send Messages, Embed Links, Attach Files, Read Message History, Send Messages in
# Threads: what results, status lines and the look-up of an uncertain send need, and no more.
PERMISSIONS = 1 << 10 | 1 << 11 | 1 << 14 | 1 << 15 | 1 << 16 | 1 << 38

# Asked in a process of its own: this one never imports torch.
_TORCH_PROBE = """
import json, torch
cuda = torch.cuda.is_available()
print(json.dumps({
    "version": torch.__version__,
    "device": torch.cuda.get_device_name(0) if cuda else None,
    "memory": torch.cuda.get_device_properties(0).total_memory if cuda else 0,
}))
"""


@dataclass(frozen=True)
class Finding:
    """One line: `ok` is True, False (must be mended) or None (works, but worth knowing)."""

    ok: bool | None
    text: str


def invite_link(application_id: int | str) -> str:
    """Returns the address with which a server's admin adds the bot."""
    return (
        f"https://discord.com/oauth2/authorize?client_id={application_id}"
        f"&scope=bot%20applications.commands&permissions={PERMISSIONS}"
    )


async def doctor(settings: Settings) -> int:
    """Prints the findings; returns 1 when something must be mended before `run` can work."""
    failed = False
    async for finding in examine(settings):
        mark = {True: "ok", False: "MISSING", None: "note"}[finding.ok]
        print(f"{mark:>8}  {finding.text}")
        failed = failed or finding.ok is False
    return 1 if failed else 0


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Yields the findings, one after the other."""
    yield Finding(True, f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}")
    torch = await _probe_torch()
    yield _torch_finding(torch)
    yield _model_finding(settings, has_gpu=bool(torch and torch["device"]))
    yield await asyncio.to_thread(_disk_finding, settings.data_dir)
    if settings.metrics_port is not None:
        yield _metrics_finding(settings)
    async for finding in _discord_findings(settings):
        yield finding


async def _probe_torch() -> dict[str, Any] | None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _TORCH_PROBE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        return None
    facts: dict[str, Any] = json.loads(output)
    return facts


def _torch_finding(torch: dict[str, Any] | None) -> Finding:
    if torch is None:
        return Finding(False, 'torch cannot be imported. Install with: pip install -e ".[dev]"')
    if torch["device"] is None:
        return Finding(
            None,
            f"torch {torch['version']} sees no CUDA GPU: pictures are made on the CPU, which only "
            "the pocket model is made for.",
        )
    gib = torch["memory"] / 2**30
    return Finding(True, f"torch {torch['version']} on {torch['device']} with {gib:.0f} GiB")


def _model_finding(settings: Settings, *, has_gpu: bool) -> Finding:
    info = provisional_info(settings)
    if settings.model == "auto" and not has_gpu:
        return Finding(
            True, "Model: the embedded pocket model (no GPU). Set EASEL_MODEL for another."
        )
    if settings.model in ("auto", "pocket") or Path(settings.model).exists():
        return Finding(True, f"Model: {info.model} ({info.family}, {info.native_size} px)")
    return Finding(
        None,
        f"Model: {settings.model} comes from the Hugging Face hub (several GB) at the first start.",
    )


def _disk_finding(data_dir: Path) -> Finding:
    """Checks the nearest folder that exists; nothing is created."""
    folder = data_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return Finding(
            False, f"{data_dir} cannot be written. Set EASEL_DATA_DIR to a folder that can."
        )
    free = shutil.disk_usage(folder).free
    if free < _FREE_DISK_BYTES:
        return Finding(
            None,
            f"Only {free / 2**30:.1f} GiB are free for {data_dir}. A full-size model with some "
            "thousand pictures wants 10.",
        )
    return Finding(True, f"{data_dir}: {free / 2**30:.0f} GiB free")


def _metrics_finding(settings: Settings) -> Finding:
    if importlib.util.find_spec("prometheus_client") is None:
        return Finding(False, MISSING)
    where = f"http://{settings.metrics_host}:{settings.metrics_port}/metrics"
    return Finding(True, f"Metrics: {where}")


def _owners(application: Mapping[str, Any]) -> Finding:
    """Says who may use the part of /admin that changes what every server sees."""
    team = application.get("team")
    if team is None:
        return Finding(True, f"Owner: {application['owner']['username']}")
    working = [
        member["user"]["username"]
        for member in team["members"]
        if member["user"]["id"] == team["owner_user_id"]
        or (member["membership_state"] == _JOINED and member["role"] in ("admin", "developer"))
    ]
    return Finding(True, f"Owners: {', '.join(working)} (team {team['name']})")


async def _discord_findings(settings: Settings) -> AsyncIterator[Finding]:
    if settings.discord_token is None:
        yield Finding(
            False,
            "DISCORD_TOKEN is not set. Create an application at "
            "https://discord.com/developers/applications and copy its bot token (Bot, Reset Token).",
        )
        return
    headers = {"Authorization": f"Bot {settings.discord_token.get_secret_value()}"}
    base = settings.discord_api_base or _API
    try:
        async with (
            aiohttp.ClientSession(headers=headers, timeout=_TIMEOUT) as session,
            session.get(f"{base}/applications/@me") as response,
        ):
            status = response.status
            application = await response.json() if status == 200 else {}
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        yield Finding(
            False, f"Discord cannot be reached: {type(error).__name__}. Check the network."
        )
        return
    if status == 401:
        yield Finding(False, "Discord does not accept DISCORD_TOKEN. Reset it and copy it again.")
        return
    if status != 200:
        yield Finding(False, f"Discord answered {status}. Try again in a minute.")
        return
    yield Finding(True, f"Discord knows the application {application['name']!r}")
    yield _owners(application)
    yield Finding(True, "Intents: none of the privileged ones is needed")
    yield Finding(True, f"Invite: {invite_link(application['id'])}")
