"""What guides a row, by family of models: the text as its encoders read it, for SDXL also pooled, and sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from engine.worker.lora_rows import Combination, Folded, applied, plan


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt as the U-Net reads it.

    Attributes:
        embeds: (1, tokens, width); tokens is a multiple of the text encoder's length (77).
        pooled: The prompt as one vector, (1, width); None in families whose U-Net does not read it.
        unread: The end of the text that did not fit; usually "".
    """

    embeds: Any
    pooled: Any = None
    unread: str = ""

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors."""
        return int(self.embeds.nbytes) + (0 if self.pooled is None else int(self.pooled.nbytes))


@dataclass(frozen=True, slots=True)
class Condition:
    """What guides one row.

    Attributes:
        text: (1, tokens, width), what cross-attention reads.
        added: What the U-Net adds to the embedding of the timestep, each (1, n), by diffusers' name
            (`added_cond_kwargs`). All rows of a model have the same names.
    """

    text: Any
    added: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the text encoders make of the chunks of one prompt.

    Attributes:
        embeds: Of each encoder (chunks, 77, its width).
        pooled: (chunks, width), or None.
    """

    embeds: Sequence[Any]
    pooled: Any = None


class Conditioner(Protocol):
    """From a prompt's tokens to what guides its rows; one class for each way that models have."""

    @property
    def tokenizer(self) -> Any:
        """What splits a prompt into tokens."""

    @property
    def layers(self) -> int:
        """Layers of the text encoder, of the shortest where there are several."""

    @property
    def max_clip_skip(self) -> int:
        """The most of its last layers that can be left out."""

    @property
    def zeroes_empty_negative(self) -> bool:
        """True when no negative prompt is zeros, False when it is the empty text."""

    @property
    def keeps_mean(self) -> bool:
        """True when weights of words must leave the mean of an embedding as it was."""

    def read(
        self, chunks: Sequence[Sequence[int]], adapters: Combination | None, clip_skip: int
    ) -> Reading:
        """Reads the chunks of a prompt, at most 75 tokens each, with a job's LoRAs."""

    def zeros(self) -> EncodedPrompt:
        """Returns a prompt of one chunk that is nothing but zeros."""

    def condition(self, prompt: EncodedPrompt, size: tuple[int, int]) -> Condition:
        """Returns what guides the rows of a picture of `size`, (width, height) in pixels."""


@dataclass(frozen=True, slots=True)
class OneEncoder:
    """SD 1.5 and SD 2: the last layer of one text encoder, and nothing else."""

    tokenizer: Any
    encoder: Any

    @property
    def layers(self) -> int:
        """Layers of the text encoder."""
        return int(self.encoder.config.num_hidden_layers)

    @property
    def max_clip_skip(self) -> int:
        """All but one."""
        return self.layers - 1

    @property
    def zeroes_empty_negative(self) -> bool:
        """False: it is the empty text."""
        return False

    @property
    def keeps_mean(self) -> bool:
        """True, as in A1111."""
        return True

    def read(
        self, chunks: Sequence[Sequence[int]], adapters: Combination | None, clip_skip: int
    ) -> Reading:
        """Reads the chunks; what later layers would have read goes through the last normalisation."""
        encoder = self.encoder
        is_masked = getattr(encoder.config, "use_attention_mask", False)
        output = _run(
            encoder,
            *_frame(self.tokenizer, chunks),
            adapters.text if adapters else {},
            is_masked=is_masked,
            has_layers=clip_skip > 0,
        )
        if not clip_skip:
            return Reading([output[0]])
        # The U-Net knows the scale of what the last normalisation gives.
        norm = getattr(encoder, "text_model", encoder).final_layer_norm
        return Reading([norm(output.hidden_states[-1 - clip_skip])])

    def zeros(self) -> EncodedPrompt:
        """Returns zeros, (1, 77, width)."""
        encoder = self.encoder
        shape = 1, self.tokenizer.model_max_length, encoder.config.hidden_size
        return EncodedPrompt(torch.zeros(shape, device=encoder.device, dtype=encoder.dtype))

    def condition(self, prompt: EncodedPrompt, size: tuple[int, int]) -> Condition:
        """Returns the text alone."""
        return Condition(prompt.embeds)


