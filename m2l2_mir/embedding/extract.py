"""Audio files -> embedding store: which files need work, with what settings, and where the results go.

file --decode--> chunks --encoder--> embeddings --pool--> store; the work itself: :mod:`m2l2_mir.embedding.pipeline`.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Protocol

import joblib
import soundfile
import torch

import m2l2_mir
from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.dataset.folder import AudioFile, Listing, find_audio
from m2l2_mir.embedding.pipeline import Pipeline
from m2l2_mir.embedding.reading import SILENCE_DBFS, Settings, Track
from m2l2_mir.embedding.rescan import Changes, Rescan
from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.embedding.track import KnownTrack, TrackResult, stored_path
from m2l2_mir.embedding.writer import StoreWriter
from m2l2_mir.errors import InputError, UntrainedWarning
from m2l2_mir.model import DEFAULT_MODEL
from m2l2_mir.model.autoencoder import Features, Music2Latent2
from m2l2_mir.model.checkpoint import load_model, tensors_sha256

__all__ = ["Observer", "extract", "extract_files"]

BATCH_SIZE = {"cpu": 8, "cuda": 32}


class Observer(Protocol):
    """Told how an extraction goes on; see the command line's progress bar."""

    def started(self, listing: Listing, unchanged: int, model: Music2Latent2) -> None:
        """The work is known: `unchanged` of the listed files are in the store already."""

    def finished(self, result: TrackResult) -> None:
        """One track is done, well or not."""

    def found_again(self, track_id: str) -> None:
        """A file turned out to hold what is in the store; only its name, place or time stamp is new."""

    def followed(self, changes: Changes) -> None:
        """All is done, and this has become of tracks of the store that were not there to be embedded."""


class Silent:
    """An observer that says nothing."""

    def started(self, listing: Listing, unchanged: int, model: Music2Latent2) -> None: ...

    def finished(self, result: TrackResult) -> None: ...

    def found_again(self, track_id: str) -> None: ...

    def followed(self, changes: Changes) -> None: ...


def extract(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | Dataset,
    *,
    out: str | os.PathLike[str],
    model: str | os.PathLike[str] | Music2Latent2 = DEFAULT_MODEL,
    device: str = "auto",
    keep: Literal["track", "chunks"] = "track",
    features: Features = "bottleneck",
    excerpt: tuple[float, float] | None = None,
    loudness: float | None = None,
    jobs: int | None = None,
    batch_size: int | None = None,
    exclude: Sequence[str] = (),
    prune: bool = False,
    forget: Sequence[str | os.PathLike[str]] = (),
    observer: Observer | None = None,
) -> EmbeddingStore:
    """Embed audio files and folders into a store, going on where an earlier run of the same command stopped.

    A file that is in the store with the same size and time stamp (or, failing that, the same content) is not embedded
    again; one that failed is tried again. A file that cannot be used becomes a row with status "failed" and a reason,
    also if it could be used before its content changed.

    A file that was renamed or moved within the folders given takes its embeddings along under its new id. Tracks whose
    file is gone stay in the store, unless `prune` is set.

    Parameters
    ----------
    paths : path, iterable of paths, or Dataset
        Files, and folders to search (see :func:`~m2l2_mir.dataset.folder.find_audio`); or a data set, whose clips are
        rendered first if need be, and whose ids the tracks get.
    out : path
        The store's folder.
    model : str, path or Music2Latent2
        See :func:`~m2l2_mir.load_model`. Untrained weights are warned of.
    device : str
        "auto", "cpu", "cuda", ...; ignored for a model that is given as object.
    keep : {"track", "chunks"}
        Keep mean and std of each track, or the embedding of every chunk as well.
    features : {"bottleneck", "pre-bottleneck"}
        The summary embeddings, or the encoder's activations before the bottleneck.
    excerpt : (start, length), optional
        Seconds of each file to use.
    loudness : float, optional
        Loudness in LUFS that each file (or excerpt), in the channels that the model hears, is brought to before it is
        encoded.
    jobs : int, optional
        Decoding threads, and on the CPU encoding threads; None: the cores this process may use.
    batch_size : int, optional
        Chunks in one pass through the encoder; None: 8 on the CPU, 32 on a GPU.
    exclude : sequence of str
        Patterns of ids of files that are passed over, see :func:`~m2l2_mir.dataset.folder.matches`; not for a data set.
    prune : bool
        Take out of the store the tracks of these folders whose file is gone, and those whose id `exclude` matches.
        What may lie on a disk that is not mounted stays: see :mod:`m2l2_mir.embedding.rescan`.
    forget : sequence of paths
        Folders; take out their tracks whose file is not there, whatever the reason.
    observer : Observer, optional
        Told about progress.

    Returns
    -------
    EmbeddingStore

    Raises
    ------
    InputError, StoreError, CheckpointError
        Before anything is embedded: an argument is out of range, there is no audio file, a file is in the store under
        another id, or the store was made with other settings.
    """
    exclude = _patterns(exclude)
    if isinstance(paths, Dataset):
        if exclude:
            raise InputError("exclude is for files and folders; leave the tracks out of the data set's table")
        paths.render(jobs=jobs)
        listing = paths.listing()
    else:
        listing = find_audio([paths] if isinstance(paths, str | os.PathLike) else paths, exclude)
    if not listing.files and not listing.failures:
        raise InputError(f"no audio files there ({listing.passed_over} other files); name a folder that holds music")
    network = model if isinstance(model, Music2Latent2) else load_model(os.fspath(model), device=device)
    if not network.trained:
        warnings.warn(f"{network.weights_id}: the weights are untrained", UntrainedWarning, stacklevel=2)
    return extract_files(
        listing,
        out=out,
        model=network,
        settings=_checked(Settings(features=features, excerpt=excerpt, loudness=loudness)),
        keep_chunks=_keeps_chunks(keep),
        jobs=_positive("jobs", jobs, joblib.cpu_count()),
        batch_size=_positive("batch_size", batch_size, BATCH_SIZE.get(network.device.type, 32)),
        exclude=exclude,
        prune=prune,
        forget=forget,
        observer=observer or Silent(),
    )


