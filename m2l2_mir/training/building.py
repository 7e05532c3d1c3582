"""Folders of audio and packed shards -> :class:`~m2l2_mir.training.corpus.Corpus`, decoded once and kept in a cache.

Conventions
-----------
* The folder of a corpus is called by a hash of the recordings' bytes, names and licences, the rate and the number of
  channels: the same data is built once, whatever its folder is called, and changed data is built anew.
* Threads decode, one thread writes, in the order of the recordings: how many there are changes nothing.
* A recording that cannot be decoded is listed with the reason, and the rest goes on. Of recordings with the same
  samples the first is kept.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, TypeVar

import joblib
import numpy as np

from m2l2_mir.durable import cache_home, write_json
from m2l2_mir.embedding.lock import WriterLock
from m2l2_mir.errors import AudioError, CorpusError, StoreError
from m2l2_mir.training.corpus import (
    AUDIO_FILE,
    BLOCK,
    CORPUS_FORMAT,
    LEVELS_FILE,
    MANIFEST_FILE,
    Corpus,
    digest_of,
)
from m2l2_mir.training.decoding import FULL_SCALE, Decoded, LeftOut, decode
from m2l2_mir.training.recordings import Recording, Recordings, recordings_of
from m2l2_mir.waveform import check_channels, check_rate

__all__ = ["build_corpus", "decode_all"]

_COPY_BLOCKS = 1024
_WAIT_SECONDS = 0.2
R = TypeVar("R")


def build_corpus(
    folders: Sequence[Path],
    *,
    sample_rate: int,
    channels: int = 1,
    cache: Path | None = None,
    jobs: int | None = None,
    wait: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Corpus:
    """Open the corpus of some folders, after building it if it is not in the cache.

    Parameters
    ----------
    folders
        Folders of audio files or of packed shards, see :mod:`~m2l2_mir.training.recordings`.
    sample_rate
        Rate in Hz, the model's.
    channels
        1 for the mean of all channels, 2 for stereo.
    cache
        Folder that holds built corpora; default: ``corpora`` in the user's cache.
    jobs
        Threads that decode; default: the cores this process may use.
    wait
        Do not build it but wait until another process has, as all but the first of several that train together do.
        They share the cache, and whoever started them stops this one if that one fails.
    progress
        Called as ``progress(done, total)``, counting recordings.

    Returns
    -------
    Corpus

    Raises
    ------
    InputError
        A folder does not exist, or two recordings would have the same name.
    CorpusError
        Nothing can be used, the cache cannot be written, or another process is building the same.
    """
    check_rate(sample_rate)
    check_channels(channels)
    recordings = recordings_of(folders)
    with ThreadPoolExecutor(jobs or joblib.cpu_count()) as threads:
        identities = list(threads.map(lambda recording: recording.identity(), recordings.found))
    key = digest_of(
        {
            "format": CORPUS_FORMAT,
            "sample_rate": sample_rate,
            "channels": channels,
            "recordings": [
                [recording.name, recording.collection, asdict(recording.facts), identity]
                for recording, identity in zip(recordings.found, identities, strict=True)
            ],
        }
    )
    folder = (cache or cache_home() / "corpora") / key[:32]
    while wait and not (folder / MANIFEST_FILE).is_file():
        time.sleep(_WAIT_SECONDS)
    if not (folder / MANIFEST_FILE).is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = WriterLock(folder)
            try:
                if not (folder / MANIFEST_FILE).is_file():  # another process may have just finished it
                    facts = {"format": CORPUS_FORMAT, "key": key, "sample_rate": sample_rate, "channels": channels}
                    _build(recordings, facts, folder, jobs, progress)
            finally:
                lock.release()
        except StoreError as error:
            raise CorpusError(f"{folder} is being built by another process; wait for it to end") from error
        except OSError as error:
            if isinstance(error, CorpusError):
                raise
            raise CorpusError(
                f"cannot write to {folder}: {error.strerror or error}; set M2L2_CACHE to a folder with room"
            ) from error
    return Corpus.open(folder)


def decode_all(
    recordings: Sequence[Recording],
    work: Callable[[Recording], R],
    *,
    jobs: int | None,
    progress: Callable[[int, int], None] | None,
) -> Iterator[tuple[Recording, R | AudioError | LeftOut]]:
    """Do something with each recording in threads, and give the results in order, errors among them.

    Only a few results wait at a time, however long the list.
    """
    jobs = jobs or joblib.cpu_count()
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(jobs) as threads:
        try:
            submitted = 0
            for done, recording in enumerate(recordings, start=1):
                while submitted < len(recordings) and len(waiting) < 2 * jobs:
                    waiting.append(threads.submit(work, recordings[submitted]))
                    submitted += 1
                try:
                    result: R | AudioError | LeftOut = waiting.popleft().result()
                except (AudioError, LeftOut) as error:
                    result = error
                yield recording, result
                if progress:
                    progress(done, len(recordings))
        finally:
            for future in waiting:
                future.cancel()


def _build(
    recordings: Recordings,
    facts: dict[str, Any],
    folder: Path,
    jobs: int | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    sample_rate, channels = facts["sample_rate"], facts["channels"]
    pieces: list[dict[str, Any]] = []
    skipped = [{"name": name, "kind": "failed", "reason": reason} for name, reason in recordings.failures]
    seen: dict[str, str] = {}
    frames = 0

    def work(recording: Recording) -> Decoded:
        return decode(recording, sample_rate=sample_rate, channels=channels, scratch=folder)

    with open(folder / AUDIO_FILE, "wb") as audio, open(folder / LEVELS_FILE, "wb") as levels:
        for recording, result in decode_all(recordings.found, work, jobs=jobs, progress=progress):
            if isinstance(result, Decoded):
                with result.file:
                    if result.sha256 not in seen:
                        seen[result.sha256] = recording.name
                        pieces.append(
                            {
                                "name": recording.name,
                                "collection": recording.collection,
                                "licence": recording.facts.licence,
                                "split": recording.facts.split,
                                "sha256": result.sha256,
                                "start": frames,
                                "samples": result.samples,
                            }
                        )
                        frames += _append(result, channels, audio, levels)
                        continue
                result = LeftOut(f"the same samples as {seen[result.sha256]}")
            kind = "left out" if isinstance(result, LeftOut) else "failed"
            skipped.append({"name": recording.name, "kind": kind, "reason": str(result)})
        for file in (audio, levels):
            file.flush()
            os.fsync(file.fileno())
    if not pieces:
        why = f"; the first of {len(skipped)}: {skipped[0]['name']}: {skipped[0]['reason']}" if skipped else ""
        raise CorpusError(f"no recording to train on was found{why}")
    manifest = facts | {"frames": frames, "pieces": pieces, "skipped": skipped}
    write_json(folder / MANIFEST_FILE, manifest | {"digest": digest_of(manifest)})


def _append(decoded: Decoded, channels: int, audio: IO[bytes], levels: IO[bytes]) -> int:
    """Copy the samples, filled up with zeros to whole blocks, and their levels; the number of frames written."""
    frames = 0
    while data := decoded.file.read(_COPY_BLOCKS * BLOCK * channels * 2):
        samples = np.frombuffer(data, "<i2").reshape(-1, channels)
        samples = np.pad(samples, ((0, -len(samples) % BLOCK), (0, 0)))
        audio.write(samples.tobytes())
        scaled = samples.reshape(-1, BLOCK * channels).astype(np.float32) / FULL_SCALE
        levels.write(np.square(scaled).mean(axis=1).astype("<f4").tobytes())
        frames += len(samples)
    return frames
