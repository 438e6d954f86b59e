"""Compiled blocks of the U-Net: torch.compile for the blocks that it repeats, before the engine is ready.

Each shape of call is compiled at the start and compared with the block as it is. What comes later in
another shape (another size, a third length of texts) runs as it is: nobody's steps wait for a compiler.

Not tried on a GPU yet: the tests compile for the CPU.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D

from engine.worker.faults import is_device_lost

log = logging.getLogger(__name__)

KINDS: Mapping[str, Any] = {"transformer": BasicTransformerBlock, "resnet": ResnetBlock2D}
_TOLERANCE = 0.02  # of the largest output, between compiled blocks and the blocks as they are
_MOST_VARIANTS = 2000  # of one block: rows, texts, LoRAs, and each depth of the U-Net


def choose(setting: str) -> tuple[str, ...]:
    """Returns the kinds of blocks that `EASEL_COMPILED_BLOCKS` means."""
    return () if setting == "off" else tuple(kind for kind in KINDS if kind in setting)


def compile_blocks(
    unet: Any,
    kinds: Sequence[str],
    calls: Sequence[Callable[[], Any]],
    report: Callable[[float], None],
    *,
    backend: Any = "inductor",
) -> tuple[str, ...]:
    """Compiles the U-Net's blocks, one kind after the other, for all shapes of calls.

    A kind that cannot be compiled, or that gives other numbers, runs as it is; one warning says why.

    Args:
        unet: The U-Net; its blocks are changed in place.
        kinds: Of `KINDS`.
        calls: One call of each shape that is to be compiled; returns the U-Net's output.
        report: Is told the share that is done.
        backend: As in torch.compile.

    Returns:
        The kinds that are compiled.

    Raises:
        RuntimeError: The device is lost, see `is_device_lost`.
    """
    if not kinds:
        return ()
    if not calls:
        log.warning("Compiled blocks need row buckets (EASEL_ROW_BUCKETS), so nothing is compiled.")
        return ()
    import torch._dynamo

    # Each block is compiled for each shape, and without this the ninth would silently run as it is.
    torch._dynamo.config.recompile_limit = _MOST_VARIANTS
    torch._dynamo.config.accumulated_recompile_limit = _MOST_VARIANTS * len(KINDS)
    # LoRAs are hooks: code that was compiled without them must not be used for a layer that has some.
    torch._dynamo.config.skip_nnmodule_hook_guards = False
    done = []
    try:
        for number, kind in enumerate(kinds):
            try:
                for block in _blocks(unet, kind):
                    block.compile(dynamic=False, backend=backend)
                for place, call in enumerate(calls):
                    _check(call)
                    report((number + (place + 1) / len(calls)) / len(kinds))
            except Exception as error:
                if is_device_lost(error):
                    raise
                for block in _blocks(unet, kind):
                    block._compiled_call_impl = None
                log.warning(
                    "The U-Net's %s blocks cannot be compiled, so they run as they are: %s: %s",
                    kind,
                    type(error).__name__,
                    str(error).strip().partition("\n")[0],
                )
            else:
                done.append(kind)
    finally:
        torch.compiler.set_stance("eager_on_recompile")
        _end_helpers()
    return tuple(done)


def _check(call: Callable[[], Any]) -> None:
    """Compiles what a call needs, and compares it with the call as it is."""
    with torch.compiler.set_stance("force_eager"):
        expected = call()
    with torch.compiler.set_stance("default"):
        output = call()
    difference = (output - expected).abs().max()
    if not difference <= _TOLERANCE * expected.abs().max():
        raise RuntimeError(f"the output differs by {float(difference):.3g}")


def _end_helpers() -> None:
    """Ends the compiler's processes, which would hold memory until the engine ends."""
    if (helpers := sys.modules.get("torch._inductor.async_compile")) is not None:
        helpers.shutdown_compile_workers()


def hooked_layers(unet: Any) -> list[str]:
    """Returns the layers of compiled blocks that a LoRA can change."""
    kinds = torch.nn.Linear, torch.nn.Conv2d
    return _layers(unet, tuple(KINDS.values()), kinds)


def slotted_layers(unet: Any) -> list[str]:
    """Returns those that most LoRAs change: the Linear layers of compiled transformer blocks.

    With a LoRA of convolutions, resnet blocks run as they are.
    """
    return _layers(unet, BasicTransformerBlock, torch.nn.Linear)


def _layers(unet: Any, blocks: Any, kinds: Any) -> list[str]:
    return [
        f"{place}.{name}"
        for place, block in unet.named_modules()
        if isinstance(block, blocks) and block._compiled_call_impl is not None
        for name, layer in block.named_modules()
        if isinstance(layer, kinds)
    ]


def _blocks(unet: Any, kind: str) -> Iterator[Any]:
    return (module for module in unet.modules() if isinstance(module, KINDS[kind]))