@dataclass(frozen=True, slots=True)
class TwoEncoders:
    """SDXL: the penultimate layers of two text encoders side by side, a pooled vector, and sizes.

    The tokenizers have the same words and differ in what they pad with. Of a prompt of several chunks
    the first one's vector stands for all, as in other programs.

    Attributes:
        second: The encoder with the projection, which also gives the pooled vector.
        zeroes_empty_negative: The model's `force_zeros_for_empty_prompt`.
    """

    tokenizer: Any
    second_tokenizer: Any
    first: Any
    second: Any
    zeroes_empty_negative: bool

    @property
    def layers(self) -> int:
        """Layers of the shorter encoder."""
        return int(min(each.config.num_hidden_layers for each in (self.first, self.second)))

    @property
    def max_clip_skip(self) -> int:
        """All but two: without skipping, the last layer is left out already."""
        return self.layers - 2

    @property
    def keeps_mean(self) -> bool:
        """False, as A1111 advises for SDXL ("No norm")."""
        return False

    def read(
        self, chunks: Sequence[Sequence[int]], adapters: Combination | None, clip_skip: int
    ) -> Reading:
        """Reads the chunks with both; `clip_skip` counts from the penultimate layers."""
        pairs = (adapters.text, adapters.text_2) if adapters else ({}, {})
        outputs = [
            _run(encoder, *_frame(tokenizer, chunks), own, has_layers=True)
            for encoder, tokenizer, own in zip(
                (self.first, self.second),
                (self.tokenizer, self.second_tokenizer),
                pairs,
                strict=True,
            )
        ]
        embeds = [output.hidden_states[-2 - clip_skip] for output in outputs]
        return Reading(embeds, outputs[1].text_embeds)

    def zeros(self) -> EncodedPrompt:
        """Returns zeros, (1, 77, both widths) and (1, projection)."""
        config = self.second.config
        width = self.first.config.hidden_size + config.hidden_size
        kind = {"device": self.second.device, "dtype": self.second.dtype}
        return EncodedPrompt(
            torch.zeros(1, self.tokenizer.model_max_length, width, **kind),
            torch.zeros(1, config.projection_dim, **kind),
        )

    def condition(self, prompt: EncodedPrompt, size: tuple[int, int]) -> Condition:
        """Returns the text, the pooled vector and the sizes that the model was trained with.

        These are the original picture's height and width, the corner it was cropped at, and the height
        and width that it has now. A made picture was neither shrunk nor cropped, which is also the stock
        pipelines' default.
        """
        width, height = size
        # Float32 whatever the model's dtype: half precision has no odd numbers above 2048.
        ids = torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32)
        pooled = prompt.pooled
        return Condition(prompt.embeds, {"text_embeds": pooled, "time_ids": ids.to(pooled.device)})


def _frame(tokenizer: Any, chunks: Sequence[Sequence[int]]) -> tuple[Any, Any]:
    """Returns the chunks between start and end tokens, padded, and which places are not padding.

    Both (chunks, 77).
    """
    size = tokenizer.model_max_length - 2
    ids = [
        [
            tokenizer.bos_token_id,
            *chunk,
            tokenizer.eos_token_id,
            *[tokenizer.pad_token_id] * (size - len(chunk)),
        ]
        for chunk in chunks
    ]
    mask = [[1] * (len(chunk) + 2) + [0] * (size - len(chunk)) for chunk in chunks]
    return torch.tensor(ids), torch.tensor(mask)


def _run(
    encoder: Any,
    ids: Any,
    mask: Any,
    pairs: Mapping[str, Folded],
    *,
    is_masked: bool = False,
    has_layers: bool = False,
) -> Any:
    """Returns the encoder's output for chunks that share one combination of LoRAs."""
    with applied(plan(encoder, [pairs] * len(ids)) if pairs else ()):
        return encoder(
            ids.to(encoder.device),
            attention_mask=mask.to(encoder.device) if is_masked else None,
            output_hidden_states=has_layers,
        )
