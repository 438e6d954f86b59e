"""`/help`: what the bot can do, by topic, with the limits that hold here."""

from typing import Any

import discord
from discord import app_commands
from discord.app_commands import Choice
from discord.ext import commands

from cogs import _answer, _notice, _text
from cogs._desk import Desk
from engine.errors import InvalidRequestError
from engine.types import MAX_IMAGES, MAX_PROMPT_LENGTH

TOPICS = {
    "start": "Getting started",
    "prompts": "Writing a prompt",
    "options": "Options of /imagine",
    "remix": "Starting from a picture",
    "styles": "Styles",
    "buttons": "Buttons below a picture",
    "history": "Finding your pictures again",
    "settings": "Your defaults and your allowance",
    "limits": "Limits and waiting",
    "privacy": "Who sees what",
}

START = (
    "Type `/imagine` and say what the picture should show. I put you in line, show the picture while "
    "it is made, and mention you when it is done.\n"
    "The same seed and options make the same picture again. Your pictures are in `/history list`, "
    "your waiting jobs in `/queue view`; `/me` shows what you have left, `/settings` what you set."
)
PROMPTS = (
    "Say what the picture shows, the most important first.\n"
    "`(word)` counts more, `[word]` less, `(some words:1.3)` as much as you say (0 to 3; 1 is normal). "
    "`\\(` and `\\)` are plain brackets.\n"
    "Long prompts are read in parts of about 50 words, at most four; `BREAK` begins the next part. What "
    "was not read is named with the picture.\n"
    "This holds for **negative** too.\n"
    "`{red, blue} cat` makes a picture of each; `__animal__` takes a random line of the operator's list.\n"
    "Flags work as well: `--ar 16:9`, `--no text`, `--seed 7`, `--repeat 4`, `--style neon`, `--draft`, `--hd`, "
    "`--private`, `--model name`. An option of the command wins over a flag."
)
OPTIONS = (
    "**aspect**: the shape. **width**, **height**: exact pixels, in steps of {multiple}, up to "
    "{max_side}; without them the picture has about {native} x {native}.\n"
    "**negative**: what to keep out; `none` for nothing at all.\n"
    "**count**: up to {max_images} pictures. **seed**: the same number with the same options gives "
    "the same picture.\n"
    "**steps**, **guidance**, **sampler**: how the picture is made; here {steps} steps, {guidance} "
    "and {sampler} unless you say otherwise.\n"
    "**quality**: draft takes half the steps; hd takes more, and a second pass at 1.5x the size.\n"
    "**private**: only you see it. **spoiler**: hidden until clicked.\n"
    "The model is {model}. A prompt has up to {max_prompt:,} characters."
)
STYLES = (
    "A style is a look that the model has learned. `/styles browse` shows all of them, `/styles info` one.\n"
    "`/style` makes one yours for all your pictures: `neon`, `neon:0.7` (0 to 2; 1 is full), or several, "
    "`neon:0.7, sepia:0.4`; `none` draws without. For one picture: the option **style** of `/imagine`, or "
    "`--style neon:0.7` in the prompt. The words that call a style are added for you.\n"
    "`/styles try` draws one prompt in several styles or weights, side by side. `/styles mix` saves a list of "
    "styles under a name of your own."
)
OPTIONS_UNKNOWN = "The engine is still starting. Ask again in a minute."
REMIX = (
    "**Reply** to a picture with what it should become. `+a hat` or `-text` changes the old prompt, "
    "`2: in snow` takes the second of several; a picture as the reply takes the old prompt. Keep the "
    "ping of the reply on, or I cannot read it.\n"
    "`reroll`, `up`, `vary subtle`, `vary strong`, `zoom 2`, `info` and `delete` do what the buttons do.\n"
    "**Mention me** in a message with a picture, or open any message's menu, Apps, **Remix this**; "
    "**Remix avatar** is in the menu of a person.\n"
    "`/remix` takes an attached picture, one of yours (**source**) or a link to a message. **strength** "
    "says how far it changes. The new picture is yours, and counts for you."
)
BUTTONS = (
    "What the buttons make is yours, and counts for you.\n"
    "**Vary** draws over the picture, a little or a lot. **Remix** opens a form with the old words. "
    "**Reroll** makes it again with another seed. **Upscale** makes it twice as large.\n"
    "**Zoom** shows more around it. **More** looks to one side, and makes it larger in other ways.\n"
    "**U1** to **U4** upscale, **V1** to **V4** vary one of several pictures.\n"
    "`/upscale` and `/inpaint` (a part of it made anew) take attached pictures, too.\n"
    "**Info** shows every parameter and a command that makes the same picture.\n"
    "**Star** keeps it among your stars, whoever made it; pressed again, it does not. **Send to DM** "
    "gives you a copy.\n"
    "**Publish** below a private picture shows it to everybody in the channel (its owner).\n"
    "**Delete** removes the picture and the message (its owner, or a moderator).\n"
    "**Cancel** and **Stop** end a job that waits or runs (its owner, or a moderator).\n"
    "**Try again** runs a failed job once more; it is yours, and counts for you.\n"
    "Buttons keep working after a restart."
)
HISTORY = (
    "`/history list` shows your pictures, nine at a time. **query** finds words of the prompt, whatever "
    "their case, accents and endings; **since** takes `2026-01-31`, `today` or `3 weeks`; **starred** "
    "shows your stars.\n"
    "`/history show` brings one back with its buttons, `/history tree` draws what it came from and what "
    "came of it, `/history star` stars it.\n"
    "`/history export` gives you ZIP files with the pictures and everything that made them."
)
SETTINGS = (
    "`/settings` keeps what you would type again and again: shape, pictures at a time, quality, "
    "negative prompt, private, copies by DM. An option of the command wins over a flag in the prompt, "
    "a flag over your default, your default over the model's own.\n"
    "`/me` shows what you have left today and when it is back, what waits, and your last weeks."
)
LIMITS = (
    "You may have {waiting} jobs waiting or running at a time{per_minute}{daily}.\n"
    "Larger, finer or more pictures cost more; what fails or is cancelled is given back. Everybody "
    "gets a fair share of the engine: a person with many jobs does not hold up the others."
)


