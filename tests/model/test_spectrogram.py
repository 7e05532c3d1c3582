"""Waveform to spectrogram and back: against plain numpy, and exact to the edges."""

import gc
import weakref

import numpy as np
import pytest
import torch

from m2l2_mir.errors import InputError
from m2l2_mir.model import spectrogram
from m2l2_mir.model.config import ModelConfig

BASE = ModelConfig.preset("m2l2")
VARIANTS = [
    pytest.param(BASE.replace(amplitude_transform=transform, hop_length=hop), id=f"{transform}-{hop}")
    for transform in ("component", "polar")
    for hop in (512, 1024)
]
LENGTHS = (
    *(1, 2, 3, 100, 511, 512, 513, 1000, 1023, 1024, 1025, 2047, 2048, 2049, 5000, 16384, 31232),
    *(31743, 31744, 31745, 31746, 32767, 32768, 32769, 44100, 65536, 70000),
)


def music(n: int, channels: int, rng: np.random.Generator) -> torch.Tensor:
    """Partials up to 10 kHz and noise below 12 kHz, faded in and out: nothing near the Nyquist frequency."""
    time = np.arange(n) / 44100
    frequencies = np.geomspace(55, 10_000, 12)[:, None]
    phases = rng.uniform(0, 2 * np.pi, (channels, 12, 1))
    partials = 0.05 * np.sin(2 * np.pi * frequencies * time + phases).sum(1)
    noise = np.fft.rfft(rng.standard_normal((channels, n)))
    noise[:, np.fft.rfftfreq(n, 1 / 44100) > 12_000] = 0
    fade = np.minimum(1, (np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5) / min(1024, max(n / 2, 1)))
    signal = (partials + 0.05 * np.fft.irfft(noise, n)) * np.sin(np.pi / 2 * fade) ** 2
    return torch.from_numpy(signal.astype(np.float32))


def round_trip(waveform: torch.Tensor, config: ModelConfig) -> torch.Tensor:
    spectrograms = spectrogram.analyze(spectrogram.blocks(waveform, config), config)
    return torch.cat(list(spectrogram.synthesize(spectrograms, config, waveform.shape[-1])), dim=-1)


@pytest.mark.parametrize("config", VARIANTS)
def test_every_sample_comes_back(config, rng):
    for n in LENGTHS:
        waveform = music(n, 1 + n % 2, rng)  # mono and stereo in turn
        back = round_trip(waveform, config)
        assert back.shape == waveform.shape
        assert (back - waveform).abs().max() < 1e-4, f"{n} samples"


@pytest.mark.parametrize("config", VARIANTS)
def test_spectrogram_is_what_numpy_computes(config, rng):
    n = 50_000
    waveform = music(n, 2, rng).numpy()
    found = spectrogram.analyze(spectrogram.blocks(torch.from_numpy(waveform), config), config)

    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)
    padded = np.pad(waveform.astype(float), ((0, 0), (2048 - config.hop_length, 4 * config.chunk_samples)))
    expected = np.zeros((len(found), 4, 1024, 32))
    for chunk, channel, frame in np.ndindex(len(found), 2, 32):
        start = (chunk * 32 + frame) * config.hop_length
        bins = np.fft.rfft(window * padded[channel, start : start + 2048])[:1024]
        if config.amplitude_transform == "polar":
            bins = 0.34 * np.abs(bins) ** 0.65 * np.exp(1j * np.angle(bins))
        else:
            real, imaginary = bins.real, bins.imag
            bins = 0.34 * np.sign(real) * abs(real) ** 0.65 + 0.34j * np.sign(imaginary) * abs(imaginary) ** 0.65
        expected[chunk, 2 * channel : 2 * channel + 2, :, frame] = bins.real, bins.imag
    assert len(found) == -(-(n + 2048 - config.hop_length) // config.chunk_samples)
    # x^0.65 is steep at zero: rounding of tiny values shows.
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-3)
    assert np.abs(found.numpy() - expected).mean() < 1e-5


