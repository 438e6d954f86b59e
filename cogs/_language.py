"""Says everything in the reader's language.

English stands in the code. The catalogues (`locale/<language>/LC_MESSAGES/easel.po`) are read at the start;
`make messages` brings them up to date, see `_messages`. Where an interaction, a message or a job comes
in, `speak` sets the language of the task, and `t` says a text in it. Without it, and for what a
catalogue does not have, that is English.

What one person sees is in that person's language: the one chosen in /settings, or that of their Discord.
What everybody sees is in the server's, if it has chosen one (only Community servers can), and otherwise
in that of whoever asked.
"""

from __future__ import annotations

import functools
import io
import re
import string
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from typing import Any

import discord
from babel import Locale
from babel.dates import format_skeleton
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from discord import app_commands
from discord.app_commands import TranslationContextLocation as Location, TranslationContextTypes

from cogs._desk import desk_of
from engine.errors import EngineError
from engine.words import N_ as N_, Words as Words

FOLDER = Path(__file__).parent / "locale"
ENGLISH = "en-US"
COMMAND, OPTION, MENU = "command", "option", "menu"  # contexts of names in the catalogues

_FIELD = re.compile(r"\{(\w+)(?:![rs])?(?::[^{}]*)?\}")
_CONTEXTS = {
    Location.command_name: COMMAND,
    Location.group_name: COMMAND,
    Location.parameter_name: OPTION,
}
_REMEMBERED = 10_000  # people
_LEAST = 8  # characters; a template with fewer of its own would fit too much

_current: ContextVar[str] = ContextVar("language", default=ENGLISH)
_heard: dict[int, str] = {}  # by person: the language of the newest interaction


def speak(language: object) -> None:
    """Sets the language of this task, a Discord locale like "de" or "pt-BR"."""
    _current.set(str(language))


@contextmanager
def speaking(language: object) -> Iterator[None]:
    """Sets the language for the length of the body."""
    token = _current.set(str(language))
    try:
        yield
    finally:
        _current.reset(token)


def speak_to(interaction: discord.Interaction[Any]) -> None:
    """Sets the language of this task to that of the person whose interaction it is."""
    _heard.pop(interaction.user.id, None)
    _heard[interaction.user.id] = str(interaction.locale)
    if len(_heard) > _REMEMBERED:
        del _heard[next(iter(_heard))]
    speak(of_person(interaction))


def heard(person_id: int) -> str | None:
    """Returns the language of somebody whose message does not say it, if it is known."""
    return _heard.get(person_id)


def of_person(interaction: discord.Interaction[Any]) -> str:
    """Returns the language that the person has chosen in /settings, or else that of their Discord."""
    chosen = desk_of(interaction).parts.people.language(interaction.user.id)
    return chosen or str(interaction.locale)


def of_place(interaction: discord.Interaction[Any]) -> str:
    """Returns the language of what everybody sees where the interaction comes from."""
    return of_server(interaction.guild) or of_person(interaction)


def of_server(guild: discord.Guild | None) -> str | None:
    """Returns the language that a server has chosen; every other one says "en-US" and means nothing."""
    if guild is None or "COMMUNITY" not in guild.features:
        return None
    return str(guild.preferred_locale)


def t(text: str, /, **values: object) -> str:
    """Returns the text in the language of this task, with the values."""
    # "" is where a catalogue keeps its header.
    return _filled(_catalogue(_current.get()).gettext(text) if text else "", values)


def tn(one: str, many: str, number: int, /, **values: object) -> str:
    """Returns the text for so many things; both forms may use `{number}`."""
    text = _catalogue(_current.get()).ngettext(one, many, number)
    return _filled(text, {"number": number, **values})


def told(error: BaseException) -> str:
    """Returns the error's sentence."""
    if not isinstance(error, EngineError):
        return str(error)
    if not error.values:
        return again(error.template)
    values = {
        name: t(value) if isinstance(value, Words) else value
        for name, value in error.values.items()
    }
    return t(error.template, **values)


def again(sentence: str) -> str:
    """Says an English sentence of ours that comes from another process or from the database.

    Its template is found by what is around the values.
    """
    catalogue = _catalogue(_current.get())
    if not isinstance(catalogue, GNUTranslations) or not sentence:
        return sentence
    if (known := catalogue.gettext(sentence)) != sentence:
        return known
    for pattern, template in _patterns(_current.get()):
        match = pattern.fullmatch(sentence)
        if match is not None:
            values = {name: again(value) for name, value in match.groupdict().items()}
            return _refilled(catalogue.gettext(template), values)
    return sentence


