"""Decoding strategies: streaming against plain code that holds the whole piece, on a denoiser of known answers."""

import itertools
import math

import numpy as np
import pytest
import torch

from m2l2_mir.errors import InputError
from m2l2_mir.model import decoding
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.model.consistency import sigma_at

TINY = ModelConfig.preset("m2l2-tiny")
MIN, MAX = TINY.sigma_min, TINY.sigma_max


class Denoiser:
    """Answers with numbers worked out by hand, and keeps a record of what it was asked.

    A chunk's answer depends on its own input, on the earlier chunks of its window, on its place there, on its noise
    level and on its condition; at sigma_min it is the input.
    """

    def __init__(self) -> None:
        self.calls = []  # one row of one call each: sigmas, conditions

    def __call__(self, x, sigma, conditions):
        out = torch.empty_like(x)
        for row, (levels, known) in enumerate(zip(sigma.tolist(), conditions, strict=True)):
            self.calls.append((levels, known))
            for place, (level, condition) in enumerate(zip(levels, known, strict=True)):
                keep = math.exp(-max(level - MIN, 0))
                seen = x[row, : place + 1].sum(0).tanh()
                out[row, place] = keep * x[row, place] + (1 - keep) * (condition + 0.3 * place + 0.1 * seen)
        return out


def noise(chunk: int, draw: int) -> torch.Tensor:
    return torch.tensor([math.sin(12.9 * chunk + 78.2 * draw), math.cos(4.1 * chunk + 31.7 * draw)]).double()


def config(width: int) -> ModelConfig:
    return TINY.replace(context_chunks=width)


def run(width: int, conditions, **settings) -> list[torch.Tensor]:
    return list(decoding.decode(Denoiser(), conditions, noise, config(width), **settings))


def renoised(x: torch.Tensor, chunk: int, draw: int, sigma: float) -> torch.Tensor:
    return x + math.sqrt(max(sigma**2 - MIN**2, 0)) * noise(chunk, draw)


def autoregressive_reference(width, conditions, sigma_cond, steps, refine) -> list[torch.Tensor]:
    """Two-step and single-step decoding with the whole piece in memory."""
    level, estimates, f = max(sigma_cond, MIN), [], Denoiser()

    def window(chunks, now):
        return [renoised(estimates[chunk], chunk, steps + now - chunk, level) for chunk in chunks]

    def evaluate(parts, sigmas, chunks):
        return f(torch.stack(parts)[None], torch.tensor([sigmas]), [[conditions[chunk] for chunk in chunks]])[0]

    for now in range(len(conditions)):
        before = list(range(max(0, now - width + 1), now))
        context, new = window(before, now), MAX * noise(now, 0)
        for step in range(steps):
            sigma = sigma_at(1 - step / steps, TINY)
            out = evaluate([*context, new], [level] * len(before) + [sigma], [*before, now])
            new = renoised(out[-1], now, step + 1, sigma_at(1 - (step + 1) / steps, TINY))
        if refine:
            for chunk, refined in zip(before, out[:-1], strict=True):
                estimates[chunk] = refined
        estimates.append(out[-1])
    last = list(range(max(0, len(conditions) - width + 1), len(conditions)))
    if refine and last:
        estimates[last[0] :] = evaluate(window(last, len(conditions)), [level] * len(last), last)
    return estimates


