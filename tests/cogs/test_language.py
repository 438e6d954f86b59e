"""Languages: complete catalogues, commands that Discord takes, and people who read no English."""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Iterator
from typing import Any

import discord
import pytest
import simcord.interactions
from babel.messages.catalog import Catalog

from cogs import _language, _messages
from cogs._language import again, speaking, t, tn
from engine.errors import QuotaExceededError, RefusedFileError
from engine.intake.kinds import ALLOWED
from engine.intake.still import broken
from engine.words import N_
from playground.clock import Clock
from playground.commands import Commands
from playground.world import World as PlaygroundWorld
from storage.people import LANGUAGES
from tests.cogs.conftest import World, labels

SOURCES = [
    path
    for folder in _messages.FOLDERS
    for path in sorted((_messages.ROOT / folder).rglob("*.py"))
    if "pocket" not in path.parts
]
FIELD = re.compile(r"\{\w+(?:![rs])?(?::[^{}]*)?\}")
LOG = {"log", "_log"}


@pytest.fixture(scope="module")
def found() -> Catalog:
    return asyncio.run(_messages.collected())


def of(catalogue: Catalog) -> dict[tuple[str | None, str], Any]:
    """All texts by context and (first) English form."""
    return {(one.context, forms(one.id)[0]): one for one in catalogue if one.id}


def forms(text: Any) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text)


@pytest.mark.parametrize("language", _language.languages())
def test_no_text_is_missing(language: str, found: Catalog) -> None:
    wanted, there = of(found), of(_messages.read(language))
    hint = "run `make messages` and fill in"
    assert {key for key in wanted if key not in there} == set(), hint
    assert {key for key in there if key not in wanted} == set(), "run `make messages`"
    assert [key for key, one in there.items() if one.fuzzy or not all(forms(one.string))] == [], (
        hint
    )


@pytest.mark.parametrize("language", _language.languages())
def test_translations_have_the_values_of_the_original(language: str) -> None:
    for (_, text), one in of(_messages.read(language)).items():
        wanted = set(FIELD.findall(forms(one.id)[-1]))
        for form in forms(one.string):
            assert set(FIELD.findall(form)) == wanted, text
            assert form.count("**") % 2 == form.count("`") % 2 == 0, text


@pytest.mark.parametrize("language", _language.languages())
async def test_translations_name_commands_as_discord_shows_them(language: str) -> None:
    names = {name: True async for name in command_names()}
    mention = re.compile(rf"(?<![\w/:])/({'|'.join(sorted(names, key=len, reverse=True))})(?!\w)")
    for (_, text), one in of(_messages.read(language)).items():
        with speaking(language):
            shown = {_language.name_of_command(name) for name in mention.findall(text)}
        for name in shown:
            assert name in forms(one.string)[0], f"{text!r} names {name}"


async def command_names() -> Any:
    """Full names of all commands: "imagine", "history list"."""
    tree = await _messages.tree()
    for command in tree.walk_commands():
        yield command.qualified_name


async def test_commands_are_as_discord_takes_them() -> None:
    tree = await _messages.tree()
    payload = [
        await command.get_translated_payload(tree, _language.Translator())
        for command in tree.get_commands()
    ]
    Commands(PlaygroundWorld(Clock(), "easel")).overwrite(None, payload)  # raises
    by_name = {one["name"]: one for one in payload}
    assert by_name["history"]["name_localizations"] == {"de": "verlauf", "ja": "履歴"}
    assert by_name["imagine"]["description_localizations"]["de"] == "Macht aus Worten ein Bild."
    assert by_name["Image info"]["name_localizations"] == {"de": "Bildinfo", "ja": "画像の情報"}


async def test_discord_gets_the_commands_in_all_languages(world: World) -> None:
    commands = world.env.backend.visible_commands(user_id=world.ann.id, channel_id=world.channel.id)
    (history,) = (one for one in commands if one["name"] == "history")
    assert history["name_localizations"]["ja"] == "履歴"
    assert history["options"][0]["description_localizations"]["de"].startswith("Deine Bilder")


def test_texts_are_found_and_keep_their_values_apart(found: Catalog) -> None:
    """A sentence that is put together before it is said can be in no catalogue."""
    known = {form for _, one in of(found).items() for form in forms(one.id)}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in _messages.KEYWORDS:
                place = f"{path.relative_to(_messages.ROOT)}:{node.lineno}"
                text = node.args[0]
                assert not isinstance(text, ast.JoinedStr | ast.BinOp), place
                if isinstance(text, ast.Constant) and text.value:  # not inside an f-string
                    assert text.value in known, f"{place}: {text.value!r} is not found"


def test_every_sentence_of_the_cogs_is_in_the_catalogues(found: Catalog) -> None:
    known = {form for _, one in of(found).items() for form in forms(one.id)}
    for path in SOURCES:
        if path.parent.name == "cogs" and path.name not in ("_messages.py", "_language.py"):
            for line, text in sentences(ast.parse(path.read_text())):
                assert text in known, f"{path.name}:{line}: {text!r} is not marked by t() or N_()"


