"""Audio files through a model and back: encode, decode, bring to the old loudness, write, compare.

    file --read_chunks--> blocks --encoder--> summary embeddings --decoder--> pieces --> audio file
    file, audio file --> SI-SDR, log-spectral distance, ViSQOL

Conventions
-----------
- A reconstruction has the duration of its original and the channels of the model; its original is what the model heard,
  mixed to these channels. Figures compare it with what the decoder gave, at the model's rate and the decoder's own
  level, as :func:`m2l2_mir.quality.reconstruction.clip_figures` does.
- What is written has another rate, and one gain that brings it to the loudness of its original (BS.1770) unless the
  level of the decoder is asked for. Figures do not depend on either.
- An original that nowhere reaches the gate of BS.1770, -70 LUFS, is silent: it has no figures, as rounding would be
  taken for music where channels cancel.
- The embeddings of a file are held, about 10 MB an hour; audio passes in blocks, through a file without a name.
"""

from __future__ import annotations

import io
import math
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import IO, Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from m2l2_mir.audio import _format_of, read_info, stream
from m2l2_mir.audiofile import printable
from m2l2_mir.dataset.folder import AudioFile
from m2l2_mir.embedding.reading import Settings, Track, read_chunks
from m2l2_mir.errors import AudioError, InputError
from m2l2_mir.loudness import integrated_loudness
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.decoding import PARALLEL_STEPS, Method, SeededNoise
from m2l2_mir.model.music2latent import Music2Latent
from m2l2_mir.quality.logmel import logmel_embeddings
from m2l2_mir.quality.streams import segments, stream_figures
from m2l2_mir.quality.visqol import visqol
from m2l2_mir.waveform import resampled

__all__ = [
    "Decoding",
    "Heard",
    "Rebuilt",
    "check",
    "check_format",
    "default_method",
    "facts_of",
    "hear",
    "rebuild",
    "write_blocks",
]

SIGMA_COND = 0.4  # as the paper has it
BATCH_SIZE = 16  # chunks encoded at once
VISQOL_SEGMENTS = 3  # of 10 s, evenly spaced: it takes about as long as the music lasts
_READ = 1 << 18  # samples read back at once

