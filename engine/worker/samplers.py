"""From the sampler that a person picks to the diffusers scheduler that does it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_euler_ancestral_discrete import EulerAncestralDiscreteScheduler
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.schedulers.scheduling_lcm import LCMScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

from engine.errors import InvalidRequestError
from engine.types import Sampler

_CLASSES: dict[Sampler, Any] = {
    Sampler.DDIM: DDIMScheduler,
    Sampler.EULER: EulerDiscreteScheduler,
    Sampler.EULER_A: EulerAncestralDiscreteScheduler,
    Sampler.DPMPP_2M: DPMSolverMultistepScheduler,
    Sampler.DPMPP_2M_KARRAS: DPMSolverMultistepScheduler,
    Sampler.UNIPC: UniPCMultistepScheduler,
    Sampler.LCM: LCMScheduler,
}

# What the sampler's name promises, whatever scheduler the model was saved with.
_PLAIN_SIGMAS = {
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
}
_OPTIONS: dict[Sampler, Mapping[str, Any]] = {
    Sampler.DDIM: {"clip_sample": False},  # a latent is not bounded by 1
    Sampler.EULER: _PLAIN_SIGMAS,
    Sampler.EULER_A: {},
    Sampler.DPMPP_2M: {"algorithm_type": "dpmsolver++", "solver_order": 2, **_PLAIN_SIGMAS},
    Sampler.DPMPP_2M_KARRAS: {
        "algorithm_type": "dpmsolver++",
        "solver_order": 2,
        **_PLAIN_SIGMAS,
        "use_karras_sigmas": True,
    },
    Sampler.UNIPC: _PLAIN_SIGMAS,
    Sampler.LCM: {"clip_sample": False},
}


def make_scheduler(sampler: Sampler, config: Any, num_inference_steps: int) -> Any:
    """Returns a scheduler of its own for one picture, with its timesteps set.

    `config` is the model's own scheduler configuration: it carries the noise schedule and what the
    U-Net predicts (eps or v), which a scheduler made from nothing would lose.

    Raises:
        InvalidRequestError: The sampler cannot run that many steps.
    """
    scheduler = _CLASSES[sampler].from_config(config, **_OPTIONS[sampler])
    if sampler is Sampler.LCM:
        most = scheduler.config.original_inference_steps
        if num_inference_steps > most:
            raise InvalidRequestError(
                f"The sampler lcm runs at most {most} steps, not {num_inference_steps}. "
                "Use fewer (4 to 8 are usual) or another sampler."
            )
    # On the CPU even with a GPU: looking a step up there would wait for the GPU each time.
    scheduler.set_timesteps(num_inference_steps, device="cpu")
    return scheduler


def takes_generator(scheduler: Any) -> bool:
    """Returns True when the scheduler's step draws noise from a given generator."""
    return "generator" in inspect.signature(scheduler.step).parameters
