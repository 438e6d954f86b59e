"""25 people who keep the bot busy: a seed decides what they ask for, the same with faults or without."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

from playground import ChannelHandle, ClientRefused, File, Message, Person, Playground
from playground.errors import NoResponse
from playground.invocation import Invocation
from playground.model import Json
from tests.faults.killing import picture

PEOPLE = 25
HANDS = (
    2  # what a person waits for at the same time: there is a queue also while nothing can be asked
)
CHANNELS = 5
IN_DMS = 2  # so many of them write to the bot alone
END_TIMEOUT_S = 90.0  # then they go on without it; the checker knows whether it came
LATER_S = 0.5  # before they try again what was not answered
# What they do and how often.
ACTS = {
    "imagine": 40,
    "several": 10,
    "reroll": 12,
    "vary": 8,
    "reply": 12,
    "remix": 6,
    "upload": 6,
    "cancel": 6,
}
# Words that break the scripted engine once; only people of a run with faults say them.
ENGINE_WORDS = ("engine:garbage-once", "engine:exit-once", "engine:partial-once", "engine:fail")


class Ends:
    """The results and apologies as they come, by the person that they mention."""

    def __init__(self, discord: Playground) -> None:
        self._discord = discord
        self._awaited: dict[str, deque[asyncio.Event]] = {}
        self.count = 0
        self.last_t = 0.0
        self.newest: dict[str, Message] = {}
        self.on_end: list[Callable[[int], None]] = []
        discord.recorder.listeners.append(self._look)

    def expect(self, person: Person) -> asyncio.Event:
        """Is set by the next end that mentions the person and nobody before has waited for."""
        event = asyncio.Event()
        self._awaited.setdefault(str(person.id), deque()).append(event)
        return event

    def forget(self, person: Person, event: asyncio.Event) -> None:
        """Waits for it no more."""
        with suppress(ValueError):
            self._awaited[str(person.id)].remove(event)

    def _look(self, record: Json) -> None:
        is_end = record["kind"] == "message" and str(record["nonce"]).endswith((":r", ":f"))
        if not is_end:
            return
        self.count += 1
        self.last_t = record["t"]
        channel = self._discord.world.channels[int(record["channel_id"])]
        for user_id in record["mentions"]:
            if record["attachments"]:
                self.newest[user_id] = channel.messages[int(record["id"])]
            if self._awaited.get(user_id):
                self._awaited[user_id].popleft().set()
        for listener in self.on_end:
            listener(self.count)


class Crowd:
    """The people, the places where they are, and what came of their acts."""

    def __init__(
        self, discord: Playground, seed: int, jobs: int, *, breaks_engine: bool = False
    ) -> None:
        self.discord = discord
        self.ends = Ends(discord)
        self.acts = Counter[str]()
        self._breaks_engine = breaks_engine
        self._jobs = jobs
        self._seed = seed
        self.guild = discord.guild("Studio")
        for number in range(CHANNELS):
            self.guild.channel(f"art-{number + 1}")
        self.moderator = self.guild.member("Mo", self.guild.role("Mods", "manage_messages"))
        self.people = [self.guild.member(f"Person {n + 1}") for n in range(PEOPLE)]
        for number, person in enumerate(self.people):
            person.go(person.dm if number < IN_DMS else self.guild.channels[number % CHANNELS])

    @property
    def channels(self) -> list[ChannelHandle]:
        """Those that are still there."""
        return [handle for handle in self.guild.channels if not handle.channel.deleted]

    async def busy(self) -> None:
        """Returns when all acts are done, and what came of each was waited for.

        Whoever is free does the next one, so that somebody who waits in vain holds up no other.
        """
        turns = iter(range(self._jobs))
        async with asyncio.TaskGroup() as group:
            for number in range(PEOPLE * HANDS):
                group.create_task(self._one(self.people[number % PEOPLE], turns))

    async def _one(self, person: Person, turns: Iterator[int]) -> None:
        for turn in turns:
            choose = random.Random(self._seed * 1000 + turn)
            [act] = choose.choices(list(ACTS), list(ACTS.values()))
            words = f"act {turn} a {choose.randrange(10_000)}"
            trouble = choose.random() < 0.03, choose.choice(ENGINE_WORDS)
            if self._breaks_engine and trouble[0] and act in ("imagine", "several"):
                words = f"{words} {trouble[1]}"
            await self._until_asked(person, act, words)

    async def _until_asked(self, person: Person, act: str, words: str) -> None:
        """Does it until the bot has answered, as people do, and waits for the end."""
        while True:
            if person.place is None or person.place.channel.deleted:
                person.go(self.channels[person.id % len(self.channels)])
            came = self.ends.expect(person)
            try:
                has_asked = await self._do(person, act, words)
            except (NoResponse, ClientRefused):
                has_asked = False
            if has_asked:
                break
            self.ends.forget(person, came)
            if act in ("reroll", "vary", "reply", "remix"):
                act = "imagine"  # the picture is gone
            await asyncio.sleep(LATER_S)
        self.acts[act] += 1
        if act == "cancel":
            self.ends.forget(person, came)
            return
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                await came.wait()
        except TimeoutError:
            self.ends.forget(person, came)
            self.acts["gave up waiting"] += 1

    async def _do(self, person: Person, act: str, words: str) -> bool:
        """Returns True when a job was accepted."""
        newest = self.ends.newest.get(str(person.id))
        if newest is None or newest.is_deleted or self._is_away(newest):
            newest = None
        match act:
            case "several":
                return await is_accepted(person.slash("imagine", prompt=words, count=2))
            case "upload":
                photo = File("photo.png", picture(sum(words.encode())))
                return await is_accepted(person.slash("imagine", prompt=words, image=photo))
            case "cancel":
                asked = await person.slash("imagine", prompt=f"{words}", steps=40)
                line = await asked.response()
                label = label_of(line, "Cancel", "Stop")
                await (await person.press(line, label)).acknowledged()
                return True
            case "reroll" | "vary" if newest is not None:
                # "Vary (Subtle)", or "V1" of several.
                label = label_of(newest, "Reroll" if act == "reroll" else "V")
                return await is_accepted(person.press(newest, label))
            case "remix" if newest is not None:
                return await is_accepted(person.slash("remix", prompt=words, source=link(newest)))
            case "reply" if newest is not None and newest.channel_id == person.place.id:
                reply = await person.send(words, reply_to=newest)
                return await self._is_answered(reply)
            case _:
                return await is_accepted(person.slash("imagine", prompt=words))

    def _is_away(self, message: Message) -> bool:
        return self.discord.world.channels[message.channel_id].deleted

    async def _is_answered(self, reply: Message) -> bool:
        """Waits for the line that a reply gets; nobody is told when it was lost."""
        came = asyncio.Event()

        def look(record: Json) -> None:
            if record["kind"] == "message" and record["reference"] == str(reply.id):
                came.set()

        self.discord.recorder.listeners.append(look)
        try:
            async with asyncio.timeout(5):
                await came.wait()
            return True
        except TimeoutError:
            return False
        finally:
            self.discord.recorder.listeners.remove(look)


async def is_accepted(asking: Awaitable[Invocation]) -> bool:
    """Returns True when the answer is a status line, and no refusal."""
    asked = await asking
    await asked.acknowledged()
    line = await asked.wait_for(lambda message: not message.is_loading)
    return not line.is_ephemeral


def label_of(message: Message, *beginnings: str) -> str:
    """The first button whose label begins so.

    Raises:
        ClientRefused: There is none: a refusal, or a line that already has another face.
    """
    for label in message.buttons:
        if label.startswith(beginnings):
            return label
    raise ClientRefused(f"no button {beginnings} on {message.content!r}")


def link(message: Message) -> str:
    guild = message.guild_id or "@me"
    return f"https://discord.com/channels/{guild}/{message.channel_id}/{message.id}"
