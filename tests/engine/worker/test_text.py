"""Prompts as embeddings: weights, long prompts, the cache, and texts of different length in one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given, settings, strategies as st

from engine.types import Sampler
from engine.worker import pixels, prompt_syntax
from engine.worker.text import MAX_CHUNKS, PromptEncoder
from tests.engine.worker.local import LocalEngine, Stock

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LONG = "x " * 70 + ", a cat with a red hat"  # 75 of its tokens are the first chunk
LONGER = LONG + " BREAK by the sea BREAK at night"  # four chunks


@pytest.fixture
def prompts(tiny_sd15: Path) -> PromptEncoder:
    """Returns an encoder whose mean lies away from zero, as CLIP's."""
    model = LocalEngine(tiny_sd15).model
    bias = model.text_encoder.final_layer_norm.bias
    bias.copy_(torch.linspace(-1.5, 0.5, len(bias)))
    return PromptEncoder(model.conditioner)


@pytest.fixture(params=["sd15", "pooling"])
def engine(request: pytest.FixtureRequest, tiny_sd15: Path, tiny_pooling: Path) -> LocalEngine:
    """Returns an engine of the test's own with either kind of U-Net."""
    return LocalEngine(tiny_sd15 if request.param == "sd15" else tiny_pooling)


def embeds(prompts: PromptEncoder, text: str) -> torch.Tensor:
    return prompts.encode(text).embeds


@settings(max_examples=150, deadline=None)
@given(text=st.text(st.characters(exclude_characters="()[]\\", exclude_categories=["Cs"])))
def test_text_of_one_chunk_equals_stock_bitwise(
    sd15: LocalEngine, stock_sd15: Stock, text: str
) -> None:
    tokenizer = sd15.model.tokenizer
    expected, _ = stock_sd15.txt2img.encode_prompt(text, "cpu", 1, False)
    if len(tokenizer(text, verbose=False).input_ids) <= 77 and "BREAK" not in text:
        prompts = PromptEncoder(sd15.model.conditioner)
        encoded = prompts.encode(text)
        assert encoded.unread == ""
        assert torch.equal(encoded.embeds, expected)


def test_weight_of_one_and_escapes_are_the_plain_text(prompts: PromptEncoder) -> None:
    plain = embeds(prompts, "a red cat")
    for text in ("a (red:1.0) cat", "a [(red)] cat", "BREAK a red cat BREAK"):
        assert torch.equal(embeds(prompts, text), plain), text
    assert not torch.equal(embeds(prompts, r"a \(red\) cat"), plain)


@pytest.mark.parametrize(("text", "weight"), [("(red)", 1.1), ("[red]", 1 / 1.1), ("(red:2)", 2.0)])
def test_weight_multiplies_its_tokens_and_keeps_the_mean(
    prompts: PromptEncoder, text: str, weight: float
) -> None:
    plain = embeds(prompts, "a red cat")
    weighted = embeds(prompts, f"a {text} cat")
    assert weighted.mean() == pytest.approx(plain.mean().item(), rel=1e-5)
    length = weighted.norm(dim=-1) / plain.norm(dim=-1)  # tokens: start, a, red, cat, end, ...
    others = torch.cat([length[0, :2], length[0, 3:]])
    assert torch.allclose(others, others[:1].expand_as(others), rtol=1e-5)
    assert length[0, 2] / length[0, 0] == pytest.approx(weight, rel=1e-5)
    assert (length[0, 2] > 1) == (weight > 1), "more attention for the word"
    expected = plain.clone()
    expected[:, 2] *= weight
    expected *= plain.mean() / expected.mean()  # by hand
    assert torch.allclose(weighted, expected, rtol=1e-5)


def test_weights_of_a_centred_encoder_are_not_rescaled_by_noise(sd15: LocalEngine) -> None:
    prompts = PromptEncoder(sd15.model.conditioner)
    expected = embeds(prompts, "a red cat").clone()
    assert abs(expected.mean()) < 1e-6, "there is no mean to keep"
    expected[:, 2] *= 1.5
    assert torch.allclose(embeds(prompts, "a (red:1.5) cat"), expected, atol=1e-6)


