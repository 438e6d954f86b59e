"""The `/pose ...` that makes a picture again: its own control map is the source."""

from __future__ import annotations

from cogs import _options, _parcel, _text
from cogs._language import N_, t
from engine.types import Generation

COPY = N_("Copy this to make the same picture again:")
COPY_AND_ATTACH = N_("Copy this, and attach the picture with the option image:")


def recipe(generation: Generation, viewer_id: int, style: str) -> tuple[str, str]:
    """Returns what to say of the command, and the command, one line.

    Args:
        generation: Made with a control, and from no picture.
        viewer_id: Who wants to know; other people's pictures are known by a link to their message.
        style: What stands for the request's LoRAs.
    """
    request = generation.request
    control = request.controls[0]
    prompt = _text.clean(request.prompt)
    options: dict[str, object] = {
        "prompt": f"{prompt} --hd" if request.second_pass is not None else prompt
    }
    is_own = generation.submission.owner_id == viewer_id
    source = generation.id if is_own else _parcel.link(generation)
    if source is not None:
        options["source"] = source
    options |= {
        "control": control.kind,
        "control_strength": f"{control.scale:g}",
        "start": f"{control.start:g}",
        "end": f"{control.end:g}",
        "negative": _text.clean(request.negative_prompt) or _options.NO_NEGATIVE,
        "model": request.model,
        "width": request.width,
        "height": request.height,
        "count": request.num_images,
        "seed": request.seed,
        "steps": request.num_inference_steps,
        "guidance": repr(float(request.guidance_scale)).removesuffix(".0"),
        "sampler": request.sampler,
        "style": style or "none",
    }
    return t(COPY if source is not None else COPY_AND_ATTACH), _options.typed("pose", options)
