"""From the sampler that a person picks to the diffusers scheduler that does it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_deis_multistep import DEISMultistepScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_dpmsolver_singlestep import DPMSolverSinglestepScheduler
from diffusers.schedulers.scheduling_euler_ancestral_discrete import EulerAncestralDiscreteScheduler
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.schedulers.scheduling_heun_discrete import HeunDiscreteScheduler
from diffusers.schedulers.scheduling_lcm import LCMScheduler
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from diffusers.schedulers.scheduling_tcd import TCDScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

from engine.errors import InvalidRequestError
from engine.types import Sampler

# The options are what the sampler's name promises, whatever scheduler the model was saved with.
_UNCLIPPED = {"clip_sample": False, "thresholding": False}  # a latent is not bounded by 1
_PLAIN_SIGMAS = {
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
}
_KARRAS_SIGMAS = _PLAIN_SIGMAS | {"use_karras_sigmas": True}
_DPMPP = {"algorithm_type": "dpmsolver++", "solver_order": 2, "thresholding": False}
_SCHEDULERS: dict[Sampler, tuple[Any, Mapping[str, Any]]] = {
    Sampler.DDIM: (DDIMScheduler, _UNCLIPPED),
    Sampler.DDPM: (DDPMScheduler, _UNCLIPPED | {"variance_type": "fixed_small"}),
    Sampler.EULER: (EulerDiscreteScheduler, _PLAIN_SIGMAS),
    Sampler.EULER_A: (EulerAncestralDiscreteScheduler, {}),
    Sampler.HEUN: (HeunDiscreteScheduler, _PLAIN_SIGMAS | {"clip_sample": False}),
    Sampler.DPMPP_2M: (DPMSolverMultistepScheduler, _DPMPP | _PLAIN_SIGMAS),
    Sampler.DPMPP_2M_KARRAS: (DPMSolverMultistepScheduler, _DPMPP | _KARRAS_SIGMAS),
    Sampler.DPMPP_2M_SDE_KARRAS: (
        DPMSolverMultistepScheduler,
        _DPMPP | _KARRAS_SIGMAS | {"algorithm_type": "sde-dpmsolver++"},
    ),
    Sampler.DPMPP_2S: (
        DPMSolverSinglestepScheduler,
        _DPMPP | _PLAIN_SIGMAS | {"lower_order_final": True},
    ),
    Sampler.UNIPC: (UniPCMultistepScheduler, _PLAIN_SIGMAS),
    Sampler.DEIS: (DEISMultistepScheduler, _PLAIN_SIGMAS | {"algorithm_type": "deis"}),
    Sampler.PNDM: (PNDMScheduler, {"skip_prk_steps": True}),  # what others call PLMS
    Sampler.LCM: (LCMScheduler, _UNCLIPPED),
    Sampler.TCD: (TCDScheduler, _UNCLIPPED),
}


def make_scheduler(
    sampler: Sampler, config: Any, num_inference_steps: int, first: int | None = None
) -> Any:
    """Returns a new scheduler with its timesteps set; image-to-image begins at step `first`.

    `config` is the model's own scheduler configuration: it carries the noise schedule and what the
    U-Net predicts (eps or v), which a scheduler made from nothing would lose.

    Raises:
        InvalidRequestError: The sampler cannot run that many steps.
    """
    cls, options = _SCHEDULERS[sampler]
    scheduler = cls.from_config(config, **options)
    try:
        # On the CPU even with a GPU: looking a step up there would wait for the GPU each time.
        scheduler.set_timesteps(num_inference_steps, device="cpu")
    except ValueError as error:
        most = scheduler.config.get(
            "original_inference_steps", scheduler.config.num_train_timesteps
        )
        raise InvalidRequestError(
            "The sampler {sampler} runs at most {limit} steps with this model, not {steps}. "
            "Use fewer or another sampler.",
            sampler=sampler,
            limit=most,
            steps=num_inference_steps,
        ) from error
    if first is not None and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first * scheduler.order)  # the others look it up by the timestep
    return scheduler


def remaining_timesteps(scheduler: Any, first: int | None) -> Any:
    """Returns the timesteps of the U-Net calls from step `first` on, a CPU tensor (calls,)."""
    return scheduler.timesteps[(first or 0) * scheduler.order :]


def takes_generator(scheduler: Any) -> bool:
    """Returns True when the scheduler's step draws noise from a given generator."""
    return "generator" in inspect.signature(scheduler.step).parameters
