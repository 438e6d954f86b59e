"""Where the operator has set no safety checker."""

from __future__ import annotations

from cogs import _classifier, _unsafe
from storage.safety import Classifier
from tests.cogs.conftest import World
from tests.cogs.test_admin_limits import words

SET = "admin safety classifier"


async def test_without_a_checker_the_modes_cannot_be_chosen_and_nothing_is_made_unchecked(
    world: World,
) -> None:
    manager = world.manager()
    for mode in ("spoiler", "block"):
        answer = await manager.slash(world.channel, SET, mode=mode)
        assert words(answer).startswith("There is no safety checker here")
    answer = await manager.slash(world.channel, SET, mode="off")
    assert words(answer) == _classifier.WORDS[Classifier.OFF]
    # It was there once, and the operator has taken it away.
    await world.parts.safety.set_classifier(world.guild.id, Classifier.BLOCK, actor_id=1)
    answer = await world.ann.slash(world.channel, "imagine", prompt="a dog")
    assert words(answer) == _unsafe.NOT_CHECKED
    await world.ann.user.slash("imagine", prompt="a dog")
    await world.result(1, world.ann.user.dm_channel)