def written_day(day: date) -> str:
    """Returns a day of the year in letters that pictures can show: "3 Nov", in German 3.11."""
    return f"{day.day} {day:%b}" if _is_english() else _numbers_of(day, "Md")


def name_of_command(name: str) -> str:
    """Returns the command as people see it in this language: "/history list"."""
    catalogue = _catalogue(_current.get())
    return "/" + " ".join(catalogue.pgettext(COMMAND, part) for part in name.split())


def name_of_option(name: str) -> str:
    """Returns the name of an option as people see it in this language."""
    return _catalogue(_current.get()).pgettext(OPTION, name)


def languages() -> list[str]:
    """Returns the languages that there are catalogues for."""
    return sorted(path.name for path in FOLDER.iterdir() if _file(path.name).is_file())


def load() -> None:
    """Reads all catalogues, so that nobody waits for it later."""
    for language in languages():
        _catalogue(language)


class Translator(app_commands.Translator):
    """Names and descriptions of commands in all languages, for Discord's clients."""

    async def translate(
        self,
        string: app_commands.locale_str,
        locale: discord.Locale,
        context: TranslationContextTypes,
    ) -> str | None:
        """Returns the translation; None when there is none."""
        text = string.message
        catalogue = _catalogue(locale.value)
        kind = context_of(context)
        found = catalogue.pgettext(kind, text) if kind else catalogue.gettext(text)
        return found if found != text else None


def context_of(context: TranslationContextTypes) -> str | None:
    """Returns the context that a text of a command has in the catalogues."""
    if isinstance(context.data, app_commands.ContextMenu):
        return MENU
    return _CONTEXTS.get(context.location)


class _Formatter(string.Formatter):
    """Writes numbers that have a format as a language does: 1,234.5 is 1.234,5 in German."""

    def __init__(self, language: str) -> None:
        symbols = Locale.parse(language, sep="-").number_symbols["latn"]
        self._signs = str.maketrans({",": symbols["group"], ".": symbols["decimal"]})

    def format_field(self, value: Any, format_spec: str) -> str:
        text = format(value, format_spec)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return text.translate(self._signs) if is_number else text


def _is_english() -> bool:
    return not isinstance(_catalogue(_current.get()), GNUTranslations)


def _numbers_of(day: date, skeleton: str) -> str:
    return format_skeleton(skeleton, day, locale=Locale.parse(_current.get(), sep="-"))


def _filled(text: str, values: Mapping[str, object]) -> str:
    if not values:
        return text
    if _is_english():
        return text.format(**values)
    return _formatter(_current.get()).vformat(text, (), values)


def _refilled(text: str, values: Mapping[str, str]) -> str:
    """Puts in values that have got their format already."""
    return _FIELD.sub(lambda field: values[field[1]], text)


@functools.cache
def _formatter(language: str) -> _Formatter:
    return _Formatter(language)


@functools.cache
def _catalogue(language: str) -> NullTranslations:
    """Returns the texts of a language, of "pt" for "pt-BR" when there are no nearer ones."""
    for name in (language.replace("-", "_"), language.partition("-")[0]):
        if name.replace("_", "").isalnum() and _file(name).is_file():
            return _read(name)
    return NullTranslations()


@functools.cache
def _read(name: str) -> GNUTranslations:
    with _file(name).open("rb") as file:
        catalogue = read_po(file, locale=name)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return GNUTranslations(compiled)


@functools.cache
def _patterns(language: str) -> list[tuple[re.Pattern[str], str]]:
    """Returns the templates of a language, those with the most words of their own first."""
    catalogue = _catalogue(language)
    # The standard library offers no other way to list what is in a catalogue.
    keys = getattr(catalogue, "_catalog", {})
    texts = {key[0] if isinstance(key, tuple) else key for key in keys}
    own = {text: len(_FIELD.sub("", text)) for text in texts if _FIELD.search(text)}
    found = [text for text, length in own.items() if length >= _LEAST and "\x04" not in text]
    return [(_pattern(text), text) for text in sorted(found, key=lambda text: (-own[text], text))]


def _pattern(template: str) -> re.Pattern[str]:
    parts: list[str] = []
    seen: set[str] = set()
    end = 0
    for field in _FIELD.finditer(template):
        parts.append(re.escape(template[end : field.start()]))
        parts.append(f"(?P={field[1]})" if field[1] in seen else f"(?P<{field[1]}>.*?)")
        seen.add(field[1])
        end = field.end()
    return re.compile("".join(parts) + re.escape(template[end:]), re.DOTALL)


def _file(name: str) -> Path:
    return FOLDER / name / "LC_MESSAGES" / "easel.po"