Blocks = Iterator[NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """Settings of :meth:`m2l2_mir.model.autoencoder.Music2Latent2.decode`."""

    method: Method = "two-step"
    sigma_cond: float = SIGMA_COND
    position_cond: float | None = None
    steps: int | None = None
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A file as a model heard it.

    Parameters
    ----------
    embeddings : Tensor [chunks, K, d]
        Of all chunks.
    samples
        At the model's rate.
    sample_rate, frames
        Of the file itself.
    loudness
        LUFS of the channels that the model hears; -inf for silence.
    seconds
        That encoding took.
    """

    path: Path
    excerpt: tuple[float, float] | None
    embeddings: Tensor
    samples: int
    sample_rate: int
    frames: int
    loudness: float
    seconds: float


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


def default_method(model: Music2Latent2) -> Method:
    """The paper's method, or the one that the model has."""
    return "parallel" if isinstance(model, Music2Latent) else "two-step"


def check(model: Music2Latent2, decoding: Decoding) -> Decoding:
    """Decode one chunk of zeros, so that a setting out of range is told before any file is read.

    Returns
    -------
    Decoding
        With the number of steps that None stands for.

    Raises
    ------
    InputError
        As of :meth:`m2l2_mir.model.autoencoder.Music2Latent2.decode`.
    """
    chunk = torch.zeros(1, model.config.num_embeddings, model.config.latent_dim)
    model.decode(chunk, num_samples=1, **asdict(decoding))
    usual = PARALLEL_STEPS if decoding.method == "parallel" and not isinstance(model, Music2Latent) else 1
    return replace(decoding, steps=decoding.steps or usual)


def check_format(path: Path, sample_rate: int) -> None:
    """Open a file of this format and rate in memory, so that it is known before anything is decoded.

    Raises
    ------
    InputError
        The extension names no format that can be written, or the format does not take the rate.
    """
    file_format, subtype = _format_of(path)
    try:
        soundfile.SoundFile(io.BytesIO(), "w", sample_rate, 1, subtype, format=file_format).close()
    except soundfile.LibsndfileError as error:
        raise _cannot_hold(path, 1, sample_rate, file_format, error) from error


def hear(
    model: Music2Latent2,
    path: Path,
    *,
    excerpt: tuple[float, float] | None = None,
    tell: Callable[[float], object] | None = None,
) -> Heard:
    """Encode a file.

    Parameters
    ----------
    model
        Any model of the family.
    path
        Audio file.
    excerpt
        Start and length in seconds; None for everything.
    tell
        Told the seconds of music encoded, step by step.

    Raises
    ------
    AudioError
        The file cannot be used; see :func:`m2l2_mir.audio.stream`.
    """
    config = model.config
    rate = read_info(path).sample_rate
    frames = 0

    def counted() -> Blocks:
        nonlocal frames
        for block in stream(path, sample_rate=rate, channels=config.channels, excerpt=excerpt):
            frames += block.shape[1]
            yield block

    loudness = integrated_loudness(counted(), rate)
    begun = perf_counter()
    track = Track(AudioFile(track_id=path.name, path=path), keep_chunks=False)
    found = []
    incoming = read_chunks(track, config, Settings(excerpt=excerpt), None)
    while chunks := list(islice(incoming, BATCH_SIZE)):
        found.append(model.encode_blocks(torch.from_numpy(np.stack([chunk.block for chunk in chunks]))))
        if tell is not None:
            tell(len(chunks) * config.chunk_seconds)
    embeddings = torch.cat(found)
    if not torch.isfinite(embeddings).all():
        raise AudioError(f"{printable(path)}: its embeddings are no finite numbers; check its level")
    return Heard(
        path=path,
        excerpt=excerpt,
        embeddings=embeddings,
        samples=sum(track.samples),
        sample_rate=rate,
        frames=frames,
        loudness=loudness,
        seconds=perf_counter() - begun,
    )


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


def write_blocks(path: Path, blocks: Iterable[NDArray[np.floating]], sample_rate: int, channels: int) -> int:
    """Write a waveform that comes in blocks, as :func:`m2l2_mir.audio.save` writes one that is there at once.

    Returns
    -------
    int
        Values beyond full scale, which were clipped.

    Raises
    ------
    InputError, AudioError
        As of :func:`m2l2_mir.audio.save`.
    """
    file_format, subtype = _format_of(path)
    aside = path.with_name(f".{secrets.token_hex(8)}.part")
    clipped = 0
    try:
        with (
            open(aside, "xb") as file,
            soundfile.SoundFile(
                file.fileno(), "w", sample_rate, channels, subtype, format=file_format, closefd=False
            ) as writer,
        ):
            for block in blocks:
                clipped += int(np.count_nonzero(np.abs(block) > 1))
                writer.write(np.ascontiguousarray(np.clip(block, -1, 1).T, np.float32))
        os.replace(aside, path)
    except soundfile.LibsndfileError as error:
        raise _cannot_hold(path, channels, sample_rate, file_format, error) from error
    except OSError as error:
        raise AudioError(f"{printable(path)}: cannot be written: {error.strerror}") from error
    finally:
        aside.unlink(missing_ok=True)
    return clipped


def _cannot_hold(
    path: Path, channels: int, sample_rate: int, file_format: str, error: soundfile.LibsndfileError
) -> InputError:
    return InputError(
        f"{printable(path)}: cannot hold {channels} channel{'s' * (channels > 1)} at {sample_rate} Hz as {file_format} "
        f"({error.error_string.rstrip('.')}); choose another --rate or write a .wav"
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


def facts_of(heard: Heard, built: Rebuilt, decoding: Decoding, *, raw_level: bool) -> dict[str, Any]:
    """One row of a table of metrics, with the settings that give it again; None where a setting played no part."""
    duration = heard.frames / heard.sample_rate
    autoregressive = decoding.method != "parallel"
    return {
        "method": decoding.method,
        "sigma_cond": decoding.sigma_cond if autoregressive and decoding.position_cond is None else None,
        "position_cond": decoding.position_cond if autoregressive else None,
        "steps": decoding.steps,
        "seed": decoding.seed,
        "raw_level": raw_level,
        "excerpt": None if heard.excerpt is None else "{},{}".format(*heard.excerpt),
        "seconds": duration,
        "chunks": len(heard.embeddings),
        "sample_rate": built.sample_rate,
        "channels": built.channels,
        **built.figures,
        "gain_db": built.gain,
        "clipped": built.clipped,
        "note": _note(heard, built),
        "encode_x_real_time": duration / max(heard.seconds, 1e-9),
        "decode_x_real_time": duration / max(built.seconds, 1e-9),
    }


def _note(heard: Heard, built: Rebuilt) -> str:
    notes = []
    if math.isinf(heard.loudness):
        notes.append("the original is silent (nowhere above -70 LUFS): no figures, the level is the decoder's")
    if built.clipped:
        notes.append(f"{built.clipped} values were beyond full scale and were clipped")
    return "; ".join(notes)
