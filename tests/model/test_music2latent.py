"""Music2Latent, from file to audio: as the published package answers, and as this one always did.

Both networks read the same random weights from a file as it is published, at a small size.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from m2l2_mir.errors import ConfigError, InputError
from m2l2_mir.model import music2latent, music2latent_config, spectrogram
from m2l2_mir.model.autoencoder import Condition
from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.model.music2latent_config import Music2LatentConfig
from m2l2_mir.model.music2latent_decoding import KEPT, decode_overlapping
from m2l2_mir.model.music2latent_layers import GroupNorm, Upsample

GOLDEN = Path(__file__).parent / "golden" / "music2latent.npz"
RATE = 44_100
HOP, OVERLAP = 32, 96
STEP, CHUNK = 8 * HOP, 64 * HOP  # samples of a latent, of a chunk
SCALE = 0.06


def music(samples, seed=3):
    """A sine and noise, mono."""
    sine = 0.3 * np.sin(2 * np.pi * 441 * np.arange(samples) / RATE)
    return (sine + 0.05 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


@pytest.fixture(scope="module")
def ours(music2latent_pt, music2latent_preset):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(music2latent_config, "PRESET", music2latent_preset)
        return load_model(music2latent_pt, device="cpu")


@pytest.fixture(scope="module")
def theirs(small_published_music2latent, music2latent_pt):
    return small_published_music2latent.EncoderDecoder(str(music2latent_pt), device=torch.device("cpu"))


@pytest.fixture
def short(monkeypatch):
    """Latents that are encoded or decoded at once, by both, made few: 43 of them."""
    monkeypatch.setattr(music2latent, "OFFICIAL_SAMPLES", 11_025)
    return {"max_waveform_length": 11_025}


def in_time(latents):
    """Latents [chunks, K, d] as the package orders them, [d, time]."""
    return latents.flatten(0, 1).T


@pytest.mark.reference
@pytest.mark.parametrize("features", ["bottleneck", "pre-bottleneck"])
@pytest.mark.parametrize("samples", [STEP + OVERLAP, 4 * CHUNK + OVERLAP, 3 * CHUNK + 1000, 2 * CHUNK + OVERLAP - 1])
def test_latents_are_the_published_ones(theirs, ours, samples, features):
    waveform = music(samples)
    expected = theirs.encode(waveform, extract_features=features == "pre-bottleneck")[0]
    found = in_time(ours.encode(waveform, RATE, framing="official", features=features))
    count = expected.shape[1]
    assert count == (samples - OVERLAP) // STEP
    assert found.shape[1] == -(-count // 8) * 8
    assert not found[:, count:].any()
    if features == "bottleneck":
        assert (SCALE * expected).std() > 0.1
        torch.testing.assert_close(SCALE * found[:, :count], SCALE * expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(found[:, :count], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.reference
@pytest.mark.parametrize("latents", [42, 43, 44, 86, 100])
def test_long_files_are_encoded_in_the_published_stretches(theirs, ours, short, latents):
    waveform = music(latents * STEP + OVERLAP)
    expected = theirs.encode(waveform, **short)[0]
    found = in_time(ours.encode(waveform, RATE, framing="official"))[:, :latents]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.reference
def test_batches_are_encoded_as_each_on_its_own(theirs, ours):
    pieces = [music(2 * CHUNK + 500, seed) for seed in (1, 2)]
    expected = theirs.encode(np.stack(pieces), max_batch_size=2)
    for piece, latents in zip(pieces, expected, strict=True):
        found = in_time(ours.encode(piece, RATE, framing="official"))[:, : latents.shape[1]]
        torch.testing.assert_close(found, latents, rtol=1e-3, atol=1e-4)


def drawn(monkeypatch, function, *arguments, **settings):
    """Result of a function of the package, and the noise it drew, in order."""
    draws, original, generator = [], torch.randn, torch.Generator().manual_seed(11)

    def draw(shape, **_):
        draws.append(original(tuple(shape), generator=generator))
        return draws[-1]

    with monkeypatch.context() as patch:
        patch.setattr(torch, "randn", draw)
        patch.setattr(torch, "randn_like", lambda like: draw(like.shape))
        return function(*arguments, **settings), draws


@pytest.mark.reference
@pytest.mark.parametrize(("steps", "latents"), [(1, 24), (2, 13), (3, 8), (1, 50), (2, 86)])
def test_audio_is_the_published_one(theirs, ours, monkeypatch, short, steps, latents):
    samples = latents * STEP + OVERLAP
    embeddings = ours.encode(music(samples), RATE, framing="official")
    published = in_time(embeddings)[:, :latents]
    expected, draws = drawn(monkeypatch, theirs.decode, published, denoising_steps=steps, **short)
    # The package draws for each stretch a start and one noise after each step: put side by side in time, draw by draw.
    stretches = len(draws) // (steps + 1)
    assert stretches * (steps + 1) == len(draws)
    noise = {}
    for draw in range(steps):
        whole = torch.cat([draws[stretch * (steps + 1) + draw][0] for stretch in range(stretches)], dim=-1)
        for chunk, part in enumerate(F.pad(whole, (0, -whole.shape[-1] % 64)).split(64, dim=-1)):
            noise[chunk, draw] = part
    for given in (samples, samples + STEP - 1):  # the waveform's length; what the package drops is silent here
        pieces = ours.decode_stream(
            embeddings,
            noise=lambda chunk, draw: noise[chunk, draw],
            num_samples=given,
            steps=steps,
            framing="official",
        )
        found = torch.cat(list(pieces), dim=-1)
        assert expected.shape[-1] == samples
        assert found.shape[-1] == min(given, len(embeddings) * CHUNK + OVERLAP)
        assert (expected.abs() == 1).float().mean() < 0.05  # clipping would hide differences
        assert expected.std() > 0.01
        tolerance = 1e-4 * float(expected.abs().max())
        torch.testing.assert_close(found[:, :samples].clamp(-1, 1), expected, atol=tolerance, rtol=0)
        assert not found[:, samples:].any()


def test_answers_are_what_they_were(ours):
    """Compared with arrays that this package made when it was as the published one."""
    golden = np.load(GOLDEN)
    waveform = music(2 * CHUNK + 133)
    for framing in ("full", "official"):
        embeddings = ours.encode(waveform, RATE, framing=framing)
        np.testing.assert_allclose(embeddings, golden[framing], rtol=1e-3, atol=1e-3)
        audio = ours.decode(golden[framing], seed=1, steps=2, framing=framing)[:, ::8]
        expected = golden[f"{framing}-audio"]
        np.testing.assert_allclose(audio, expected, rtol=0, atol=1e-3 * np.abs(expected).max())
    features = ours.encode(waveform, RATE, features="pre-bottleneck")[..., ::8]
    np.testing.assert_allclose(features, golden["features"], rtol=1e-3, atol=1e-3)


def test_a_chunk_is_encoded_on_its_own(ours):
    """The same audio, the same latents: whatever the batch, and whatever comes before or after."""
    waveform = music(5 * CHUNK)
    expected = ours.encode(waveform, RATE)
    assert expected.shape == (6, 8, 64)
    assert ours.encode(waveform, RATE, features="pre-bottleneck").shape == (6, 8, ours.config.dim)
    torch.testing.assert_close(ours.encode(waveform, RATE, batch_size=1), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.encode(waveform[CHUNK:], RATE)[1:], expected[2:], rtol=1e-4, atol=1e-4)
    blocks = spectrogram.blocks(torch.from_numpy(waveform)[None], ours.config)
    torch.testing.assert_close(ours.encode_blocks(blocks[[3]]), expected[[3]], rtol=1e-4, atol=1e-4)


def test_latents_are_in_order_of_time(ours):
    """Other music later in a chunk changes features of later latents."""
    before, other = music(2 * CHUNK), music(2 * CHUNK, seed=4)[::-1]
    expected = ours.encode(before, RATE, features="pre-bottleneck")[1]
    centres = []
    for place in (1, 3, 6):
        changed, start = before.copy(), CHUNK + place * STEP - OVERLAP
        changed[start : start + STEP] = other[start : start + STEP]
        moved = (ours.encode(changed, RATE, features="pre-bottleneck")[1] - expected).square().mean(-1)
        centres.append(float((moved * torch.arange(8)).sum() / moved.sum()))
    np.testing.assert_allclose(centres, (1, 3, 6), atol=1)


def test_any_rate_channels_and_length(ours):
    waveform = music(3 * CHUNK)
    mono = ours.encode(waveform, RATE)
    torch.testing.assert_close(ours.encode(np.stack([waveform, waveform]), RATE), mono, rtol=1e-4, atol=1e-4)
    assert ours.encode(waveform, 22_050).shape == (7, 8, 64)
    for samples in (1, 100, CHUNK - 1):
        latents = ours.encode(waveform[:samples], RATE)
        assert ours.decode(latents, num_samples=samples).shape == (1, samples)


def test_the_same_seed_gives_the_same_audio(ours):
    latents = ours.encode(music((KEPT + 3) * CHUNK), RATE)
    audio = ours.decode(latents, seed=5)
    assert audio.shape == (1, len(latents) * CHUNK - OVERLAP)
    assert torch.equal(ours.decode(latents.numpy(), seed=5), audio)
    assert not torch.equal(ours.decode(latents, seed=6), audio)
    # Of a longer piece, as much is the same as is decoded without knowing its length
    torch.testing.assert_close(
        ours.decode(latents[: KEPT + 1], seed=5)[:, : (KEPT - 1) * CHUNK], audio[:, : (KEPT - 1) * CHUNK]
    )


def test_decoding_takes_in_no_more_than_a_stretch(ours):
    latents = torch.zeros(2 * KEPT, 8, 64)
    taken = []

    def stream():
        for number, chunk in enumerate(latents):
            taken.append(number)
            yield chunk

    pieces = ours.decode_stream(stream(), noise=lambda chunk, draw: torch.zeros(ours.config.spectrogram_shape))
    next(pieces)
    assert len(taken) == KEPT + 1
    assert 1 + len(list(pieces)) == 2 * KEPT


@pytest.mark.parametrize("chunks", [1, KEPT - 1, KEPT, KEPT + 1, 2 * KEPT, 2 * KEPT + 1, 3 * KEPT + 2])
@pytest.mark.parametrize("steps", [1, 3])
def test_every_chunk_is_decoded_once_between_its_neighbours(chunks, steps):
    config = Music2LatentConfig.official()
    levels = []

    def denoise(x, sigma, conditions):
        """Says which chunk it is, and the first and last of the stretch it lies in."""
        numbers = [int(condition.latents) for condition in conditions[0]]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        levels.append(float(sigma[0, 0]))
        return torch.tensor([[number, numbers[0], numbers[-1]] for number in numbers])[None].float()

    conditions = (Condition(torch.tensor(number), ()) for number in range(chunks))
    found = list(decode_overlapping(denoise, conditions, lambda *_: torch.zeros(3), config, steps=steps))
    assert [int(one[0]) for one in found] == list(range(chunks))
    for number, first, last in torch.stack(found).int().tolist():
        assert first <= max(number - 1, 0)
        assert last >= min(number + 1, chunks - 1)
    assert levels[0] == pytest.approx(80)
    assert levels[:steps] == sorted(levels[:steps], reverse=True)
    assert len(set(levels)) == steps


def test_what_it_cannot_do_is_refused(ours):
    latents = np.zeros((2, 8, 64), np.float32)
    for method in ("two-step", "single-step"):
        with pytest.raises(InputError, match="music2latent decodes with method='parallel' only"):
            ours.decode(latents, method=method)
    with pytest.raises(InputError, match="at least 1"):
        ours.decode(latents, steps=0)
    with pytest.raises(InputError, match=f"needs {STEP + OVERLAP} samples, got 351"):
        ours.encode(music(351), RATE, framing="official")
    with pytest.raises(InputError, match="has no codes"):
        ours.codes(latents)
    x = torch.zeros(1, 2, *ours.config.spectrogram_shape)
    with pytest.raises(InputError, match="at one noise level"):
        ours.denoise(x, torch.tensor([[0.4, 80.0]]), [[ours.condition(torch.zeros(1, 8, 64))[0]] * 2])


@pytest.mark.parametrize("factor", [(4, 1), (2, 2), (1, 2)])
def test_repeating_and_convolving_is_one_transposed_convolution(factor, fill):
    layer = fill(Upsample(4, 8, factor))
    x = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    repeated = F.interpolate(x, scale_factor=[float(one) for one in factor], mode="nearest")
    torch.testing.assert_close(layer(x), layer.conv(repeated), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_group_norm_is_exact_over_long_stretches():
    """PyTorch's own is off by 1e-5 and more there, growing with the length."""
    x = torch.randn(2, 8, 64, 640, generator=torch.Generator().manual_seed(0)) + 0.5
    x = x.contiguous(memory_format=torch.channels_last)
    norm = GroupNorm(2, 8)
    norm.weight.copy_(torch.linspace(0.5, 1.5, 8))
    norm.bias.copy_(torch.linspace(-1, 1, 8))
    expected = F.group_norm(x.double().contiguous(), 2, norm.weight.double(), norm.bias.double())
    assert (norm(x) - expected).abs().max() < 3e-6
    assert norm(x).is_contiguous(memory_format=torch.channels_last)
    odd = x[..., :61, :].contiguous(memory_format=torch.channels_last)  # a prime: blocks of one row
    torch.testing.assert_close(norm(odd), F.group_norm(odd, 2, norm.weight, norm.bias), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"registers": 4}, "registers has no meaning for 'unet': 4"),
        ({"latents": "summary"}, "only be 'ordered' and 'tanh'"),
        ({"downsample": ((4, 1), (2, 2), (2, 2))}, "an entry between levels"),
        ({"downsample": ((3, 1), (2, 2), (2, 2), (2, 2))}, "do not divide"),
        ({"level_attention": (True,)}, "need one entry a level"),
        ({"heads": 3}, "multiples of heads: 256"),
        ({"num_embeddings": 4, "latent_tokens": 4}, "a chunk has 8 time steps"),
        ({"dim": 512}, "last level, 8192: 512"),
        ({"bottleneck_channels": 500}, "multiples of 32"),
        ({"latent_scale": 0.0}, "latent_scale above 0"),
        ({"latent_scal": 0.1}, "did you mean 'latent_scale'"),
    ],
)
def test_configurations_that_cannot_work_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        Music2LatentConfig.official().replace(**changes)