def test_extreme_weights_stay_finite(prompts: PromptEncoder) -> None:
    for text in ("(a red cat:0)", "(a red cat:99)", "(((x:3):3):3)" * 30, f"({LONG}:0)"):
        value = embeds(prompts, text)
        assert torch.isfinite(value).all()
        assert value.abs().max() < 100


def test_picture_follows_the_weights(engine: LocalEngine) -> None:
    texts = ["a red cat", "a (red:1.1) cat", "a (red:1.6) cat"]
    jobs = [engine.join(text, prompt=text) for text in texts]
    engine.finish()
    plain, little, much = (job.pictures[0].latents for job in jobs)
    assert 0 < (little - plain).abs().mean() < (much - plain).abs().mean()


def test_chunks_are_read_apart_and_put_one_after_the_other(prompts: PromptEncoder) -> None:
    whole = embeds(prompts, "a red cat BREAK (by:1.3) the sea")
    assert whole.shape == (1, 154, 16)
    for chunk, text in zip(whole.split(77, dim=1), ("a red cat", "(by:1.3) the sea"), strict=True):
        assert torch.allclose(chunk, embeds(prompts, text), atol=1e-6)


@pytest.mark.parametrize(
    ("text", "chunks"),
    [
        ("x " * 60 + "red, " + "y " * 20, ["x " * 60 + "red,", "y " * 20]),  # at the comma
        ("x " * 54 + ", " + "y " * 40, ["x " * 54 + ", " + "y " * 20, "y " * 20]),  # too far back
        ("x " * 55 + ", " + "y " * 40, ["x " * 55 + ",", "y " * 40]),  # the farthest
        ("x, " * 37 + "yy, ", ["x, " * 37, "yy, "]),  # the nearest
        ("x " * 75 + ", y", ["x " * 75, ", y"]),  # the phrase ends with the chunk
        ("x " * 70 + "whole2words z", ["x " * 70, "whole2words z"]),
        ("x " * 70 + "wh(ole:1.5)ness", ["x " * 70, "wh(ole:1.5)ness"]),
        ("x " * 73 + "é z", ["x " * 73 + "é", "z"]),  # a letter of two tokens
        ("x " * 74 + "é z", ["x " * 74, "é z"]),
        ("x " * 151, ["x " * 75, "x " * 75, "x"]),
        ("a BREAK " + "x " * 70 + "BREAK b", ["a", "x " * 70, "b"]),
    ],
)
def test_chunks_end_at_a_comma_or_a_word(
    prompts: PromptEncoder, text: str, chunks: list[str]
) -> None:
    assert torch.equal(embeds(prompts, text), embeds(prompts, " BREAK ".join(chunks)))


def test_word_longer_than_a_chunk_is_split(prompts: PromptEncoder) -> None:
    encoded = prompts.encode("a " + "x" * 100)
    assert encoded.embeds.shape == (1, 3 * 77, 16)
    assert encoded.unread == ""


@given(
    st.lists(st.sampled_from(["cat ", "red, ", "é", "x" * 30 + " ", "(", ")", ":1.2)", " BREAK "]))
)
@settings(max_examples=50, deadline=None)
def test_every_word_is_read_or_named_as_unread(sd15: LocalEngine, words: list[str]) -> None:
    prompts = PromptEncoder(sd15.model.conditioner)
    text = "".join(words)
    plain = "".join(segment.text for part in prompt_syntax.parse(text) for segment in part)
    encoded = prompts.encode(text)
    count = encoded.embeds.shape[1] // 77
    assert 1 <= count <= MAX_CHUNKS
    assert plain.replace(" ", "").endswith(encoded.unread.replace(" ", ""))
    assert encoded.unread == "" or count == MAX_CHUNKS


def test_words_beyond_the_first_chunk_change_the_picture(engine: LocalEngine) -> None:
    jobs = [engine.join(f"end{end}", prompt=LONG + end) for end in ("", " red", " blue")]
    engine.finish()
    none, red, blue = (job.pictures[0].latents for job in jobs)
    assert (none - red).abs().max() > 1e-4
    assert (red - blue).abs().max() > 1e-4
    assert not engine.last("end red").fields["warnings"]


