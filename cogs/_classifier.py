"""`/admin safety classifier`: what becomes of unsafe pictures in a server."""

from __future__ import annotations

import discord

from cogs import _answer
from cogs._desk import desk_of
from cogs._language import N_, t
from engine.errors import InvalidRequestError
from storage.safety import Classifier

NO_CLASSIFIER = N_(
    "There is no safety checker here that could look at pictures. The operator of this bot can set one "
    "(EASEL_SAFETY_CHECKER)."
)
NEEDS_CHANNEL = N_(
    "Held pictures wait in the channel of the reports, and there is none yet. Choose one by /admin safety "
    "reports."
)
WORDS = {
    Classifier.OFF: N_("Pictures are shown in this server whatever the safety checker finds."),
    Classifier.SPOILER: N_(
        "Pictures that the safety checker finds unsafe are hidden in this server until somebody clicks on "
        "them."
    ),
    Classifier.HOLD: N_(
        "Pictures that the safety checker finds unsafe wait in {channel} until a moderator releases them; "
        "private ones are not shown and cost nothing."
    ),
    Classifier.BLOCK: N_(
        "Pictures that the safety checker finds unsafe are not shown in this server and cost nothing."
    ),
}
LEFT_OUT = N_(
    "Age-restricted channels are left out, unless their mode is sfw. Status lines show no previews."
)


async def choose(interaction: discord.Interaction, guild_id: int, chosen: str | None) -> None:
    """Sets the mode, or shows the one that counts for None.

    Raises:
        InvalidRequestError: There is no classifier, or no channel for moderators.
    """
    desk = desk_of(interaction)
    safety = desk.parts.safety
    mode = safety.of(guild_id).classifier
    if chosen is not None:
        mode = Classifier(chosen)
        if mode is not Classifier.OFF and not desk.info().has_classifier:
            raise InvalidRequestError(NO_CLASSIFIER)
        if mode is Classifier.HOLD and safety.of(guild_id).reports is None:
            raise InvalidRequestError(NEEDS_CHANNEL)
        work = safety.set_classifier(guild_id, mode, actor_id=interaction.user.id)
        await _answer.in_time(interaction, work, ephemeral=True)
    words = [t(WORDS[mode], channel=f"<#{safety.of(guild_id).reports}>")]
    if mode is not Classifier.OFF:
        words.append(t(LEFT_OUT))
    await _answer.answer(interaction, " ".join(words), ephemeral=True)
