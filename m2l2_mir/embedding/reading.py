"""One file on its way through the extraction: read in chunks, collected again, summarised.

Chunks leave in order and come back in any order, from any thread.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.audio import AudioInfo, read_info, stream
from m2l2_mir.dataset.folder import AudioFile
from m2l2_mir.embedding.pooling import RunningPool
from m2l2_mir.embedding.rescan import Lost
from m2l2_mir.embedding.track import KnownTrack, TrackResult, stored_path
from m2l2_mir.errors import AudioError
from m2l2_mir.loudness import integrated_loudness
from m2l2_mir.model.autoencoder import Features
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.model.spectrogram import num_chunks

__all__ = ["SILENCE_DBFS", "Chunk", "Settings", "Track", "read_chunks"]

SILENCE_DBFS = -70.0
"""A chunk whose real samples have an RMS below this is silent: left out of mean and std, and counted."""
CUT_OFF_SECONDS = 0.1  # a file that ends this much before its header says is called cut off


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides the embeddings of a file, beside the weights."""

    features: Features = "bottleneck"
    excerpt: tuple[float, float] | None = None  # start and length in seconds
    loudness: float | None = None  # LUFS that each file is brought to, measured on the channels that the model hears


@dataclass(frozen=True, slots=True)
class Chunk:
    """One block of waveform of one track, ready to be encoded."""

    track: Track
    index: int
    block: NDArray[np.float32]  # [channels, chunk_samples + overlap]


class Track:
    """Summarises one file chunk by chunk, and gives its result once, when all are there or the file has failed.

    Chunks come back in any order; those that run ahead wait, so that the sums do not depend on the order. Unless the
    embeddings of all chunks are to be kept, no more than these few are held.
    """

    def __init__(self, file: AudioFile, keep_chunks: bool) -> None:
        self.file, self.keep_chunks = file, keep_chunks
        self.facts: dict[str, Any] = {}  # fields of TrackResult known before the embeddings
        self.formerly = file.track_id  # the track in the store that holds the embeddings of this file, if any does
        self.samples: list[int] = []  # real samples of each chunk read so far
        self.silent: list[bool] = []
        self.failed = False
        self._ahead: dict[int, NDArray[np.float32] | None] = {}
        self._taken = 0
        self._pool = RunningPool()
        self._kept: list[NDArray[np.float16]] = []
        self._finite = True
        self._read = False
        self._lock = threading.Lock()

    def end_of_file(self) -> TrackResult | None:
        """Say that all chunks are on their way; the result if they are back already."""
        with self._lock:
            self._read = True
            return self._result_if_complete()

    def needs(self, chunk: Chunk) -> bool:
        """Whether the embedding of a chunk counts: a silent one does only where all are kept."""
        return self.keep_chunks or not self.silent[chunk.index]

    def receive(self, index: int, embedding: NDArray[np.float32] | None) -> TrackResult | None:
        """Take the embedding of one chunk, None if it is not needed; the result if it was the last one missing."""
        with self._lock:
            self._ahead[index] = embedding
            while self._taken in self._ahead:
                self._take(self._ahead.pop(self._taken))
            return self._result_if_complete()

    def place(self) -> dict[str, Any]:
        """What the file is called, where it is, and what tells at a glance that it is the same."""
        facts = {key: self.facts[key] for key in ("size_bytes", "mtime_ns")}
        return {"track_id": self.file.track_id, "path": stored_path(self.file.path), **facts}

    def fail(self, reason: str) -> TrackResult:
        """Give up on the file, whatever was read of it so far."""
        self.failed = True
        line = reason if reason.isprintable() else repr(reason)[1:-1]  # a file's name may hold a line break
        return TrackResult(**{**self._identity(), "status": "failed", "reason": line})

    def _take(self, embedding: NDArray[np.float32] | None) -> None:
        samples, silent = self.samples[self._taken], self.silent[self._taken]
        self._taken += 1
        if embedding is None:
            return
        self._pool.add(embedding, 0 if silent else samples)
        stored: NDArray[np.floating[Any]] = embedding
        if self.keep_chunks:
            with np.errstate(over="ignore"):  # told by the result
                half = embedding.astype(np.float16)
            self._kept.append(half)
            stored = half
        self._finite = self._finite and bool(np.isfinite(stored).all())

    def _result_if_complete(self) -> TrackResult | None:
        if not self._read or self.failed or self._taken < len(self.samples):
            return None
        samples, silent = np.array(self.samples), np.array(self.silent)
        if not self._finite:
            return self.fail(f"{self.file.path.name}: its embeddings are no finite numbers; check its level")
        if not self._pool.weight:
            return self.fail(f"silent: no chunk of {self.file.path.name} reaches {SILENCE_DBFS:g} dBFS")
        mean, std = self._pool.result()
        return TrackResult(
            **self._identity(),
            status="ok",
            chunks=len(samples),
            silent_chunks=int((silent & (samples > 0)).sum()),
            mean=mean,
            std=std,
            chunk_embeddings=np.stack(self._kept) if self.keep_chunks else None,
            chunk_samples=samples,
            chunk_silent=silent,
        )

    def _identity(self) -> dict[str, Any]:
        return {"track_id": self.file.track_id, "path": os.path.abspath(self.file.path), **self.facts}


