"""What the people of the demo do: the conversation that it plays, and what has to come of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass

from cli import props
from engine.pocket import LORAS_DIR
from playground import ChannelHandle, File, Invocation, Message, NoResponse, Person

_PICTURE_TIMEOUT_S = 180  # the first one waits for the engine to load
_CIRCLE = "a red circle on a blue background"
_HEART = "a red heart on a blue background"
_JUMPER = "a man in a yellow shirt and purple trousers on a cyan background"


@dataclass(frozen=True)
class Stage:
    """Where it happens, and who is there."""

    channel: ChannelHandle
    ana: Person
    ben: Person
    operator: Person


async def play(stage: Stage) -> None:
    """Plays all of it.

    Raises:
        NoResponse: Something was not answered, or answered wrongly.
    """
    first, several = await _imagine(stage)
    await _reply(stage, first)
    await _press(stage, first, several)
    await _pose(stage)
    await _style(stage)
    added = await _add_style(stage)
    await _stop(stage)
    await _misspell(stage)
    await _look_back(stage)
    if added is not None:
        await _look_at_style(stage, added)


async def _imagine(stage: Stage) -> tuple[Message, Message]:
    """Returns Ana's picture and Ben's two."""
    ana, ben = stage.ana, stage.ben
    say("Ana and Ben use /imagine at once; the engine is still loading")
    asked = await asyncio.gather(
        ana.slash("imagine", prompt=_CIRCLE, seed=7),
        ben.slash("imagine", prompt="a yellow star on a green background", count=2, seed=11),
    )
    await asyncio.gather(*(one.acknowledged() for one in asked))
    circle = await _result(stage, ana, "red circle")
    stars = await _result(stage, ben, "yellow star")
    _expect(len(circle.attachments) == 1, "one picture for Ana")
    _expect(len(stars.attachments) == 2, "two pictures for Ben")
    return circle, stars


async def _reply(stage: Stage, circle: Message) -> None:
    say("Ben replies to Ana's picture")
    reply = await stage.ben.send("a green circle on a blue background", reply_to=circle)
    await _result(stage, stage.ben, "green circle", after=reply)


async def _press(stage: Stage, circle: Message, stars: Message) -> None:
    ana, ben = stage.ana, stage.ben
    say(
        "Ana presses V2 for variations of Ben's second picture, Ben zooms out of Ana's and rerolls it"
    )
    presses = ((ana, stars, "V2"), (ben, circle, "Zoom 2x"), (ben, circle, "Reroll"))
    for person, message, label in presses:
        last = stage.channel.messages[-1]
        await (await person.press(message, label)).acknowledged()
        words = "yellow star" if message is stars else "red circle"
        await _result(stage, person, words, after=last)


async def _pose(stage: Stage) -> None:
    ana, ben = stage.ana, stage.ben
    say("Ana shows a picture, Ben looks at the pose in it and has somebody else take it")
    picture = File("jump.png", props.jumper(), "A woman jumps on a meadow")
    shown = await ana.send("Who jumps like this?", [picture])
    asked = await ben.slash("pose", prompt=_JUMPER, image=picture, seed=1, preview=True)
    preview = await asked.response(timeout_s=_PICTURE_TIMEOUT_S)
    _expect("openpose" in preview.content and len(preview.attachments) == 1, "the skeleton")
    await (await ben.press(preview, "Use")).acknowledged()
    await _result(stage, ben, _JUMPER, after=shown)


async def _style(stage: Stage) -> None:
    if not any(LORAS_DIR.glob("*.safetensors")):
        say("/style is left out: this installation has no trained styles of the pocket model")
        return
    ana = stage.ana
    names = await _styles_known_to(ana)
    say(f"Ana draws her circle again in the style {names[0]}")
    answer = await (await ana.slash("style", name=names[0])).response()
    _expect(names[0] in answer.content, "the style by its name")
    last = stage.channel.messages[-1]
    await ana.slash("imagine", prompt=_CIRCLE, seed=7)
    styled = await _result(stage, ana, "red circle", after=last)
    _expect(names[0] in styled.content, "the style below the picture")
    answer = await (await ana.slash("styles browse")).response()
    _expect(names[0] in str(answer.embeds), "the style among all of them")
    await (await ana.slash("style", name="none")).acknowledged()


async def _add_style(stage: Stage) -> str | None:
    """Returns the name of the new style."""
    file = await asyncio.to_thread(props.chalk)
    if file is None:
        return None
    say("The operator adds a LoRA, and Ben draws with it")
    added = await stage.operator.slash("admin lora add", file=File("chalk.safetensors", file))
    answer = await added.response(timeout_s=_PICTURE_TIMEOUT_S)
    _expect("Added: **chalk**" in answer.content, "the new style")
    choices = await stage.ben.autocomplete("imagine", "style", "cha")
    _expect([one["value"] for one in choices] == ["chalk"], "the new style in Ben's autocomplete")
    await stage.ben.slash("imagine", prompt=_HEART, seed=7, style="chalk")
    await _result(stage, stage.ben, _HEART, after=answer)
    return "chalk"


async def _look_at_style(stage: Stage, name: str) -> None:
    say("The operator looks at the preview that was drawn of the new style")
    async with asyncio.timeout(_PICTURE_TIMEOUT_S):
        while True:
            answer = await (await stage.operator.slash("admin lora info", style=name)).response()
            if answer.attachments:
                return
            await stage.operator.delete(answer)  # it is drawn when nobody's pictures wait
            await asyncio.sleep(1)


async def _styles_known_to(person: Person) -> list[str]:
    """Returns the names that are offered; each file is checked after the start, one by one."""
    try:
        async with asyncio.timeout(_PICTURE_TIMEOUT_S):
            while True:
                choices = await person.autocomplete("style", "name", "")
                names = [str(one["value"]) for one in choices if one["value"] != "none"]
                if names:
                    return names
                await asyncio.sleep(1)
    except TimeoutError as error:
        raise NoResponse("missing: the trained styles in /style") from error


async def _stop(stage: Stage) -> None:
    say("Ana starts a long job and stops it")
    long = await stage.ana.slash("imagine", prompt="a house under a tree", steps=60, count=4)
    status = await long.response()
    await stage.ana.press(status, "Stop" if "Stop" in status.buttons else "Cancel")
    await _until(long, lambda m: not m.buttons or m.is_deleted, "the status line without a button")


async def _misspell(stage: Stage) -> None:
    say("Ben misspells a sampler and is told")
    refused = await stage.ben.slash("imagine", {"prompt": "a boat", "sampler": "eulr"}, force=True)
    answer = await refused.response()
    _expect(answer.is_ephemeral and "euler" in answer.content, "the nearest sampler's name")


async def _look_back(stage: Stage) -> None:
    ben = stage.ben
    say("Ben stars his newest circle, looks at his history and at where the picture comes from")
    picture = (await ben.autocomplete("history star", "picture", "red circle"))[0]["value"]
    answer = await (await ben.slash("history star", picture=picture)).response()
    _expect("Starred" in answer.content, "the star")
    answer = await (await ben.slash("history list")).response()
    _expect("green circle" in str(answer.embeds) and bool(answer.attachments), "his pictures")
    answer = await (await ben.slash("history tree", picture=picture)).response()
    _expect("red circle" in str(answer.embeds) and bool(answer.attachments), "its family")


async def _result(stage: Stage, owner: Person, words: str, after: Message | None = None) -> Message:
    return await stage.channel.wait_for(
        lambda m: m.pings(owner.user) and words in m.content and "Info" in m.buttons,
        timeout_s=_PICTURE_TIMEOUT_S,
        after=after,
    )


async def _until(invocation: Invocation, check: Callable[[Message], bool], what: str) -> None:
    try:
        await invocation.wait_for(check)
    except NoResponse as error:
        raise NoResponse(f"missing: {what}") from error


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise NoResponse(f"missing: {what}")


def say(text: str) -> None:
    """Tells the person who watches what happens next."""
    print(f"· {text}", file=sys.stderr)
