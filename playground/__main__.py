"""`python -m playground`: a loopback Discord with a web page, to play with a bot by hand."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

from playground.console import Console
from playground.server import Playground


def arguments(line: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m playground", description=__doc__)
    parser.add_argument("--port", type=int, default=8790, help="where to listen (default 8790)")
    parser.add_argument("--token", help="the bot's token (default: a new one each time)")
    parser.add_argument("--bot-name", default="Easel", help="the bot's name")
    parser.add_argument(
        "--people", nargs="+", default=["Ana", "Ben"], metavar="NAME", help="who may be played"
    )
    return parser.parse_args(line)


async def serve(options: argparse.Namespace) -> None:
    """Runs until it is interrupted."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    discord = Playground(bot_name=options.bot_name, token=options.token, port=options.port)
    guild = discord.guild("Studio")
    guild.channel("art", topic="Type a command below")
    guild.channel("after-dark", nsfw=True)
    for name in options.people:
        guild.member(name)
    await discord.start(Console(discord).routes())
    try:
        settings = "\n".join(f"export {key}={value}" for key, value in discord.env().items())
        sys.stdout.write(
            f"A Discord on this machine: {discord.cdn_base}/\n\n"
            f"To point a bot at it:\n{settings}\n\nStop with Ctrl-C.\n"
        )
        sys.stdout.flush()
        await stopped.wait()
    finally:
        await discord.stop()


if __name__ == "__main__":
    asyncio.run(serve(arguments()))