def extract_files(
    listing: Listing,
    *,
    out: str | os.PathLike[str],
    model: Music2Latent2,
    settings: Settings,
    keep_chunks: bool,
    jobs: int,
    batch_size: int,
    exclude: Sequence[str],
    prune: bool,
    forget: Sequence[str | os.PathLike[str]],
    observer: Observer,
) -> EmbeddingStore:
    """The work of :func:`extract`, on files already listed."""
    with StoreWriter.open(Path(out), _provenance(model, settings), keep_chunks=keep_chunks) as writer:
        known = writer.known()
        rescan = Rescan(listing, known, store=out, exclude=exclude, prune=prune, forget=forget)
        todo = [file for file in listing.files if not _unchanged(file, known.get(file.track_id))]
        observer.started(listing, len(listing.files) - len(todo), model)
        unreachable = (
            TrackResult(track_id=name, path=name, status="failed", reason=reason) for name, reason in listing.failures
        )
        pipeline = Pipeline(model, settings, keep_chunks=keep_chunks, jobs=jobs, batch_size=batch_size)
        moved: dict[str, dict[str, Any]] = {}
        for result in chain(unreachable, pipeline.run(todo, known, rescan.lost)):
            if result is None:
                writer.flush()
            elif isinstance(result, Track):
                moved[result.formerly] = result.place()
                observer.found_again(result.file.track_id)
            else:
                # A failure takes the place of embeddings only if the file was read, and is no longer what they are of.
                kept = result.track_id in known and known[result.track_id].status == "ok"
                if result.status == "ok" or not kept or result.audio_sha256:
                    writer.add(result)
                observer.finished(result)
        changes, elsewhere = rescan.changes(moved)
        writer.relocate(moved | elsewhere)
        pruned = (*changes.gone, *changes.excluded, *changes.doubled) if changes.pruned else ()
        if leaving := (*changes.forgotten, *pruned):
            writer.remove(leaving)
        observer.followed(changes)
    return EmbeddingStore.open(Path(out))


def _unchanged(file: AudioFile, known: KnownTrack | None) -> bool:
    if known is None or known.status != "ok":
        return False
    try:
        state = file.path.stat()
    except OSError:
        return False
    path = stored_path(file.path)
    return (known.path, known.size_bytes, known.mtime_ns) == (path, state.st_size, state.st_mtime_ns)


def _provenance(model: Music2Latent2, settings: Settings) -> dict[str, Any]:
    """What the store's embeddings were made with; `settings` must be equal in every run on one store."""
    config = model.config
    slots, width = config.num_embeddings, config.latent_dim
    if settings.features == "pre-bottleneck":
        slots, width = config.latent_tokens, config.dim
    return {
        "settings": {
            "weights": model.weights_id,
            "trained": model.trained,
            "weights_sha256": tensors_sha256(model.encoder.state_dict()),
            "model": config.to_dict(),
            "features": settings.features,
            "excerpt": settings.excerpt,
            "loudness": settings.loudness,
            # stores without it were made by the loudness of the file's own channels
            **({} if settings.loudness is None else {"loudness_of": "what the model hears"}),
            "framing": "full",
            "resampler": "soxr HQ",
            "silence_dbfs": SILENCE_DBFS,
            "dtype": str(model.encoder.gain.dtype).removeprefix("torch."),
        },
        "versions": {
            "m2l2-mir": m2l2_mir.__version__,
            "libsndfile": soundfile.__libsndfile_version__,
            **{package: version(package) for package in ("torch", "numpy", "soundfile", "soxr", "pyarrow")},
            "device": _hardware(model.device),
        },
        "num_embeddings": slots,
        "dim": width,
        "chunk_seconds": config.chunk_seconds,
        **{key: model.metadata[key] for key in ("licence", "citation", "source") if key in model.metadata},
    }


def _hardware(device: torch.device) -> str:
    """What the model ran on: "cpu", or the name of the GPU, whose rounding differs."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _checked(settings: Settings) -> Settings:
    if settings.features not in ("bottleneck", "pre-bottleneck"):
        raise InputError(f"features must be 'bottleneck' or 'pre-bottleneck': {settings.features!r}")
    if settings.excerpt is not None:
        start, length = settings.excerpt
        if not (math.isfinite(start + length) and start >= 0 and length > 0):
            raise InputError(f"excerpt must be (start >= 0, length > 0) in seconds: {settings.excerpt}")
    if settings.loudness is not None and not -70 < settings.loudness <= 0:
        raise InputError(f"loudness must lie in -70 to 0 LUFS: {settings.loudness}")
    return settings


def _keeps_chunks(keep: str) -> bool:
    if keep not in ("track", "chunks"):
        raise InputError(f"keep must be 'track' or 'chunks': {keep!r}")
    return keep == "chunks"


def _patterns(exclude: Sequence[str]) -> Sequence[str]:
    if isinstance(exclude, str) or not all(isinstance(one, str) and one.strip("/") for one in exclude):
        raise InputError(f"exclude must be a list of patterns, none of them empty: {exclude!r}")
    return exclude


def _positive(name: str, given: int | None, default: int | None) -> int:
    value = (default or 1) if given is None else given
    if value < 1:
        raise InputError(f"{name} must be at least 1: {value}")
    return value