class Help(commands.Cog):
    """Answers with one topic, for the person alone."""

    def __init__(self, desk: Desk) -> None:
        """Takes the parts of the bot."""
        self._desk = desk

    @app_commands.command(description="How to use this bot.")
    @app_commands.allowed_installs(guilds=True, users=False)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=False)
    @app_commands.describe(topic="What you want to know about")
    @app_commands.choices(topic=[Choice(name=name, value=key) for key, name in TOPICS.items()])
    async def help(self, interaction: discord.Interaction, topic: str = "start") -> None:
        """Answers with the topic."""
        if topic not in TOPICS:
            raise InvalidRequestError(
                f"There is no help about that. Choose one of: {', '.join(TOPICS.values())}."
            )
        embed = discord.Embed(title=TOPICS[topic], description=self._words(topic))
        others = " · ".join(title for key, title in TOPICS.items() if key != topic)
        embed.set_footer(text=f"Other topics: {others}")
        await _answer.answer(interaction, ephemeral=True, embed=embed)

    def _words(self, topic: str) -> str:
        match topic:
            case "prompts":
                return PROMPTS
            case "options":
                return self._options()
            case "limits":
                return self._limits()
            case "remix":
                return REMIX
            case "styles":
                return STYLES
            case "buttons":
                return BUTTONS
            case "history":
                return HISTORY
            case "settings":
                return SETTINGS
            case "privacy":
                return _notice.TEXT
            case _:
                return START

    def _options(self) -> str:
        info = self._desk.parts.engine.info
        if info is None:
            return OPTIONS_UNKNOWN
        return OPTIONS.format(
            multiple=info.size_multiple,
            native=info.native_size,
            max_side=info.max_side,
            max_images=MAX_IMAGES,
            steps=info.default_steps,
            guidance=f"guidance {info.default_guidance_scale:g}",
            sampler=_text.shown(str(info.default_sampler), 50),
            model=_text.shown(info.model, 200),
            max_prompt=MAX_PROMPT_LENGTH,
        )

    def _limits(self) -> str:
        settings = self._desk.parts.settings
        per_minute = f", start {settings.per_minute} in a minute" if settings.per_minute else ""
        daily = (
            f", and spend {settings.daily_allowance:g} standard pictures in 24 hours. A standard "
            "picture has the model's own size and number of steps"
            if settings.daily_allowance
            else ""
        )
        return LIMITS.format(
            waiting=settings.max_waiting_per_person, per_minute=per_minute, daily=daily
        )


async def setup(bot: Any) -> None:
    """Adds the cog; called by discord.py."""
    await bot.add_cog(Help(bot.desk))
