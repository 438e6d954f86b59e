"""Rules of channels: what counts where, what is remembered, and that a server's hold in no other."""

from __future__ import annotations

import pytest

from storage.channel_rules import (
    ALLOWED,
    DENIED,
    SET_MODE,
    WHOLE_SERVER,
    ChannelRule,
    ChannelRules,
    Mode,
)
from tests.storage.samples import Store

SERVER, OTHER, MOD = 20, 30, 99
ART, TALK = 201, 202


@pytest.fixture
def rules(store: Store) -> ChannelRules:
    return ChannelRules(store.db)


async def test_without_rules_pictures_are_made_everywhere(rules: ChannelRules) -> None:
    assert rules.allows(SERVER, ART)
    assert rules.mode(SERVER, ART) is Mode.NONE
    assert rules.of_server(SERVER) == {}


@pytest.mark.parametrize("server", [None, True, False])
@pytest.mark.parametrize("own", [None, True, False])
async def test_a_channels_own_rule_comes_before_that_of_the_server(
    rules: ChannelRules, server: bool | None, own: bool | None
) -> None:
    for channel_id, allowed in ((WHOLE_SERVER, server), (ART, own)):
        if allowed is not None:
            await rules.set_allowed(SERVER, channel_id, allowed, actor_id=MOD)
    assert rules.allows(SERVER, ART) is (own if own is not None else server is not False)
    assert rules.allows(SERVER, TALK) is (server is not False)


async def test_modes_and_permissions_do_not_change_each_other(rules: ChannelRules) -> None:
    await rules.set_mode(SERVER, WHOLE_SERVER, Mode.SFW, actor_id=MOD)
    await rules.set_mode(SERVER, ART, Mode.NONE, actor_id=MOD)
    await rules.set_allowed(SERVER, ART, False, actor_id=MOD)
    await rules.set_allowed(SERVER, TALK, True, actor_id=MOD)
    assert (rules.mode(SERVER, ART), rules.mode(SERVER, TALK)) == (Mode.NONE, Mode.SFW)
    assert rules.rule(SERVER, ART) == ChannelRule(False, Mode.NONE)
    await rules.set_mode(SERVER, ART, Mode.SPOILER, actor_id=MOD)
    assert rules.rule(SERVER, ART) == ChannelRule(False, Mode.SPOILER)


async def test_they_are_there_after_a_restart_and_every_act_is_in_the_audit(
    store: Store, rules: ChannelRules
) -> None:
    await rules.set_allowed(SERVER, WHOLE_SERVER, False, actor_id=MOD)
    await rules.set_allowed(SERVER, ART, True, actor_id=MOD)
    await rules.set_mode(SERVER, ART, Mode.NSFW_ONLY, actor_id=MOD)
    again = ChannelRules(store.db)
    await again.load()
    assert again.of_server(SERVER) == {
        WHOLE_SERVER: ChannelRule(allowed=False),
        ART: ChannelRule(True, Mode.NSFW_ONLY),
    }
    assert [(one.actor_id, one.act, one.detail) for one in await store.audit.newest()] == [
        (MOD, SET_MODE, {"guild_id": SERVER, "channel_id": ART, "mode": "nsfw-only"}),
        (MOD, ALLOWED, {"guild_id": SERVER, "channel_id": ART}),
        (MOD, DENIED, {"guild_id": SERVER, "channel_id": None}),
    ]


async def test_a_rule_counts_in_its_own_server_alone_even_for_a_foreign_channel(
    rules: ChannelRules,
) -> None:
    await rules.set_allowed(SERVER, ART, False, actor_id=MOD)
    await rules.set_mode(SERVER, ART, Mode.SPOILER, actor_id=MOD)
    await rules.set_allowed(SERVER, WHOLE_SERVER, False, actor_id=MOD)
    assert rules.allows(OTHER, ART)
    assert rules.mode(OTHER, ART) is Mode.NONE
    assert rules.of_server(OTHER) == {}
