"""From listed files to results: decoding threads, a bounded queue of chunks, encoding threads.

Decoding threads put single chunks of many files into one bounded queue; encoding threads take batches from it, so a
batch mixes chunks of different files and a long file keeps all cores busy. On the CPU every encoding thread runs
single-threaded kernels: threads that never wait for each other use the cores better than one kernel spread over all.
A track is finished when its last chunk is back. Memory is bounded by the queue, not by file length, unless the
embeddings of all chunks are kept.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import Empty, Full, Queue
from typing import Any

import numpy as np
import torch

from m2l2_mir.dataset.folder import AudioFile
from m2l2_mir.embedding.reading import Chunk, Settings, Track, read_chunks
from m2l2_mir.embedding.rescan import Lost
from m2l2_mir.embedding.track import KnownTrack, TrackResult
from m2l2_mir.errors import AudioWarning, M2L2Error
from m2l2_mir.model.autoencoder import Music2Latent2

__all__ = ["Pipeline", "keep_freed_memory"]

QUEUED_BATCHES = 4  # for each encoding thread
IDLE_SECONDS = 2.0  # after so long without a result, the caller is told
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def keep_freed_memory() -> None:
    """Let the C library keep what threads free; for a process that does little else than extract.

    glibc gives memory freed by a thread back to the system at once, and the next batch pays for it again in page
    faults: about a tenth of the time of an extraction where it was tried. Does nothing where there is no glibc.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_TRIM_THRESHOLD, 256 << 20)
            mallopt(M_MMAP_THRESHOLD, 32 << 20)


class Pipeline:
    """Decoding threads, a bounded queue of chunks, encoding threads; see the module's docstring."""

    def __init__(
        self, model: Music2Latent2, settings: Settings, *, keep_chunks: bool, jobs: int, batch_size: int
    ) -> None:
        self.model, self.settings = model, settings
        self.keep_chunks, self.batch_size = keep_chunks, batch_size
        self.readers = jobs
        self.encoders = jobs if model.device.type == "cpu" else 1
        self.chunks: Queue[Chunk | None] = Queue(maxsize=QUEUED_BATCHES * batch_size * self.encoders)
        self.results: Queue[TrackResult | Track | BaseException | None] = Queue()
        self.stop = threading.Event()

    def run(
        self, files: Sequence[AudioFile], known: Mapping[str, KnownTrack], lost: Lost | None = None
    ) -> Iterator[TrackResult | Track | None]:
        """Yield the result of each file when finished, the track itself if its content is known; None when idle."""
        waiting: Queue[AudioFile] = Queue()
        for file in files:
            waiting.put(file)
        with _single_threaded_kernels(self.model), _quiet():
            readers = [self._start(self._read, waiting, known, lost) for _ in range(min(self.readers, len(files)))]
            encoders = [self._start(self._encode) for _ in range(self.encoders)]
            closer = self._start(self._close, readers, encoders)
            try:
                while True:
                    try:
                        result = self.results.get(timeout=IDLE_SECONDS)
                    except Empty:
                        yield None
                        continue
                    if isinstance(result, BaseException):
                        raise result
                    if result is None:
                        return
                    yield result
            finally:
                self.stop.set()
                for thread in (*readers, *encoders, closer):
                    thread.join()

    def _start(self, work: Callable[..., None], *arguments: Any) -> threading.Thread:
        def guarded() -> None:
            try:
                work(*arguments)
            except BaseException as error:  # carried to the caller's thread by `run`
                self.results.put(error)
                self.stop.set()

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        return thread

    def _close(self, readers: Sequence[threading.Thread], encoders: Sequence[threading.Thread]) -> None:
        for thread in readers:
            thread.join()
        for _ in encoders:
            self._put(None)
        for thread in encoders:
            thread.join()
        self.results.put(None)

    def _read(self, waiting: Queue[AudioFile], known: Mapping[str, KnownTrack], lost: Lost | None) -> None:
        while not self.stop.is_set():
            try:
                file = waiting.get_nowait()
            except Empty:
                return
            track = Track(file, self.keep_chunks)
            result: TrackResult | Track | None
            try:
                for chunk in read_chunks(track, self.model.config, self.settings, known.get(file.track_id), lost):
                    if track.needs(chunk):
                        self._put(chunk)
                    else:
                        track.receive(chunk.index, None)
                    if self.stop.is_set():  # whoever interrupts does not want to wait for the end of a long file
                        return
            except (M2L2Error, OSError) as error:
                result = track.fail(str(error))
            except Exception as error:  # a decoder's own failure must not cost the rest of the batch
                result = track.fail(
                    f"{file.path.name}: unexpected {type(error).__name__}: {error}; please report this file"
                )
            else:
                result = track.end_of_file() if track.samples else track
            if result is not None:
                self.results.put(result)

    def _encode(self) -> None:
        if self.model.device.type == "cpu":
            torch.set_num_threads(1)  # OpenMP keeps this number for each thread
        ended = False
        while not ended and not self.stop.is_set():
            batch: list[Chunk] = []
            while len(batch) < self.batch_size and not ended:
                chunk = self._get()
                ended = chunk is None
                if chunk is not None and not chunk.track.failed:
                    batch.append(chunk)
            if not batch:
                continue
            blocks = torch.from_numpy(np.stack([chunk.block for chunk in batch]))
            embeddings = self.model.encode_blocks(blocks, features=self.settings.features).numpy()
            for chunk, embedding in zip(batch, embeddings, strict=True):
                result = chunk.track.receive(chunk.index, embedding)
                if result is not None:
                    self.results.put(result)

    def _put(self, chunk: Chunk | None) -> None:
        while not self.stop.is_set():
            try:
                return self.chunks.put(chunk, timeout=0.2)
            except Full:
                continue

    def _get(self) -> Chunk | None:
        while not self.stop.is_set():
            try:
                return self.chunks.get(timeout=0.2)
            except Empty:
                continue
        return None


@contextmanager
def _single_threaded_kernels(model: Music2Latent2) -> Iterator[None]:
    """One thread a kernel while several encoding threads run on the CPU; the caller's number afterwards."""
    before = torch.get_num_threads()
    if model.device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """A file that is cut off is noted in its row of the store; a warning from a thread would only break the display."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioWarning)
        yield
