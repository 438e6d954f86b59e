"""Easel's command line: run (the default), demo, imagine, doctor."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from engine.errors import EngineError
from engine.secrecy import blanked, secrets_of
from engine.settings import Settings, load_settings
from engine.types import Sampler


def main(argv: list[str] | None = None) -> int:
    """Runs one subcommand and returns the exit code: 0 done, 1 failed, 2 wrong use or settings."""
    options = _parser().parse_args(argv)
    settings = None
    try:
        settings = load_settings()
        return asyncio.run(_run(options, settings))
    except EngineError as error:
        print(f"easel: {blanked(str(error), secrets_of(os.environ, settings))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


async def _run(options: argparse.Namespace, settings: Settings) -> int:
    # Each subcommand is imported when it is asked for: "imagine" needs no discord.py.
    match options.command:
        case "demo":
            from cli.demo import demo

            return await demo(settings, options.out)
        case "imagine" if options.replay is not None:
            from cli.replay import replay

            return await replay(settings, options)
        case "imagine":
            from cli.imagine import imagine

            return await imagine(settings, options)
        case "doctor":
            from cli.doctor import doctor

            return await doctor(settings)
        case _:
            from cli.run import run

            return await run(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bot.py", description="Easel, a Discord bot that makes pictures on your own GPU."
    )
    commands = parser.add_subparsers(dest="command", metavar="{run,demo,imagine,doctor}")
    commands.add_parser("run", help="connect to Discord and answer (the default)")
    demo = commands.add_parser("demo", help="play a conversation on a loopback Discord")
    demo.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR")
    commands.add_parser("doctor", help="say what is missing and how to get it")

    imagine = commands.add_parser("imagine", help="make a picture without Discord")
    imagine.add_argument("prompt", nargs="?")
    imagine.add_argument("--out", type=Path, metavar="FILE", help="PNG to write")
    imagine.add_argument("--seed", type=int, help="0 to 4294967295; random when left out")
    imagine.add_argument("--negative", default="", metavar="TEXT", help="what to keep out")
    imagine.add_argument("--size", metavar="WxH", help="the model's own size when left out")
    imagine.add_argument("--steps", type=int)
    imagine.add_argument("--guidance", type=float)
    imagine.add_argument("--sampler", metavar="NAME", help=", ".join(Sampler))
    imagine.add_argument("--count", type=int, default=1, help="1 to 4 pictures, FILE-2.png, ...")
    imagine.add_argument("--image", type=Path, metavar="FILE", help="picture to start from")
    imagine.add_argument("--strength", type=float, help="0 keeps that picture, 1 ignores it")
    imagine.add_argument(
        "--mask",
        type=Path,
        metavar="FILE",
        help="white where --image is made anew, black where kept",
    )
    imagine.add_argument(
        "--control",
        action="append",
        default=[],
        metavar="KIND:FILE[:SCALE[:START-END]]",
        help="ControlNet (openpose, canny, ... or auto) with a map, or a picture to read one from; "
        "scale 0 to 2, start and end as shares of the steps; again for several",
    )
    imagine.add_argument(
        "--style",
        action="append",
        default=[],
        metavar="FILE[:WEIGHT]",
        help="LoRA, a .safetensors file; several are added up",
    )
    imagine.add_argument(
        "--clip-skip", type=int, default=0, help="text encoder layers to leave out"
    )
    imagine.add_argument(
        "--replay",
        type=Path,
        metavar="FILE",
        help="make a picture of Easel's (PNG, or JSON of /history export) again and compare it; files "
        "that it was made from are looked for in the data directory, beside it and in the options above",
    )
    imagine.add_argument("--model", help="pocket, a folder, a .safetensors file or a hub id")
    return parser


if __name__ == "__main__":
    sys.exit(main())