def test_end_of_a_prompt_that_is_too_long_is_quoted(sd15: LocalEngine) -> None:
    prompt = "x " * 300 + "the blue (tail:1.2) BREAK and more"
    for name in ("long", "cached"):
        sd15.join(f"{name}-prompt", prompt=prompt, negative_prompt="n " * 301)
    sd15.finish()
    for name in ("long", "cached"):
        warnings = sd15.last(f"{name}-prompt").fields["warnings"]
        assert len(warnings) == 2
        assert "“the blue tail and more”" in warnings[0]
        assert "negative prompt" in warnings[1]
        assert "“n”" in warnings[1]


def test_cache_is_bounded_in_bytes_by_least_recent_use(sd15: LocalEngine) -> None:
    one = 77 * 16 * 4
    prompts = PromptEncoder(sd15.model.conditioner, cache_bytes=3 * one)
    first, second = prompts.encode("1"), prompts.encode("2")
    third = prompts.encode("3")
    assert prompts.encode("1") is first
    prompts.encode("4")
    assert prompts.encode("1") is first
    assert prompts.encode("3") is third
    assert prompts.encode("2") is not second
    long = prompts.encode(LONG)  # the room of two
    assert prompts.encode(LONG) is long
    assert prompts.encode("1") is not first
    assert prompts.encode(LONGER).embeds.nbytes == 4 * one, "too large for the cache, not for a job"
    assert prompts.encode("1").embeds.nbytes == one


def by_hand(engine: LocalEngine, prompt: str, negative: str, steps: int) -> Any:
    """Returns the latents of a DDIM run with two U-Net calls a step, no text repeated."""
    model = engine.model
    prompts = PromptEncoder(model.conditioner)
    scheduler = DDIMScheduler.from_config(model.scheduler_config, clip_sample=False)
    scheduler.set_timesteps(steps)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(7))
    for t in scheduler.timesteps:
        cond, uncond = (
            engine.unet.unet(latents, t, encoder_hidden_states=embeds(prompts, text))[0]
            for text in (prompt, negative)
        )
        latents = scheduler.step(uncond + 4.0 * (cond - uncond), t, latents)[0]
    return latents


@pytest.mark.parametrize(
    ("prompt", "negative"), [(LONG, "blurry"), ("a cat", LONG), (LONGER, LONG)]
)
def test_texts_of_different_length_are_what_they_are_alone(
    engine: LocalEngine, prompt: str, negative: str
) -> None:
    job = engine.join("a", prompt=prompt, negative_prompt=negative)
    engine.finish()
    expected = by_hand(engine, prompt, negative, 5)
    assert (job.pictures[0].latents - expected).abs().max() <= 1e-4