def parallel_reference(width, conditions, steps) -> list[torch.Tensor]:
    """All chunks at once, step by step, in windows shifted by half on every other step."""
    f, state = Denoiser(), [MAX * noise(chunk, 0) for chunk in range(len(conditions))]
    for step in range(steps):
        shift = width // 2 if step % 2 else 0
        for _, group in itertools.groupby(range(len(conditions)), key=lambda chunk: (chunk - shift) // width):
            chunks = list(group)
            sigmas = torch.tensor([[sigma_at(1 - step / steps, TINY)] * len(chunks)])
            out = f(torch.stack([state[c] for c in chunks])[None], sigmas, [[conditions[c] for c in chunks]])[0]
            for chunk, clean in zip(chunks, out, strict=True):
                after = sigma_at(1 - (step + 1) / steps, TINY)
                state[chunk] = renoised(clean, chunk, step + 1, after) if step + 1 < steps else clean
    return state


def assert_same(found, expected):
    assert len(found) == len(expected)
    torch.testing.assert_close(torch.stack(found), torch.stack(expected), atol=1e-5, rtol=1e-5)


CHUNKS = (*range(1, 10), 15, 16, 17, 21)


@pytest.mark.parametrize("method", ["two-step", "single-step"])
@pytest.mark.parametrize("width", [1, 2, 4])
def test_autoregressive_stream_equals_the_plain_reference(method, width):
    for count, steps in itertools.product((1, 2, 3, 4, 5, 9), (1, 2, 3)):
        conditions = [0.1 * chunk for chunk in range(count)]
        for sigma_cond in (0, 0.4):
            found = run(width, conditions, method=method, sigma_cond=sigma_cond, steps=steps)
            expected = autoregressive_reference(width, conditions, sigma_cond, steps, method == "two-step")
            assert_same(found, expected)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
def test_parallel_stream_equals_the_plain_reference(width, steps):
    for count in CHUNKS if width == 2 else (1, 2, 5, 8, 9, 21):
        conditions = [0.1 * chunk for chunk in range(count)]
        found = run(width, conditions, method="parallel", steps=steps)
        assert_same(found, parallel_reference(width, conditions, steps))


def test_two_step_evaluates_once_a_chunk_and_once_more():
    denoiser = Denoiser()
    list(decoding.decode(denoiser, range(4), noise, config(2), method="two-step", sigma_cond=0.4))
    assert [chunks for _, chunks in denoiser.calls] == [[0], [0, 1], [1, 2], [2, 3], [3]]
    expected = [[MAX], [0.4, MAX], [0.4, MAX], [0.4, MAX], [0.4]]
    assert [pytest.approx(sigmas) for sigmas, _ in denoiser.calls] == expected


def test_single_step_evaluates_once_a_chunk():
    denoiser = Denoiser()
    list(decoding.decode(denoiser, range(4), noise, config(2), method="single-step", sigma_cond=0.4))
    assert [chunks for _, chunks in denoiser.calls] == [[0], [0, 1], [1, 2], [2, 3]]


def test_parallel_windows_shift_by_half():
    denoiser = Denoiser()
    list(decoding.decode(denoiser, range(5), noise, config(2), method="parallel", steps=3))
    windows = {}
    for sigmas, chunks in denoiser.calls:
        assert len(set(sigmas)) == 1
        windows.setdefault(round(sigmas[0], 4), []).append(chunks)
    levels = [round(sigma_at(position, TINY), 4) for position in (1, 2 / 3, 1 / 3)]
    pairs, shifted = [[0, 1], [2, 3], [4]], [[0], [1, 2], [3, 4]]
    assert {level: sorted(found) for level, found in windows.items()} == dict(
        zip(levels, (pairs, shifted, pairs), strict=True)
    )


def test_left_halves_are_final_and_right_halves_are_the_next_context():
    # Every answer is its own number; the window that comes in tells what was kept of them.
    answers, windows = itertools.count(1), []

    def denoise(x, sigma, conditions):
        windows.append(x[0, :, 0].tolist())
        return torch.tensor([[[float(next(answers))] for _ in conditions[0]]])

    def decode(method):
        def silent(chunk, draw):
            return torch.zeros(1)

        return [chunk.item() for chunk in decoding.decode(denoise, "abc", silent, config(2), method=method)]

    assert decode("two-step") == [2, 4, 6]  # answers: a 1 | a 2, b 3 | b 4, c 5 | c 6
    assert windows == [[0], [1, 0], [3, 0], [5]]
    answers, windows[:] = itertools.count(1), []
    assert decode("single-step") == [1, 3, 5]
    assert windows == [[0], [1, 0], [3, 0]]


def test_no_noise_on_the_context_leaves_the_drafts_as_they_are():
    conditions = [0.5, -0.2, 0.1, 0.9]
    for width in (1, 2, 4):
        drafts = run(width, conditions, method="single-step", sigma_cond=0)
        assert_same(run(width, conditions, method="two-step", sigma_cond=0), drafts)
        refined = run(width, conditions, method="two-step", sigma_cond=0.4)
        if width > 1:
            assert (torch.stack(refined) - torch.stack(drafts)).abs().max() > 0.01


@pytest.mark.parametrize(("method", "ahead"), [("two-step", 2), ("single-step", 1), ("parallel", 18)])
def test_an_endless_piece_is_decoded_with_bounded_look_ahead(method, ahead):
    taken = 0

    def endless():
        nonlocal taken
        for chunk in itertools.count():
            taken += 1
            assert taken < 10_000  # else a decoder that collects its input would run for ever
            yield 0.1 * (chunk % 7)

    stream = decoding.decode(lambda x, sigma, conditions: 0.5 * x, endless(), noise, config(2), method=method)
    assert taken == 0
    for given, _ in enumerate(itertools.islice(stream, 4846)):  # one hour
        assert taken - given <= ahead
    assert taken >= 4846


def test_bad_settings_are_refused_before_anything_is_decoded():
    for settings, message in (
        ({"method": "two_step"}, "'two_step'"),
        ({"sigma_cond": -0.1}, "-0.1"),
        ({"sigma_cond": 81}, "81"),
        ({"sigma_cond": float("nan")}, "nan"),
        ({"steps": 0}, "0"),
    ):
        with pytest.raises(InputError, match=message):
            decoding.decode(Denoiser(), [0.0], noise, TINY, **settings)


def test_seeded_noise_depends_on_seed_chunk_and_draw():
    one, other = decoding.SeededNoise(TINY, 0), decoding.SeededNoise(TINY, 1)
    assert one(3, 1).shape == TINY.spectrogram_shape
    assert torch.equal(one(3, 1), decoding.SeededNoise(TINY, 0)(3, 1))
    drawn = torch.stack([one(3, 1), one(1, 3), one(3, 2), one(4, 1), other(3, 1)]).flatten(1).numpy()
    assert np.abs(np.corrcoef(drawn) - np.eye(5)).max() < 0.05
    assert drawn.mean() == pytest.approx(0, abs=0.01)
    assert drawn.std() == pytest.approx(1, abs=0.01)


# The whole model

METHODS = ("two-step", "single-step", "parallel")


@pytest.fixture(scope="module")
def embeddings():
    return torch.tanh(torch.randn(7, 8, 64, generator=torch.Generator().manual_seed(5)))


@pytest.mark.parametrize("method", METHODS)
def test_any_number_of_chunks_and_any_length(method, model, embeddings):
    for count in (1, 2, 3, 7):
        audio = model.decode(embeddings[:count], method=method)
        assert audio.shape == (1, count * 32_768 - 1024)
        assert audio.dtype == torch.float32
        assert torch.isfinite(audio).all()
        assert audio.std() > 0
    for n in (0, 1, 1000, 31_744, 31_745, 64_000):
        shorter = model.decode(embeddings[:2], method=method, num_samples=n)
        assert shorter.shape == (1, n)
    assert model.decode(embeddings[:2], method=method, framing="official").shape == (1, 2 * 32_768 + 1024)


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_audio(method, model, embeddings):
    first, same, other = (model.decode(embeddings[:3], method=method, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first, same)
    assert (first - other).abs().max() > 0.01 * first.abs().max()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("steps", [None, 2])
def test_the_beginning_of_a_piece_decodes_to_the_beginning_of_its_audio(method, steps, model, embeddings):
    whole = model.decode(embeddings, method=method, steps=steps)
    for count in (2, 3, 5):
        part = model.decode(embeddings[:count], method=method, steps=steps)
        # The last chunk of the part is not refined by a successor, and nothing overlaps with its last frame.
        settled = (count - (method == "two-step")) * 32_768 - 2 * 1024
        torch.testing.assert_close(part[:, :settled], whole[:, :settled], atol=1e-4 * whole.abs().max().item(), rtol=0)


def test_no_noise_on_the_context_needs_no_refinement(model, embeddings):
    drafts, refined = (model.decode(embeddings[:3], method=method, sigma_cond=0) for method in METHODS[:2])
    torch.testing.assert_close(refined, drafts, atol=1e-4 * drafts.abs().max().item(), rtol=0)


def test_decoded_audio_depends_on_every_embedding(model, embeddings):
    before = model.decode(embeddings[:3])
    for slot in range(8):
        other = embeddings[:3].clone()
        other[1, slot] *= -1
        assert (model.decode(other) - before).abs().max() > 1e-3 * before.abs().max()


def test_position_of_the_condition_is_on_the_schedule(model, embeddings):
    sigma = sigma_at(0.4, TINY)
    assert sigma == pytest.approx(0.965, abs=5e-4)
    by_position = model.decode(embeddings[:2], position_cond=0.4)
    assert torch.equal(by_position, model.decode(embeddings[:2], sigma_cond=sigma))
    by_sigma = model.decode(embeddings[:2], sigma_cond=0.4)
    assert torch.equal(by_sigma, model.decode(embeddings[:2]))  # the default
    assert (by_position - by_sigma).abs().max() > 1e-3 * by_sigma.abs().max()


def test_numpy_and_streams_are_taken_too(model, embeddings):
    expected = model.decode(embeddings[:3], seed=1, num_samples=70_000)
    assert torch.equal(model.decode(embeddings[:3].numpy(), seed=1, num_samples=70_000), expected)
    seeded = decoding.SeededNoise(model.config, 1)
    pieces = list(model.decode_stream(iter(embeddings[:3]), noise=seeded, num_samples=70_000))
    assert len(pieces) == 3
    assert torch.equal(torch.cat(pieces, dim=-1), expected)


def test_a_drawn_out_decoding_takes_embeddings_one_by_one(model, embeddings):
    taken = 0

    def source():
        nonlocal taken
        for chunk in itertools.cycle(embeddings):
            taken += 1
            assert taken < 20
            yield chunk

    stream = model.decode_stream(source(), noise=decoding.SeededNoise(model.config, 0))
    for given in range(5):
        assert next(stream).shape == (1, 32_768 - (1024 if given == 0 else 0))
        assert taken <= given + 2


@pytest.mark.parametrize(
    ("bad", "settings", "message"),
    [
        (torch.zeros(0, 8, 64), {}, "no embeddings"),
        (torch.zeros(2, 8, 32), {}, r"\(8, 64\), got \(8, 32\)"),
        (torch.zeros(8, 64), {}, r"\(8, 64\), got \(64,\)"),
        (torch.full((1, 8, 64), torch.nan), {}, "NaN"),
        (torch.zeros(1, 8, 64), {"num_samples": -1}, "num_samples"),
        (torch.zeros(1, 8, 64), {"method": "fast"}, "'fast'"),
        (torch.zeros(1, 8, 64), {"position_cond": 1.1}, "position_cond"),
        (torch.zeros(1, 8, 64), {"framing": "offical"}, "'offical'"),
    ],
)
def test_bad_embeddings_are_refused(bad, settings, message, model):
    with pytest.raises(InputError, match=message):
        model.decode(bad, **settings)
