"""Prompts to CLIP embeddings: weighted, as long as people write them, and kept for the next job."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch

from engine.errors import InvalidRequestError
from engine.worker import prompt_syntax
from engine.worker.lora_rows import Combination, applied, plan
from engine.worker.prompt_syntax import MAX_WEIGHT, Segment

CACHE_BYTES = 64 << 20  # about 280 prompts of 77 tokens, 768 wide, in float32
MAX_CHUNKS = 4
COMMA_WITHIN = 20  # a full chunk ends at a comma among its last tokens, as in A1111
NEGLIGIBLE_MEAN = 0.01  # of the standard deviation


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt as the U-Net reads it.

    Attributes:
        embeds: (1, tokens, width); tokens is a multiple of the text encoder's length (77).
        unread: The end of the text that did not fit into `MAX_CHUNKS`; usually "".
    """

    embeds: Any
    unread: str


@dataclass(frozen=True, slots=True)
class _Token:
    """One token; `start` is its place in the part's plain text."""

    id: int
    weight: float
    start: int
    is_comma: bool
    starts_word: bool


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What the text encoder reads at once: at most 75 tokens and the text they come from."""

    tokens: list[_Token]
    text: str


class PromptEncoder:
    """Encodes prompts; what has no weights and fits into one chunk exactly as stock pipelines do."""

    def __init__(
        self, tokenizer: Any, text_encoder: Any, *, cache_bytes: int = CACHE_BYTES
    ) -> None:
        """Keeps both; the encoder's device and dtype are used as they are."""
        self._tokenizer = tokenizer
        self._text_encoder = text_encoder
        self._cache_bytes = cache_bytes
        self._cached_bytes = 0
        self._cache: OrderedDict[Any, EncodedPrompt] = OrderedDict()

    def encode(
        self, text: str, adapters: Combination | None = None, clip_skip: int = 0
    ) -> EncodedPrompt:
        """Returns the embedding of `text`; negative prompts nearly always come from the cache.

        Args:
            text: A prompt.
            adapters: LoRAs; those that change the text encoder act here.
            clip_skip: Last layers of the encoder that are left out.

        Raises:
            InvalidRequestError: The text encoder has no layer left.
        """
        layers = self._text_encoder.config.num_hidden_layers
        if clip_skip >= layers:
            raise InvalidRequestError(
                f"Clip skip is {clip_skip}, this model's text encoder has {layers} layers. "
                f"Use {layers - 1} or less."
            )
        if adapters is not None and not adapters.text:
            adapters = None
        key = (text, clip_skip, adapters and adapters.text_key)
        encoded = self._cache.get(key)
        if encoded is None:
            encoded = self._cache[key] = self._encode(text, adapters, clip_skip)
            self._cached_bytes += encoded.embeds.nbytes
        self._cache.move_to_end(key)
        while self._cached_bytes > self._cache_bytes:
            self._cached_bytes -= self._cache.popitem(last=False)[1].embeds.nbytes
        return encoded

    def _encode(self, text: str, adapters: Combination | None, clip_skip: int) -> EncodedPrompt:
        size = self._tokenizer.model_max_length - 2  # without the start and end tokens
        parts = [self._tokenize(part) for part in prompt_syntax.parse(text)]
        chunks = [chunk for part in parts for chunk in _split(part, size) if chunk.tokens]
        unread = " ".join("".join(chunk.text for chunk in chunks[MAX_CHUNKS:]).split())
        embeds = self._embed(chunks[:MAX_CHUNKS] or [_Chunk([], "")], size, adapters, clip_skip)
        return EncodedPrompt(embeds, unread)

    def _tokenize(self, part: list[Segment]) -> _Chunk:
        """Returns the tokens of a part as one chunk of any length."""
        plain = "".join(segment.text for segment in part) + " "
        tokens: list[_Token] = []
        begin = 0  # of the segment
        for segment in part:
            found = self._tokenizer(
                segment.text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
            )
            for token_id, (first, last) in zip(found.input_ids, found.offset_mapping, strict=True):
                start = begin + first
                is_new = not tokens or tokens[-1].start < start  # a letter may be several tokens
                tokens.append(
                    _Token(
                        id=token_id,
                        weight=segment.weight,
                        start=start,
                        is_comma=segment.text[first:last] == ",",
                        starts_word=is_new and plain[start - 1].isspace(),
                    )
                )
            begin += len(segment.text)
        return _Chunk(tokens, plain)

    def _embed(
        self, chunks: list[_Chunk], size: int, adapters: Combination | None, clip_skip: int
    ) -> Any:
        """Returns the chunks' embeddings one after the other, (1, chunks x 77, width)."""
        tokenizer, encoder = self._tokenizer, self._text_encoder
        ids, mask, weights = [], [], []
        for chunk in chunks:
            padding = size - len(chunk.tokens)
            ids.append(
                [
                    tokenizer.bos_token_id,
                    *(token.id for token in chunk.tokens),
                    tokenizer.eos_token_id,
                    *[tokenizer.pad_token_id] * padding,
                ]
            )
            mask.append([1] * (len(chunk.tokens) + 2) + [0] * padding)
            weights.append([1.0, *(token.weight for token in chunk.tokens), *[1.0] * (padding + 1)])
        is_masked = getattr(encoder.config, "use_attention_mask", False)
        with applied(plan(encoder, [adapters.text] * len(chunks)) if adapters else ()):
            output = encoder(
                torch.tensor(ids).to(encoder.device),
                attention_mask=torch.tensor(mask).to(encoder.device) if is_masked else None,
                output_hidden_states=clip_skip > 0,
            )
        if clip_skip:
            # What later layers would have read, brought to the scale that the U-Net knows.
            norm = getattr(encoder, "text_model", encoder).final_layer_norm
            embeds = norm(output.hidden_states[-1 - clip_skip])
        else:
            embeds = output[0]  # (chunks, 77, width)
        rows = [
            embed if all(weight == 1 for weight in own) else _weigh(embed, torch.tensor(own))
            for embed, own in zip(embeds, weights, strict=True)
        ]
        return torch.cat(rows)[None].to(encoder.dtype)


