"""What becomes of a job that waited while another model was loaded.

It is made with that one when this changes nothing that the person chose: they named no model, the two
models are of one family, mean the same by what was left out, and the new one has what the job needs. Every
other job ends with an apology, uncharged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from engine.errors import InvalidRequestError
from engine.model_card import ModelCard
from engine.types import EngineInfo, GenerationRequest, Job
from engine.words import N_

MODEL_CHANGED = N_(
    "The model was changed from {old} to {new} while this waited, and {new} cannot make it as you asked "
    "for it. Ask for it again with {new}."
)

CardOf = Callable[[str], ModelCard | None]
Allows = Callable[[int | None, str], bool]


def refit(
    job: Job, info: EngineInfo, *, card_of: CardOf, allows: Allows = lambda _, __: True
) -> GenerationRequest:
    """Returns the job's request as the loaded model makes it.

    Args:
        job: One that waits.
        info: What the loaded model says of itself.
        card_of: Gives the cards of models by their names.
        allows: Whether a server (None: a DM) takes a model.

    Raises:
        InvalidRequestError: It cannot be made as it was asked for.
    """
    request = job.request
    if request.upscaler is not None:  # whichever model is loaded
        return request
    if request.model == info.model:
        info.check(request)
        return request
    old = card_of(request.model)
    changed = InvalidRequestError(MODEL_CHANGED, old=request.model, new=info.model)
    if job.submission.pins_model or old is None or not _means_the_same(old, info):
        raise changed
    if not allows(job.submission.destination.guild_id, info.model):
        raise changed
    adapted = dataclasses.replace(request, model=info.model)
    try:
        info.check(adapted)
    except InvalidRequestError as error:
        raise changed from error
    return adapted


def _means_the_same(old: ModelCard, new: EngineInfo) -> bool:
    """True when a request that leaves everything out is the same for both."""
    return (
        old.family == new.family
        and old.native_size == new.native_size
        and old.default_steps == new.default_steps
        and old.default_guidance_scale == new.default_guidance_scale
        and old.default_sampler == new.default_sampler
        and old.default_negative_prompt == new.default_negative_prompt
    )
