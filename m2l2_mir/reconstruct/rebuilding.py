"""What was heard of a file decoded, written and compared with the file."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray

from m2l2_mir.audio import stream
from m2l2_mir.audio_writing import write_blocks
from m2l2_mir.audiofile import printable
from m2l2_mir.errors import AudioError
from m2l2_mir.loudness import integrated_loudness
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.decoding import SeededNoise
from m2l2_mir.quality.logmel import logmel_embeddings
from m2l2_mir.quality.streams import segments, stream_figures
from m2l2_mir.quality.visqol import visqol
from m2l2_mir.reconstruct.hearing import Heard
from m2l2_mir.reconstruct.settings import Decoding
from m2l2_mir.waveform import resampled

__all__ = ["Rebuilt", "rebuild"]

VISQOL_SEGMENTS = 3  # of 10 s, evenly spaced: it takes about as long as the music lasts
_READ = 1 << 18  # samples read back at once

Blocks = Iterator[NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """A reconstruction that has been written.

    Parameters
    ----------
    figures
        ``si_sdr``, ``log_spectral_distance``, ``log_spectral_distance_aligned`` (dB) and, where asked for, ``visqol``,
        of what the decoder gave; nan where the original is silent.
    gain
        dB by which the decoder's level was changed in what was written.
    clipped
        Values beyond full scale.
    seconds
        That decoding took.
    logmel : lists of np.ndarray [embeddings, 128]
        Of each 10 s of the original and of what the decoder gave; none where the original is silent.
    """

    figures: dict[str, float]
    gain: float
    clipped: int
    seconds: float
    sample_rate: int
    channels: int
    logmel: tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]] = field(repr=False)


def rebuild(
    model: Music2Latent2,
    heard: Heard,
    out: Path,
    *,
    decoding: Decoding,
    sample_rate: int | None = None,
    raw_level: bool = False,
    with_visqol: bool = False,
    tell: Callable[[float], object] | None = None,
) -> Rebuilt:
    """Decode what was heard of a file, write it and compare it with the file.

    Parameters
    ----------
    model
        The model that heard it.
    heard
        See :func:`hear`.
    out
        File to write, in the format that its extension names; there whole or not at all. Its folder must exist.
    decoding
        Method and noise.
    sample_rate
        To write, in Hz; None for the file's own.
    raw_level
        Keep the level of the decoder rather than the loudness of the file.
    with_visqol
        Measure ViSQOL too, on three pieces of 10 s; needs visqol-python.
    tell
        Told the seconds of music decoded, step by step.

    Raises
    ------
    InputError
        The extension names no format that can be written, the format does not take the rate, or a setting of the
        decoder is out of range.
    AudioError
        The file cannot be read again or the reconstruction cannot be written, or the decoder gave no finite numbers.
    """
    config = model.config
    rate = sample_rate or heard.sample_rate
    length = heard.frames if rate == heard.sample_rate else round(heard.frames * rate / heard.sample_rate)
    try:
        scratch = tempfile.TemporaryFile(dir=out.parent)  # noqa: SIM115  # closed below
    except OSError as error:
        raise AudioError(f"{printable(out)}: cannot be written: {error.strerror}") from error
    with scratch:
        begun = perf_counter()
        _decode_into(scratch, model, heard, decoding, tell)
        seconds = perf_counter() - begun
        gain = 1.0
        logmel: tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]
        if not raw_level:
            reached = integrated_loudness(_read_back(scratch, config.channels), config.sample_rate)
            if math.isfinite(reached) and math.isfinite(heard.loudness):
                gain = 10 ** ((heard.loudness - reached) / 20)

        def original() -> Blocks:
            return stream(heard.path, sample_rate=config.sample_rate, channels=config.channels, excerpt=heard.excerpt)

        def decoded() -> Blocks:
            return _read_back(scratch, config.channels)

        levelled = (block * np.float32(gain) for block in decoded())
        written = _cut(resampled(levelled, config.channels, config.sample_rate, rate), config.channels, length)
        clipped = write_blocks(out, written, rate, config.channels)
        if math.isinf(heard.loudness):
            figures = dict.fromkeys(("log_spectral_distance", "log_spectral_distance_aligned", "si_sdr"), math.nan)
            logmel, scores = ([], []), math.nan
        else:
            figures = stream_figures(original, decoded, sample_rate=config.sample_rate)
            pieces = segments(original, decoded, sample_rate=config.sample_rate)
            logmel, scores = _of_segments(pieces, config.sample_rate, heard.samples, with_visqol)
    return Rebuilt(
        figures={**figures, "visqol": scores} if with_visqol else figures,
        gain=20 * math.log10(gain),
        clipped=clipped,
        seconds=seconds,
        sample_rate=rate,
        channels=config.channels,
        logmel=logmel,
    )


def _decode_into(
    scratch: IO[bytes],
    model: Music2Latent2,
    heard: Heard,
    decoding: Decoding,
    tell: Callable[[float], object] | None,
) -> None:
    """Write the decoded waveform as float32 [samples, channels]."""
    config = model.config
    pieces = model.decode_stream(
        heard.embeddings,
        noise=SeededNoise(config, decoding.seed),
        num_samples=heard.samples,
        **{name: value for name, value in asdict(decoding).items() if name != "seed"},
    )
    for piece in pieces:
        if not torch.isfinite(piece).all():
            raise AudioError(f"{printable(heard.path)}: the decoder gave no finite numbers; check the weights")
        try:
            scratch.write(piece.numpy().T.tobytes())
        except OSError as error:
            raise AudioError(f"{printable(heard.path)}: cannot be decoded: {error.strerror}") from error
        if tell is not None:
            tell(piece.shape[-1] / config.sample_rate)


def _read_back(scratch: IO[bytes], channels: int) -> Blocks:
    """Read [channels, samples] in blocks; the place in the file is the reader's own, so that two may read in step."""
    place = 0
    while True:
        scratch.seek(place)
        content = scratch.read(_READ * 4 * channels)
        if not content:
            return
        place += len(content)
        yield np.frombuffer(content, np.float32).reshape(-1, channels).T


def _cut(blocks: Iterable[NDArray[np.float32]], channels: int, length: int) -> Blocks:
    """Give exactly `length` samples: where the model's rate does not divide the file's, one may be too many or few."""
    left = length
    for block in blocks:
        yield block[:, :left]
        left -= min(block.shape[1], left)
    if left:
        yield np.zeros((channels, left), np.float32)


def _of_segments(
    pieces: Iterable[NDArray[np.float64]], rate: int, samples: int, with_visqol: bool
) -> tuple[tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]], float]:
    """Log-mel embeddings of each piece of 10 s, and the mean ViSQOL of a few."""
    whole = max(round(samples / (10 * rate)), 1)
    chosen = set(np.linspace(0, whole - 1, min(VISQOL_SEGMENTS, whole)).round().astype(int).tolist())
    ours, theirs, scores = [], [], []
    for number, (original, estimated) in enumerate(pieces):
        ours.append(logmel_embeddings(original, sample_rate=rate))
        theirs.append(logmel_embeddings(estimated, sample_rate=rate))
        if with_visqol and number in chosen and original.any() and original.shape[-1] >= rate:
            scores.append(float(np.asarray(visqol(original, estimated, sample_rate=rate))))
    return (ours, theirs), float(np.mean(scores)) if scores else math.nan