def _weigh(embed: Any, weights: Any) -> Any:
    """Multiplies the tokens of one chunk, and brings its mean back to what it was, as A1111 does.

    CLIP's mean lies well away from zero. A text encoder whose last normalisation centres each token
    has none: the quotient would be noise, of any size and sign, and the embedding stays as weighted.

    Args:
        embed: (77, width).
        weights: (77,), on the CPU.
    """
    before = embed.float()
    after = before * weights.to(embed.device)[:, None]
    mean = before.mean().item()
    factor = mean / (after.mean().item() or float("inf"))
    is_meaningful = abs(mean) >= NEGLIGIBLE_MEAN * before.std().item()
    if is_meaningful and 1 / MAX_WEIGHT <= factor <= MAX_WEIGHT:
        after = after * factor
    return after


def _split(part: _Chunk, size: int) -> list[_Chunk]:
    """Splits a part into chunks of at most `size` tokens."""
    chunks: list[_Chunk] = []
    tokens, begin = part.tokens, 0
    while len(tokens) > size:
        cut = _cut(tokens, size)
        end = tokens[cut].start
        chunks.append(_Chunk(tokens[:cut], part.text[begin:end]))
        tokens, begin = tokens[cut:], end
    return [*chunks, _Chunk(tokens, part.text[begin:])]


def _cut(tokens: list[_Token], size: int) -> int:
    """Returns how many of more than `size` tokens the next chunk takes.

    Up to the last comma when it is near, else up to the last whole word.
    """
    if tokens[size].is_comma:  # the phrase ends just here
        return size
    for place in range(size, size - COMMA_WITHIN, -1):
        if tokens[place - 1].is_comma:
            return place
    for place in range(size, 0, -1):
        if tokens[place].starts_word:
            return place
    return size


def unread_warning(what: str, unread: str) -> str:
    """Returns the sentence for the owner of a prompt whose end was not read."""
    quote = unread if len(unread) <= 120 else unread[:119].rstrip() + "…"
    return f"The {what} is longer than the model reads. This part was not read: “{quote}”"