def read_chunks(
    track: Track, config: ModelConfig, settings: Settings, known: KnownTrack | None, lost: Lost | None = None
) -> Iterator[Chunk]:
    """Read the file of `track` and cut it into chunks; yields nothing if its content is known.

    Parameters
    ----------
    track
        Told what is found out about the file.
    known
        The track of the same id in the store.
    lost
        Tracks in the store whose files are gone: the file may be one of them, under another name.

    Raises
    ------
    AudioError
        The file cannot be used; see :func:`m2l2_mir.audio.stream`. `track` has an ``audio_sha256`` by then if its bytes
        could be read and are not those of `known`.
    """
    path = track.file.path
    if not path.exists():
        raise AudioError(f"{path.name}: the file is gone")
    state = path.stat()
    track.facts |= {"size_bytes": state.st_size, "mtime_ns": state.st_mtime_ns}
    if known is not None and known.status == "ok":  # before the header is read, which a changed file may not have
        digest = _sha256(path)
        if known.audio_sha256 == digest:
            return
        if os.path.exists(known.path) and not os.path.samefile(known.path, path):
            raise AudioError(
                f"{path.name}: the store has another file under {track.file.track_id!r}, {known.path}; "
                "embed their common parent folder, or use another store"
            )
        track.facts["audio_sha256"] = digest
    info = read_info(path)
    track.facts |= {"duration": info.duration, "sample_rate": info.sample_rate, "channels": info.channels}
    if "audio_sha256" not in track.facts:
        track.facts["audio_sha256"] = _sha256(path)
    if lost is not None and (former := lost.claim(track.facts["audio_sha256"])) is not None:
        track.formerly = former
        return

    gain = _gain(path, info, settings, config.channels)
    silence = 10 ** (SILENCE_DBFS / 20)
    length = config.chunk_samples + config.overlap
    buffer = np.zeros((config.channels, config.overlap), np.float32)
    total = 0

    def chunk(block: NDArray[np.float32], real: int) -> Chunk:
        block = block if gain == 1 else block * gain
        audible = block[:, config.overlap : config.overlap + real]
        track.samples.append(real)
        track.silent.append(not real or float(np.sqrt(np.mean(np.square(audible, dtype=np.float64)))) < silence)
        return Chunk(track, len(track.samples) - 1, block)

    for piece in stream(path, sample_rate=config.sample_rate, channels=config.channels, excerpt=settings.excerpt):
        total += piece.shape[1]
        buffer = np.concatenate([buffer, piece], axis=1)
        while buffer.shape[1] >= length:
            yield chunk(buffer[:, :length], config.chunk_samples)
            buffer = buffer[:, config.chunk_samples :]
    if not total:
        raise AudioError(f"{path.name}: too short, it holds no whole sample at {config.sample_rate} Hz")
    while len(track.samples) < num_chunks(total, config):
        real = max(buffer.shape[1] - config.overlap, 0)
        yield chunk(np.pad(buffer, ((0, 0), (0, length - buffer.shape[1]))), real)
        buffer = buffer[:, config.chunk_samples :]

    seconds, expected = total / config.sample_rate, info.duration
    if settings.excerpt is None:
        track.facts["duration"] = seconds
    else:
        expected = min(info.duration - settings.excerpt[0], settings.excerpt[1])
    if not math.isnan(info.duration) and expected - seconds > CUT_OFF_SECONDS:
        track.facts["reason"] = f"cut off: {seconds:.2f} s of {expected:.2f} s could be decoded"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _gain(path: Path, info: AudioInfo, settings: Settings, channels: int) -> np.float32:
    """Factor that brings what the model hears of the file, or of the excerpt, to the loudness asked for."""
    if settings.loudness is None:
        return np.float32(1)
    heard = stream(path, sample_rate=info.sample_rate, channels=channels, excerpt=settings.excerpt)
    measured = integrated_loudness(heard, info.sample_rate)
    if math.isinf(measured):
        raise AudioError(f"{path.name}: silent, so it cannot be brought to {settings.loudness:g} LUFS")
    return np.float32(10 ** ((settings.loudness - measured) / 20))
