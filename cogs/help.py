"""`/help`: what the bot can do, by topic, with the limits that hold here."""

from typing import Any

import discord
from discord import app_commands
from discord.app_commands import Choice
from discord.ext import commands

from cogs import _answer, _controls, _limits, _notice, _text
from cogs._desk import Desk
from cogs._language import N_, t
from engine.errors import InvalidRequestError
from engine.types import MAX_IMAGES, MAX_PROMPT_LENGTH, Limits

TOPICS = {
    "start": N_("Getting started"),
    "prompts": N_("Writing a prompt"),
    "options": N_("Options of /imagine"),
    "remix": N_("Starting from a picture"),
    "styles": N_("Styles"),
    "poses": N_("Poses and outlines"),
    "buttons": N_("Buttons below a picture"),
    "history": N_("Finding your pictures again"),
    "settings": N_("Your defaults and your allowance"),
    "limits": N_("Limits and waiting"),
    "privacy": N_("Who sees what"),
}

START = N_(
    "Type `/imagine` and say what the picture should show. I put you in line, show the picture while "
    "it is made, and mention you when it is done.\n"
    "The same seed and options make the same picture again. Your pictures are in `/history list`, "
    "your waiting jobs in `/queue view`; `/me` shows what you have left, `/settings` what you set."
)
PROMPTS = N_(
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
OPTIONS = N_(
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
STYLES = N_(
    "A style is a look that the model has learned. `/styles browse` shows all of them, `/styles info` one.\n"
    "`/style` makes one yours for all your pictures: `neon`, `neon:0.7` (0 to 2; 1 is full), or several, "
    "`neon:0.7, sepia:0.4`; `none` draws without. For one picture: the option **style** of `/imagine`, or "
    "`--style neon:0.7` in the prompt. The words that call a style are added for you.\n"
    "`/styles try` draws one prompt in several styles or weights, side by side. `/styles mix` saves a list of "
    "styles under a name of your own."
)
OPTIONS_UNKNOWN = N_("The engine is still starting. Ask again in a minute.")
REMIX = N_(
    "**Reply** to a picture with what it should become. `+a hat` or `-text` changes the old prompt, "
    "`2: in snow` takes the second of several; a picture as the reply takes the old prompt. Keep the "
    "ping of the reply on, or I cannot read it.\n"
    "`reroll`, `up`, `vary subtle`, `vary strong`, `zoom 2`, `info` and `delete` do what the buttons do.\n"
    "**Mention me** in a message with a picture, or open any message's menu, Apps, **Remix this**; "
    "**Remix avatar** is in the menu of a person.\n"
    "`/remix` takes an attached picture, one of yours (**source**) or a link to a message. **strength** "
    "says how far it changes. The new picture is yours, and counts for you."
)
POSES = N_(
    "`/pose` makes a picture that follows another one: who stands how, or what is where. Attach it with "
    "**image**, choose one of yours with **source**, or a pose by its name with **pose**. In the menu of any "
    "message, **Use as pose** does the same.\n"
    "**control** says what is taken: openpose the pose of people, canny all outlines, depth what is near and "
    "far. auto chooses; a finished map is used as it is. **control_strength** says how closely it is followed; "
    "**start** and **end** leave a part of the steps free.\n"
    "**preview** shows what was read, and costs nothing: **Use** makes the picture, **Flip** exchanges left "
    "and right, **Save pose** keeps it.\n"
    "`/poses list` shows all poses with pictures: yours, those that people share in this server, and those that "
    "come with me. `/poses save` keeps the pose of a picture, and nothing of the picture; `/poses share` lets "
    "everybody here use it."
)
NO_POSES_HERE = N_("The model that is loaded here cannot follow poses.")
BUTTONS = N_(
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
HISTORY = N_(
    "`/history list` shows your pictures, nine at a time. **query** finds words of the prompt, whatever "
    "their case, accents and endings; **style** those that were drawn in one; **since** takes `2026-01-31`, "
    "`today` or `3 weeks`; **starred** shows your stars.\n"
    "`/history show` brings one back with its buttons, `/history tree` draws what it came from and what "
    "came of it, `/history star` stars it.\n"
    "`/history export` gives you ZIP files with the pictures and everything that made them."
)
SETTINGS = N_(
    "`/settings` keeps what you would type again and again: shape, pictures at a time, quality, "
    "negative prompt, style, how far remixes go, private, copies by DM, language. An option of the command "
    "wins over a flag in the prompt, a flag over your default, that over what moderators have set for the "
    "channel or the server, and that over the model's own.\n"
    "`/me` shows what you have left today and when it is back, what waits, and your last weeks."
)
LIMITS = N_(
    "You may have {waiting} jobs waiting or running at a time{per_minute}{daily}.\n"
    "Larger, finer or more pictures cost more; what fails or is cancelled is given back. Everybody "
    "gets a fair share of the engine: a person with many jobs does not hold up the others."
)
LIMITS_HERE = N_("**For you here:**")


class Help(commands.Cog):
    """Answers with one topic, for the person alone."""

    def __init__(self, desk: Desk) -> None:
        """Takes the parts of the bot."""
        self._desk = desk

    @app_commands.command(description="How to use this bot.")
    @app_commands.allowed_installs(guilds=True, users=True)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
    @app_commands.describe(topic="What you want to know about")
    @app_commands.choices(topic=[Choice(name=name, value=key) for key, name in TOPICS.items()])
    async def help(self, interaction: discord.Interaction, topic: str = "start") -> None:
        """Answers with the topic."""
        if topic not in TOPICS:
            raise InvalidRequestError(
                "There is no help about that. Choose one of: {topics}.",
                topics=", ".join(map(t, TOPICS.values())),
            )
        embed = discord.Embed(title=t(TOPICS[topic]), description=self._words(interaction, topic))
        others = " · ".join(t(title) for key, title in TOPICS.items() if key != topic)
        embed.set_footer(text=t("Other topics: {topics}", topics=others))
        await _answer.answer(interaction, ephemeral=True, embed=embed)

    def _words(self, interaction: discord.Interaction, topic: str) -> str:
        match topic:
            case "prompts":
                return t(PROMPTS)
            case "options":
                return self._options()
            case "limits":
                return _limit_words(_limits.of(interaction))
            case "remix":
                return t(REMIX)
            case "styles":
                return t(STYLES)
            case "poses":
                info = self._desk.parts.engine.info
                if info is not None and not _controls.kinds(info):
                    return "\n".join((t(NO_POSES_HERE), t(POSES)))
                return t(POSES)
            case "buttons":
                return t(BUTTONS)
            case "history":
                return t(HISTORY)
            case "settings":
                return t(SETTINGS)
            case "privacy":
                return t(_notice.TEXT)
            case _:
                return t(START)

    def _options(self) -> str:
        info = self._desk.parts.engine.info
        if info is None:
            return t(OPTIONS_UNKNOWN)
        return t(
            OPTIONS,
            multiple=info.size_multiple,
            native=info.native_size,
            max_side=info.max_side,
            max_images=MAX_IMAGES,
            steps=info.default_steps,
            guidance=t("guidance {value:g}", value=info.default_guidance_scale),
            sampler=_text.shown(str(info.default_sampler), 50),
            model=_text.shown(info.model, 200),
            max_prompt=MAX_PROMPT_LENGTH,
        )


def _limit_words(limits: Limits) -> str:
    """Returns what holds for the person, and below it what somebody has set."""
    per_minute, daily = "", ""
    if limits.per_minute:
        per_minute = t(", start {count} in a minute", count=limits.per_minute)
    if limits.daily:
        daily = t(
            ", and spend {count:g} standard pictures in 24 hours. A standard "
            "picture has the model's own size and number of steps",
            count=limits.daily,
        )
    text = t(LIMITS, waiting=limits.waiting, per_minute=per_minute, daily=daily)
    if not _limits.are_set(limits):
        return text
    return "\n".join([text, t(LIMITS_HERE), *_limits.lines(limits)])


async def setup(bot: Any) -> None:
    """Adds the cog; called by discord.py."""
    await bot.add_cog(Help(bot.desk))
