"""Codecs and models that are compared: their names, what becomes of a clip, and at which rate.

Each takes clips at a rate and in channels that need not be its own. It hears them resampled; a codec of one channel
codes each channel on its own, one of more gets the same in all of its channels, and their mean is given back. The rate
is that of what is coded then: two channels on their own take twice the rate of one, a mono clip as stereo the rate of
stereo.

Published networks are read from folders of the user's by the package transformers: EnCodec (``facebook/encodec_48khz``,
weights CC BY-NC 4.0) and DAC (``descript/dac_44khz``, MIT), in safetensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from m2l2_mir.model import spectrogram
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.model.decoding import Method
from m2l2_mir.quality.degradations import opus
from m2l2_mir.quality.transformers_folder import from_folder
from m2l2_mir.waveform import map_channels, resample

Array = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class Codec:
    """A row of the table.

    `rebuild` takes a clip [channels, samples] and its number, and gives the clip back with the kbit/s it took, None
    where the code is not of bits or they are not counted.
    """

    name: str
    rate: str  # as a reader of tables expects it; "{kbps}" stands for what was counted
    rebuild: Callable[[Array, int], tuple[Array, float | None]]


def round_trip(config: ModelConfig) -> Codec:
    """STFT of a model and back: the ceiling of its decoder."""

    def rebuild(clip: Array, number: int) -> tuple[Array, None]:
        blocks = spectrogram.blocks(torch.from_numpy(np.asarray(clip, np.float32)), config)
        spectra = spectrogram.analyze(blocks, config)
        return torch.cat(list(spectrogram.synthesize(spectra, config, clip.shape[-1])), dim=-1).numpy(), None

    return Codec(name="STFT round trip", rate="-", rebuild=rebuild)


def labelled(models: Sequence[Music2Latent2]) -> list[tuple[str, Music2Latent2]]:
    """Name each model for the tables; of equal names each gets a number."""
    names = [model.config.name + ("" if model.trained else ", untrained") for model in models]
    return [
        (name if names.count(name) == 1 else f"{name} #{names[:place].count(name) + 1}", model)
        for place, (name, model) in enumerate(zip(names, models, strict=True))
    ]


def opus_at(kbps: float, sample_rate: int) -> Codec:
    """Opus, by libsndfile."""
    return Codec(
        name=f"Opus, aimed at {kbps:g} kbit/s",
        rate="{kbps:.1f} kbit/s, counted",
        rebuild=lambda clip, number: opus(clip, kbps, sample_rate=sample_rate),
    )


def latent(model: Music2Latent2, label: str, method: Method, *, sample_rate: int, channels: int) -> Codec:
    """A model of the family, for clips of a rate and number of channels.

    Its rate is that of numbers: how many a second, and samples of the clip for each of them.
    """
    config = model.config
    streams = channels if config.channels == 1 else 1
    numbers = (
        streams * config.num_embeddings * config.latent_dim * config.sample_rate / config.chunk_samples
    )  # a second

    def code(given: Array, number: int) -> Array:
        embeddings = model.encode(given, config.sample_rate)
        return model.decode(embeddings, num_samples=given.shape[-1], method=method, seed=number).numpy()

    def rebuild(clip: Array, number: int) -> tuple[Array, None]:
        return through(clip, sample_rate, config.sample_rate, config.channels, lambda given: code(given, number)), None

    return Codec(
        name=f"{label}, {method}",
        rate=f"{numbers:.0f} numbers/s ({channels * sample_rate / numbers:.0f}x)",
        rebuild=rebuild,
    )


def through(clip: Array, sample_rate: int, rate: int, heard: int, code: Callable[[Array], Array]) -> Array:
    """Give a clip [channels, samples] to what codes `heard` channels at its own rate, and bring it back."""
    channels, samples = clip.shape
    given = resample(clip if heard == 1 else map_channels(clip, heard), sample_rate, rate)
    parts = [channel[None] for channel in given] if heard == 1 else [given]
    back = np.concatenate([code(part) for part in parts])
    back = resample(map_channels(back, channels), rate, sample_rate)[:, :samples]
    return np.pad(back, ((0, 0), (0, samples - back.shape[1])))


def encodec(folder: Path, sample_rate: int, channels: int, device: str) -> Iterator[Codec]:
    """EnCodec at each of its bandwidths."""
    model = from_folder("EncodecModel", folder, weights=True).eval().requires_grad_(False).to(device)
    for bandwidth in model.config.target_bandwidths:
        yield _neural(
            f"EnCodec ({folder.name}), {bandwidth:g} kbit/s",
            bandwidth,
            sample_rate,
            channels,
            model.config,
            lambda x, kbps=bandwidth: model(x.to(device), bandwidth=kbps).audio_values.cpu(),
        )


def dac(folder: Path, sample_rate: int, channels: int, device: str) -> Iterator[Codec]:
    """DAC with all of its quantizers."""
    model = from_folder("DacModel", folder, weights=True).eval().requires_grad_(False).to(device)
    config = model.config
    frames = config.sampling_rate / config.hop_length
    kbps = config.n_codebooks * np.log2(config.codebook_size) * frames / 1000

    def decode(x: torch.Tensor) -> torch.Tensor:
        audio: torch.Tensor = model(x.to(device)).audio_values.cpu()
        return audio[:, None] if audio.ndim == 2 else audio

    yield _neural(f"DAC ({folder.name})", float(kbps), sample_rate, channels, config, decode)


FOLDERS: dict[str, Callable[[Path, int, int, str], Iterator[Codec]]] = {"encodec": encodec, "dac": dac}
"""Codecs of published networks by the name that they are asked for."""


def _neural(
    name: str,
    kbps: float,
    sample_rate: int,
    channels: int,
    config: Any,
    decode: Callable[[torch.Tensor], torch.Tensor],
) -> Codec:
    """A network that takes [1, channels, samples] at its own rate; its bits are those it is named after."""
    rate, heard = int(config.sampling_rate), int(getattr(config, "audio_channels", 1))

    def rebuild(clip: Array, number: int) -> tuple[Array, None]:
        return through(
            clip, sample_rate, rate, heard, lambda given: decode(torch.from_numpy(given)[None])[0].numpy()
        ), None

    taken = kbps * (channels if heard == 1 else 1)
    return Codec(name=name, rate=f"{taken:.1f} kbit/s, nominal", rebuild=rebuild)