def test_log_magnitude_is_that_of_the_plain_spectrum(rng):
    waveform = music(40_000, 2, rng)
    parts = {}
    for transform in ("component", "polar"):
        config = BASE.replace(amplitude_transform=transform)
        spectrograms = spectrogram.analyze(spectrogram.blocks(waveform, config), config)
        parts[transform] = spectrogram.log_magnitude(spectrograms, config)
        plain = spectrogram.to_complex(spectrograms, config).abs()
        torch.testing.assert_close(parts[transform], torch.log(1 + 10 * plain) / 4, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(parts["component"], parts["polar"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("transform", ["component", "polar"])
def test_phases_of_another(rng, transform):
    config = BASE.replace(amplitude_transform=transform)
    of, other = (spectrogram.analyze(spectrogram.blocks(music(40_000, 2, rng), config), config) for _ in range(2))
    mixed = spectrogram.with_phases_of(of, other, config)
    parts = [spectrogram.to_complex(each, config) for each in (mixed, of, other)]
    torch.testing.assert_close(parts[0].abs(), parts[1].abs(), atol=1e-4, rtol=1e-4)
    loud = parts[1].abs() > 1e-2
    turned = torch.polar(torch.ones(()), parts[0].angle() - parts[2].angle())[loud]
    torch.testing.assert_close(turned, torch.ones_like(turned), atol=1e-3, rtol=0)
    torch.testing.assert_close(spectrogram.with_phases_of(of, of, config), of, atol=1e-4, rtol=1e-4)


def test_ten_minutes_stream_through_in_bounded_memory():
    config = BASE
    n = 600 * config.sample_rate
    size, alive, most = config.chunk_samples, [], 0

    def tone(start: int, stop: int) -> torch.Tensor:
        """Samples start to stop of a piece of n samples with zeros around it."""
        index = torch.arange(start, stop, dtype=torch.float64)
        fade = torch.minimum(index, n - 1 - index).div(2048).clamp(0, 1)
        return (0.5 * fade * torch.sin(2 * torch.pi * 440 / config.sample_rate * index)).float()[None]

    def analysed():
        nonlocal most
        for chunk in range(spectrogram.num_chunks(n, config)):
            block = tone(chunk * size - config.overlap, (chunk + 1) * size)
            found = spectrogram.analyze(block[None], config)[0]
            alive.append(weakref.ref(found))
            most = max(most, sum(reference() is not None for reference in alive[-100:]))
            yield found

    position = 0
    gc.disable()  # chunks must go when they are done with, not when the collector comes round
    try:
        for piece in spectrogram.synthesize(analysed(), config, n):
            assert (piece - tone(position, position + piece.shape[-1])).abs().max() < 1e-4
            position += piece.shape[-1]
    finally:
        gc.enable()
    assert position == n
    assert most <= 2


def test_what_white_noise_loses_with_the_nyquist_bin(rng):
    # The bin holds 1 / 2048 of the energy of each frame, -33.1 dB; overlapping frames share the error out.
    noise = torch.from_numpy(0.1 * rng.standard_normal((1, 500_000))).float()
    for hop in (512, 1024):
        error = round_trip(noise, BASE.replace(hop_length=hop)) - noise
        decibels = 10 * np.log10((error.square().mean() / noise.square().mean()).item())
        assert -37 < decibels < -34.5


@pytest.mark.parametrize("config", VARIANTS)
def test_real_samples_share_out_the_piece(config):
    for n in LENGTHS:
        shares = spectrogram.real_samples(n, config)
        assert sum(shares) == n
        assert len(shares) == spectrogram.num_chunks(n, config)
        assert shares == sorted(shares, reverse=True)
        assert max(shares) <= config.chunk_samples


def test_official_framing_drops_the_tail_and_needs_one_frame():
    assert [spectrogram.num_chunks(n, BASE, "official") for n in (2048, 33 * 1024, 34 * 1024 - 1, 34 * 1024)] == [
        *(1, 1, 1, 2)
    ]
    with pytest.raises(InputError, match=r"2048 samples, got 2047.*framing='full'"):
        spectrogram.num_chunks(2047, BASE, "official")
    with pytest.raises(InputError, match="no sample"):
        spectrogram.num_chunks(0, BASE)
    with pytest.raises(InputError, match="'offical'"):
        spectrogram.num_chunks(4096, BASE, "offical")


def test_official_framing_inverts_between_the_faded_ends(rng):
    waveform = music(66_560, 2, rng)  # two chunks exactly
    chunks = spectrogram.analyze(spectrogram.blocks(waveform, BASE, "official"), BASE)
    back = torch.cat(list(spectrogram.synthesize(chunks, BASE, framing="official")), dim=-1)
    assert back.shape == waveform.shape
    assert (back - waveform)[:, 1024:-1024].abs().max() < 1e-4


@pytest.mark.reference
@pytest.mark.parametrize("n", [2048, 33_792, 70_000])
def test_official_framing_is_that_of_the_published_package(n, make_model, rng):
    audio = pytest.importorskip("codicodec.audio")
    waveform = music(n, 2, rng)
    published = audio.to_representation_encoder(waveform[None])  # [1, 4, bins, frames]
    model = make_model(channels=2, sample_rate=48_000)
    blocks = spectrogram.blocks(waveform, model.config, "official")
    ours = torch.cat(list(spectrogram.analyze(blocks, model.config)), dim=-1)[..., : published.shape[-1]]
    torch.testing.assert_close(ours, published[0], atol=2e-4, rtol=1e-4)

    # The package fills the last chunk with zero frames.
    filled = torch.nn.functional.pad(published[0], (0, -published.shape[-1] % 32))
    expected = model.encode_spectrograms(torch.stack(filled.split(32, dim=-1)))
    found = model.encode(waveform, 48_000, framing="official", batch_size=1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
