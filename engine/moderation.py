"""Which prompts may be made: one of the queue's checks, so that no way into the queue goes past it.

It reads what the model would read, and the bot shows: the prompt with choices and wildcards written out and
with the words that call its styles, and the negative prompt. The engine gets all of it as it was typed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from engine.blocklist import Matcher, Pattern
from engine.errors import InvalidRequestError, NotAllowedError
from engine.folding import Folded, fold
from engine.types import Submission
from engine.words import N_, Words

EVERYWHERE = 0  # stands for a server where words count in all of them, and in DMs
MAX_WORDS = 1000  # of one list

TOO_MANY = N_("A list takes {limit:,} words, and this one would have {count:,}. Remove some first.")
_PROMPT, _NEGATIVE, _STYLE, _NAME = range(4)
_HERE: dict[int, Words] = {
    _PROMPT: N_(
        "This server does not allow some of the words in your prompt. Change them and try again."
    ),
    _NEGATIVE: N_(
        "This server does not allow some of the words in the negative prompt. Change them and try "
        "again."
    ),
    _STYLE: N_(
        "This server does not allow some of the words that this style adds to the prompt. Choose "
        "another style."
    ),
    _NAME: N_("This server does not allow some of the words in that name. Choose another one."),
}
_ANYWHERE: dict[int, Words] = {
    _PROMPT: N_("Some of the words in your prompt are not allowed. Change them and try again."),
    _NEGATIVE: N_(
        "Some of the words in the negative prompt are not allowed. Change them and try again."
    ),
    _STYLE: N_(
        "Some of the words that this style adds to the prompt are not allowed. Choose another style."
    ),
    _NAME: N_("Some of the words in that name are not allowed. Choose another one."),
}


class WordStore(Protocol):
    """Remembers the words; `storage.blocked_words.BlockedWords`."""

    async def all(self) -> dict[int, list[str]]:
        """Returns all of them by server."""

    async def add(self, guild_id: int, words: Sequence[str], *, actor_id: int) -> None:
        """Stores some."""

    async def remove(self, guild_id: int, words: Sequence[str], *, actor_id: int) -> None:
        """Forgets some."""


class Moderation:
    """The lists of words, in memory."""

    def __init__(
        self,
        *,
        store: WordStore,
        harmless: Callable[[Submission], Collection[str | None]] = lambda _: (),
    ) -> None:
        """Knows no word before `load`.

        Args:
            store: Where the words are.
            harmless: Negative prompts that nobody typed: they keep out what a list may name, too.
        """
        self._store = store
        self._harmless = harmless
        self._words: dict[int, dict[str, str]] = {}  # of each server: key to the word as typed
        self._matchers: dict[int, Matcher] = {}
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Reads the lists."""
        for guild_id, words in (await self._store.all()).items():
            await self._keep(guild_id, {Pattern.parse(word).key: word for word in words})

    def words(self, guild_id: int) -> list[str]:
        """Returns a server's words in alphabetical order; see `EVERYWHERE`."""
        return sorted(self._words.get(guild_id, {}).values(), key=str.casefold)

    async def add(self, guild_id: int, words: Iterable[str], *, actor_id: int) -> int:
        """Puts words on a list and returns how many of them are new.

        Raises:
            InvalidRequestError: One of them cannot be used, or they would be too many.
        """
        given = {Pattern.parse(word).key: " ".join(word.split()) for word in words}
        async with self._changing:
            known = self._words.get(guild_id, {})
            new = {key: word for key, word in given.items() if key not in known}
            if len(known) + len(new) > MAX_WORDS:
                raise InvalidRequestError(TOO_MANY, limit=MAX_WORDS, count=len(known) + len(new))
            if new:
                await self._store.add(guild_id, list(new.values()), actor_id=actor_id)
                await self._keep(guild_id, known | new)
        return len(new)

    async def remove(self, guild_id: int, words: Iterable[str], *, actor_id: int) -> int:
        """Takes words off a list and returns how many of them were on it.

        Raises:
            InvalidRequestError: One of them can be no word.
        """
        keys = {Pattern.parse(word).key for word in words}
        async with self._changing:
            known = self._words.get(guild_id, {})
            gone = [word for key, word in known.items() if key in keys]
            if gone:
                await self._store.remove(guild_id, gone, actor_id=actor_id)
                left = {key: word for key, word in known.items() if key not in keys}
                await self._keep(guild_id, left)
        return len(gone)

    async def check(self, submission: Submission) -> None:
        """Raises NotAllowedError when the request has a word that its server, or the bot, forbids."""
        if not self._matchers:
            return
        request, guild_id = submission.request, submission.destination.guild_id
        self._refuse(guild_id, fold(request.prompt), _PROMPT)
        negative = request.negative_prompt
        if negative and negative not in self._harmless(submission):
            self._refuse(guild_id, fold(negative), _NEGATIVE)
        if request.full_prompt != request.prompt:
            self._refuse(guild_id, fold(request.full_prompt), _STYLE)

    def check_prompt(self, guild_id: int | None, prompt: str) -> None:
        """Raises NotAllowedError when a prompt may not be shown in a server; None is a DM."""
        self._refuse(guild_id, fold(prompt), _PROMPT)

    def check_name(self, guild_id: int | None, name: str) -> None:
        """Raises NotAllowedError when others may not see a name that somebody gives to something."""
        self._refuse(guild_id, fold(name), _NAME)

    def allows(self, guild_id: int | None, text: str) -> bool:
        """Returns whether a text has none of the words."""
        folded = fold(text) if self._matchers else None
        return folded is None or not any(
            matcher.finds(folded) for matcher, _ in self._for(guild_id)
        )

    def _refuse(self, guild_id: int | None, text: Folded, what: int) -> None:
        for matcher, sentences in self._for(guild_id):
            if matcher.finds(text):
                raise NotAllowedError(sentences[what])

    def _for(self, guild_id: int | None) -> Iterable[tuple[Matcher, dict[int, Words]]]:
        """Yields the lists that count in a server, with what is said to what they forbid."""
        if (matcher := self._matchers.get(EVERYWHERE)) is not None:
            yield matcher, _ANYWHERE
        if guild_id and (matcher := self._matchers.get(guild_id)) is not None:
            yield matcher, _HERE

    async def _keep(self, guild_id: int, words: dict[str, str]) -> None:
        if not words:
            self._words.pop(guild_id, None)
            self._matchers.pop(guild_id, None)
            return
        matcher = await asyncio.to_thread(
            lambda: Matcher(Pattern.parse(word) for word in words.values())
        )
        self._words[guild_id], self._matchers[guild_id] = words, matcher