def test_repeated_keys_leave_attention_as_it_is(tiny_sd15: Path, tiny_pooling: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(2, 4, 8, 8, generator=generator)
    text = torch.randn(2, 77, 16, generator=generator)
    differences = []
    for folder in (tiny_sd15, tiny_pooling):
        unet = LocalEngine(folder).model.unet
        once, often = (
            unet(sample, 500, encoder_hidden_states=t)[0] for t in (text, text.repeat(1, 12, 1))
        )
        differences.append((once - often).abs().max().item())
    assert differences[0] <= 1e-5
    assert differences[1] > 1e-4, "the pooled text does change: such rows need calls of their own"


def test_mixed_lengths_share_a_call_where_attention_allows(engine: LocalEngine) -> None:
    engine.join("short")
    engine.join("long", prompt=LONG, num_images=2)
    engine.join("longer", prompt=LONGER, guidance_scale=1.0)
    engine.finish()
    pools_text = engine.unet.config.addition_embed_type == "text"
    # Uncond of short and long, cond of short; cond of long; longer.
    assert engine.unet.rows == ([4, 2, 1] if pools_text else [7]) * 5
    receipts = {
        name: engine.last(name).fields["receipt"]["pictures"][0]
        for name in ("short", "long", "longer")
    }
    runs = {name: receipt["calls"] for name, receipt in receipts.items()}
    lengths = {name: [(steps, tokens) for steps, _, _, tokens in own] for name, own in runs.items()}
    own = {"short": [(5, 77)], "long": [(5, 154)], "longer": [(5, 308)]}
    assert lengths == (own if pools_text else {name: [(5, 308)] for name in receipts})
    assert [rows for _, rows, _, _ in runs["long"]] == [2 if pools_text else 7]


def test_mixed_batch_of_lengths_stays_close_to_each_alone(engine: LocalEngine) -> None:
    random = np.random.default_rng(1)
    texts = ["a red cat", "a (red:1.4) cat", LONG, "a BREAK b BREAK (c:0.7)", LONGER]
    jobs = []
    for number in range(20):
        jobs.append(
            engine.join(
                f"mixed{number}",
                prompt=texts[number % len(texts)],
                negative_prompt=str(random.choice(["", "blurry", "[ugly], " * 20])),
                seed=int(random.integers(2**32)),
                sampler=list(Sampler)[number % len(Sampler)],
                guidance_scale=float(random.choice([1.0, 3.0, 7.5])),
                num_inference_steps=int(random.integers(3, 7)),
                num_images=int(random.integers(1, 3)),
            )
        )
        engine.loop.tick()
    engine.finish()
    for job in jobs:
        alone = engine.join(
            f"{job.job_id}-alone",
            **{name: getattr(job.request, name) for name in job.request.__dataclass_fields__},
        )
        engine.finish()
        for ours, theirs in zip(job.pictures, alone.pictures, strict=True):
            a, b = (pixels.decode(engine.model, run.latents) for run in (ours, theirs))
            assert (a - b).abs().max() <= 5e-4, job.request


def test_row_at_fault_is_found_among_calls_of_different_length(engine: LocalEngine) -> None:
    def broken(sample: Any, timesteps: Any) -> Exception | None:
        return ValueError("odd") if bool((timesteps == 501).any()) else None

    engine.unet.fail = broken
    engine.join("fine", prompt=LONG)
    engine.join("odd", prompt=LONGER, num_inference_steps=2)  # only 2 steps visit 501
    engine.join("fine too", negative_prompt=LONGER)
    engine.finish()
    assert engine.last("odd").kind == "failed"
    assert engine.last("fine").kind == engine.last("fine too").kind == "done"


def test_out_of_memory_halves_calls_of_mixed_lengths(tiny_sd15: Path, tiny_pooling: Path) -> None:
    for folder in (tiny_sd15, tiny_pooling):
        small, whole = LocalEngine(folder), LocalEngine(folder)
        small.unet.fail = lambda sample, timesteps: (
            torch.OutOfMemoryError("no room") if len(sample) > 2 else None
        )
        jobs = [
            [engine.join(str(k), prompt=text) for engine in (small, whole)]
            for k, text in enumerate(("a cat", LONG, LONGER))
        ]
        small.finish()
        whole.finish()
        for ours, theirs in jobs:
            assert torch.allclose(ours.pictures[0].latents, theirs.pictures[0].latents, atol=1e-4)


@pytest.mark.parametrize("skip", [0, 1])
def test_clip_skip_is_the_earlier_layer_with_the_final_norm(sd15: LocalEngine, skip: int) -> None:
    encoder, prompts = sd15.model.text_encoder, sd15.loop._prompts
    ids = sd15.model.tokenizer("a red cat", padding="max_length", return_tensors="pt").input_ids
    hidden = encoder.embeddings(input_ids=ids)
    mask = torch.full((77, 77), float("-inf")).triu(1)[None, None]
    layers = encoder.encoder.layers
    for layer in layers[: len(layers) - skip]:
        state = layer(hidden, attention_mask=mask)
        hidden = state[0] if isinstance(state, tuple) else state
    expected = encoder.final_layer_norm(hidden)
    ours = prompts.encode("a red cat", None, skip).embeds
    assert torch.allclose(ours, expected, atol=1e-6)
    assert prompts.encode("a red cat", None, skip).embeds is ours, "from the cache"
    assert not torch.allclose(prompts.encode("a red cat", None, 1 - skip).embeds, ours, atol=1e-3)


def test_clip_skip_beyond_the_layers_is_refused(sd15: LocalEngine) -> None:
    sd15.send("skips", clip_skip=2)
    assert "has 2 layers. Use 1 or less." in sd15.last("skips").fields["message"]