def sentences(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Texts with words and a full stop, but for docstrings and what goes to the log."""
    if isinstance(tree, ast.Expr) and isinstance(tree.value, ast.Constant):
        return
    called = tree.func if isinstance(tree, ast.Call) else None
    if isinstance(called, ast.Attribute) and getattr(called.value, "id", "") == "log":
        return
    text = ""
    if isinstance(tree, ast.JoinedStr):
        text = "".join(
            str(part.value) if isinstance(part, ast.Constant) else "_" for part in tree.values
        )
    elif isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        text = tree.value
    if re.search(r"[a-z]{2,},? [a-z]{2,}[^.]*\.$", text):
        yield getattr(tree, "lineno", 0), text
    if not isinstance(tree, ast.JoinedStr):
        for child in ast.iter_child_nodes(tree):
            yield from sentences(child)


def test_languages_that_people_can_choose_have_a_catalogue() -> None:
    assert set(LANGUAGES) == {"en", *_language.languages()}


@pytest.mark.parametrize("locale", ["en-US", "en-GB", "fi", "pt-BR", "xx", "", "../de"])
def test_unknown_languages_are_english(locale: str) -> None:
    with speaking(locale):
        assert t("The prompt is empty. Say what the picture should show.").startswith("The prompt")
        assert again("a web page") == "a web page"


def test_numbers_and_plurals_are_those_of_the_language() -> None:
    one, many = "{number:,} picture", "{number:,} pictures"
    with speaking("de"):
        assert [tn(one, many, n) for n in (1, 1200)] == ["1 Bild", "1.200 Bilder"]
        assert t("{seconds:.1f} s", seconds=3.25) == "3,2 s"
    with speaking("ja"):
        assert tn(one, many, 1200) == "1,200枚の画像"
    assert tn(one, many, 1200) == "1,200 pictures"


def test_refusals_of_other_processes_are_recognised() -> None:
    sent = str(broken("PNG", N_("its end is missing")))  # as it comes from the child
    with speaking("de"):
        told = _language.told(RefusedFileError(sent))
        assert told.startswith("Diese PNG-Datei ist beschädigt: ihr Ende fehlt. Speichere")
        assert again("That is a web page; send PNG, JPEG or WebP.") == (
            "Das ist eine Webseite; schick PNG, JPEG oder WebP."
        )
        assert again("A sentence of nobody.") == "A sentence of nobody."
    assert str(ALLOWED) in sent


def test_words_of_people_are_not_translated() -> None:
    error = QuotaExceededError(
        'There is no style "{name}". There are none here yet.', None, name="Older"
    )
    with speaking("de"):
        assert _language.told(error) == 'Den Stil "Older" gibt es nicht. Hier gibt es noch keine.'


@pytest.fixture
def locale(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Everybody's Discord speaks the parameter; simcord's is English only."""
    make = simcord.interactions.base_payload

    def payload(*args: Any, **kwargs: Any) -> Any:
        record, sent = make(*args, **kwargs)
        return record, {**sent, "locale": request.param}

    monkeypatch.setattr(simcord.interactions, "base_payload", payload)
    return str(request.param)


@pytest.mark.parametrize("locale", ["de"], indirect=True)
async def test_a_german_reads_german(world: World, locale: str) -> None:
    seen: list[str] = []

    async def see(answer: Any) -> None:
        message = answer.response
        assert message is not None
        seen.extend([message.content, *labels(message)])
        for embed in message.embeds:
            seen.extend([embed.title or "", embed.description or "", embed.footer.text or ""])
            seen.extend(text for field in embed.fields for text in (field.name, field.value))

    await see(await world.ann.slash(world.channel, "imagine", prompt="a cat", width=33))
    await world.ann.slash(world.channel, "imagine", prompt="a cat", seed=7)

    def finished() -> discord.Message | None:
        return next((m for m in world.messages() if "Neu würfeln" in labels(m)), None)

    result = await world.until(finished, "a result with German buttons")
    assert "Seed 7" in result.content
    seen.extend([result.content, *labels(result)])
    await see(await world.ann.click(result, label="Info"))
    await see(await world.ann.click(result, label="Stern"))
    for command in (
        "queue view",
        "history list",
        "me",
        "settings",
        "privacy notice",
        "styles browse",
    ):
        await see(await world.ann.slash(world.channel, command))
    for topic in ("start", "options", "limits", "buttons"):
        await see(await world.ann.slash(world.channel, "help", topic=topic))
    text = "\n".join(seen)
    assert "/imagine prompt:a cat negativ:" in text  # to be pasted into a German Discord
    for (_, english), one in of(_messages.read("de")).items():
        if len(english) > 20 and not FIELD.search(english) and forms(one.string)[0] != english:
            assert english not in text


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("de", "Der Prompt ist leer."),
        ("ja", "プロンプトが空です。"),
        ("fi", "The prompt is empty."),
    ],
    indirect=["locale"],
)
async def test_refusals_are_in_the_persons_language(world: World, locale: str, words: str) -> None:
    answer = await world.ann.slash(world.channel, "imagine", prompt="\u200b")
    assert answer.ephemeral
    assert answer.response is not None
    assert answer.response.content.startswith(words)


@pytest.mark.parametrize("locale", ["de"], indirect=True)
async def test_a_choice_wins_over_discords_language(world: World, locale: str) -> None:
    people = world.parts.people
    await people.set_preferences(
        world.ann.id, "ann", people.preferences(0).__class__(language="ja")
    )
    answer = await world.ann.slash(world.channel, "queue view")
    assert answer.response is not None
    assert answer.response.embeds[0].title == "あなたのジョブ"


def test_only_community_servers_have_a_language() -> None:
    class Guild:
        preferred_locale = discord.Locale.japanese
        features: tuple[str, ...] = ("COMMUNITY",)

    guild: Any = Guild()
    assert _language.of_server(guild) == "ja"
    guild.features = ()
    assert _language.of_server(guild) is None
    assert _language.of_server(None) is None
