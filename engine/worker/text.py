"""Prompts to CLIP embeddings, with a bounded cache: negative prompts nearly always hit."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

MAX_CACHED = 128  # 77 x 768 float32 is 236 kB, so about 30 MB


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt as the U-Net reads it.

    Attributes:
        embeds: (1, tokens, width).
        unread: The end of the text that did not fit into the encoder's tokens; usually "".
    """

    embeds: Any
    unread: str


class PromptEncoder:
    """Encodes prompts exactly as the stock pipelines do."""

    def __init__(self, tokenizer: Any, text_encoder: Any) -> None:
        """Keeps both; the encoder's device and dtype are used as they are."""
        self._tokenizer = tokenizer
        self._text_encoder = text_encoder
        self._cache: OrderedDict[str, EncodedPrompt] = OrderedDict()

    def encode(self, text: str) -> EncodedPrompt:
        """Returns the embedding of `text`, from the cache when it is there."""
        encoded = self._cache.pop(text, None) or self._encode(text)
        self._cache[text] = encoded
        if len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)
        return encoded

    def _encode(self, text: str) -> EncodedPrompt:
        tokens = self._tokenizer(
            text,
            padding="max_length",
            max_length=self._tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        encoder = self._text_encoder
        mask = (
            tokens.attention_mask if getattr(encoder.config, "use_attention_mask", False) else None
        )
        embeds = encoder(
            tokens.input_ids.to(encoder.device),
            attention_mask=None if mask is None else mask.to(encoder.device),
        )[0]
        return EncodedPrompt(embeds.to(encoder.dtype), self._unread(text))

    def _unread(self, text: str) -> str:
        limit = self._tokenizer.model_max_length - 2  # without the start and end tokens
        offsets = self._tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        ).offset_mapping
        if len(offsets) <= limit:
            return ""
        return text[offsets[limit][0] :].strip()


def unread_warning(what: str, unread: str) -> str:
    """Returns the sentence for the owner of a prompt whose end was not read."""
    quote = unread if len(unread) <= 120 else unread[:119].rstrip() + "…"
    return f"The {what} is longer than the model reads. This part was not read: “{quote}”"
