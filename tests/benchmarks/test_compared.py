"""Codecs of other rates and channels are compared like the rest, at the rate that they truly take."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.quality.si_sdr import si_sdr

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
RATE = 44_100


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        yield importlib.import_module("_compared")


class Perfect:
    """A model whose embeddings are its input."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self.config = SimpleNamespace(
            sample_rate=sample_rate, channels=channels, num_embeddings=8, latent_dim=64, chunk_samples=32_768
        )
        self.heard: list[tuple[int, ...]] = []

    def encode(self, waveform: np.ndarray, sample_rate: int) -> torch.Tensor:
        assert sample_rate == self.config.sample_rate
        assert len(waveform) == self.config.channels
        self.heard.append(waveform.shape)
        return torch.from_numpy(waveform)

    def decode(self, embeddings: torch.Tensor, *, num_samples: int, method: str, seed: int) -> torch.Tensor:
        assert embeddings.shape[1] == num_samples
        return embeddings


def tones(channels: int) -> np.ndarray:
    time = np.arange(RATE) / RATE
    return np.stack([0.1 * np.sin(2 * np.pi * hertz * time) for hertz in (440, 1000)[:channels]])


@pytest.mark.parametrize(
    ("rate", "channels", "given", "heard", "label"),
    [
        (48_000, 2, 1, [(2, 48_000)], "750 numbers/s (59x)"),
        (48_000, 2, 2, [(2, 48_000)], "750 numbers/s (118x)"),
        (32_000, 1, 2, [(1, 32_000)] * 2, "1000 numbers/s (88x)"),
        (44_100, 1, 1, [(1, 44_100)], "689 numbers/s (64x)"),
    ],
)
def test_models_of_another_rate_or_channels(script, rate, channels, given, heard, label) -> None:
    model, clip = Perfect(rate, channels), tones(given)
    codec = script.latent(model, "other", "parallel", sample_rate=RATE, channels=given)
    back, kbps = codec.rebuild(clip, 0)
    assert (back.shape, kbps, model.heard, codec.rate) == (clip.shape, None, heard, label)
    assert si_sdr(clip, back) > 40


def test_nominal_rates_are_said_to_be(script) -> None:
    config = SimpleNamespace(sampling_rate=48_000, audio_channels=2)
    codec = script._neural("EnCodec", 6.0, RATE, 1, config, lambda x: x)
    back, kbps = codec.rebuild(tones(1), 0)
    assert (back.shape, kbps, codec.rate) == ((1, RATE), None, "6.0 kbit/s, nominal")
    mono = SimpleNamespace(sampling_rate=RATE)
    assert script._neural("DAC", 8.0, RATE, 2, mono, lambda x: x).rate == "16.0 kbit/s, nominal"
    coded, kbps = script.opus_at(16, RATE).rebuild(tones(1), 0)
    assert kbps > 6
    assert coded.shape == (1, RATE)


def test_other_models_have_rows_of_their_own(script) -> None:
    codec_table = importlib.import_module("codec_table")
    first, other = (load_model(f"random:m2l2-tiny:{seed}", device="cpu") for seed in range(2))
    other.config = other.config.replace(sample_rate=48_000, channels=2)
    missing: list[str] = []
    options = SimpleNamespace(codec=[f"encodec={SCRIPTS}"])
    names = [codec.name for codec in codec_table.codecs(options, [first, other], missing)]
    assert sum(name.startswith("m2l2-tiny, untrained #2") for name in names) == 3
    assert [line.partition(":")[0] for line in missing] == ["encodec"]
