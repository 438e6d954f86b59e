"""Collects every text that people see, and brings the catalogues up to date with the code.

    python -m cogs._messages             all languages
    python -m cogs._messages fr          also begins one for French

A text is found by the function or the refusal that it is given to (`KEYWORDS`); names and descriptions
of commands by asking the commands, as discord.py does before it sends them.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import discord
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po
from discord import app_commands
from discord.app_commands import TranslationContextTypes
from discord.ext import commands

from cogs import _bot, _language
from engine import errors

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("cogs", "engine", "storage")
REFUSALS = tuple(
    name
    for name, one in vars(errors).items()
    if isinstance(one, type) and issubclass(one, errors.RequestError)
)
KEYWORDS: dict[str, tuple[int, ...] | None] = {
    "t": None,
    "N_": None,
    "tn": (1, 2),
    **dict.fromkeys(REFUSALS),
}
_RULES = {
    _language.COMMAND: "Name of a command: lower case, no spaces, at most 32 characters",
    _language.OPTION: "Name of an option: lower case, no spaces, at most 32 characters",
    _language.MENU: "Entry of a menu: at most 32 characters",
}
_DESCRIPTION = "Of a command: at most 100 characters"

_HEADER = r"""# Easel's texts in this language; docs/languages.md says how to change them.
msgid ""
msgstr ""
"Language: {language}\n"
"Plural-Forms: {plurals}\n"
"MIME-Version: 1.0\n"
"Content-Type: text/plain; charset=utf-8\n"
"Content-Transfer-Encoding: 8bit\n"

"""


class Recorder(app_commands.Translator):
    """Notes what is asked of a translator: (context, text) and where."""

    def __init__(self) -> None:
        """Has noted nothing yet."""
        self.asked: dict[tuple[str | None, str], str] = {}

    async def translate(
        self,
        string: app_commands.locale_str,
        locale: discord.Locale,
        context: TranslationContextTypes,
    ) -> None:
        """Notes the text."""
        if any(character.isalpha() for character in string.message):
            key = (_language.context_of(context), string.message)
            self.asked.setdefault(key, "cogs/" + _origin(context))


def _origin(context: TranslationContextTypes) -> str:
    module = getattr(context.data, "module", None)
    if isinstance(context.data, app_commands.Parameter):
        module = context.data.command.module
    return str(module).partition(".")[2].replace(".", "/") + ".py" if module else "commands"


async def tree() -> app_commands.CommandTree[commands.Bot]:
    """Returns all commands, of a bot that connects to nothing."""
    bot = commands.Bot(command_prefix="", intents=discord.Intents.none())
    bot.desk = None  # type: ignore[attr-defined]  # none of them runs
    for extension in _bot.EXTENSIONS:
        await bot.load_extension(extension)
    return bot.tree


async def collected() -> Catalog:
    """Returns a catalogue of all texts, without translations."""
    found: Catalog = Catalog(domain="easel", project="Easel", charset="utf-8", fuzzy=False)
    for folder in FOLDERS:
        texts = extract_from_dir(
            ROOT / folder, [("**.py", "python")], keywords=KEYWORDS, comment_tags=("Translators:",)
        )
        for file, line, text, comments, context in texts:
            module = f"{folder}/{Path(file).as_posix()}"
            found.add(text, None, [(module, line)], auto_comments=comments, context=context)
    known, recorder = await tree(), Recorder()
    for command in known.get_commands():
        await command.get_translated_payload(known, recorder)
    for (context, text), place in recorder.asked.items():
        found.add(
            text,
            None,
            [(place, 1)],
            auto_comments=[_RULES.get(context or "", _DESCRIPTION)],
            context=context,
        )
    return found


def path_of(language: str) -> Path:
    """Returns the catalogue's file."""
    return _language.FOLDER / language / "LC_MESSAGES" / "easel.po"


def read(language: str) -> Catalog:
    """Returns the catalogue of a language; an empty one when there is none yet."""
    path = path_of(language)
    if not path.is_file():
        return Catalog(language, domain="easel", project="Easel", charset="utf-8", fuzzy=False)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def update(language: str, found: Catalog) -> list[str]:
    """Writes the catalogue with what the code has now, and returns texts that lack a translation.

    What is gone from the code is gone from the catalogue; nothing is guessed from similar texts.
    """
    catalogue = read(language)
    catalogue.update(found, no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    write(language, catalogue)
    return [str(one.id) for one in catalogue if one.id and not all(_forms(one.string))]


def write(language: str, catalogue: Catalog) -> None:
    """Writes the catalogue's file, with those headers that mean something."""
    path = path_of(language)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(_HEADER.format(language=language, plurals=catalogue.plural_forms).encode())
        write_po(
            file, catalogue, width=100, omit_header=True, sort_by_file=True, include_lineno=False
        )


def _forms(text: str | tuple[str, ...] | list[str] | None) -> tuple[str, ...]:
    return (text or "",) if isinstance(text, str | None) else tuple(text)


def main(argv: list[str]) -> None:
    """Updates the catalogues and says what is missing."""
    found = asyncio.run(collected())
    for language in sorted({*_language.languages(), *argv}):
        missing = update(language, found)
        sys.stdout.write(f"{language}: {len(found)} texts, {len(missing)} without a translation\n")
        for text in missing:
            sys.stdout.write(f"  {text}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
