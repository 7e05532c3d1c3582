"""Any other embedder beside the models of this package: what it has to offer, and a check that it does."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from m2l2_mir.audio import load
from m2l2_mir.errors import AudioError, InputError
from m2l2_mir.probe.kept_vectors import KeptVectors
from m2l2_mir.probe.rows import Row, content_hash

__all__ = ["MOST_FAILURES", "Embedder", "check_embedder", "embedder_facts", "embedder_row", "load_embedder"]

MOST_FAILURES = 10  # files in a row that an embedder may fail on: it is then broken, and not the files

_CHECK_SECONDS = (0.5, 2.0)


@runtime_checkable
class Embedder(Protocol):
    """From a clip to one vector of fixed width.

    Attributes
    ----------
    name : str
        Of its row.
    sample_rate : int
        Hz, that clips are resampled to.
    """

    name: str
    sample_rate: int

    def embed(self, waveform: NDArray[np.float32]) -> NDArray[np.floating]:
        """Mono clip [samples] -> vector [width]; the same clip always gives the same vector."""
        ...


def load_embedder(reference: str) -> Embedder:
    """Make an embedder from ``"module:Class"``; modules of the working folder are found as well.

    Raises
    ------
    InputError
        There is no such module or class, it needs arguments, or :func:`check_embedder` refuses it.
    """
    module, colon, name = reference.partition(":")
    if not (module and colon and name):
        raise InputError(f"{reference!r} names no embedder; write module:Class, as in my_module:MyEmbedder")
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        embedder: Embedder = getattr(importlib.import_module(module), name)()
    except Exception as error:  # whatever code of others raises
        raise InputError(f"cannot make the embedder {reference!r}: {type(error).__name__}: {error}") from error
    check_embedder(embedder)
    return embedder


def check_embedder(embedder: Embedder) -> int:
    """Try an embedder on noise.

    Parameters
    ----------
    embedder
        To be tried.

    Returns
    -------
    int
        Its width.

    Raises
    ------
    InputError
        It lacks an attribute, raises, or its vectors are no vectors, not finite, of changing width, the same for all
        clips, different for the same clip or dependent on what came before; or it writes into the clip.

    Examples
    --------
    >>> class Loudness:
    ...     name, sample_rate = "loudness", 8000
    ...
    ...     def embed(self, waveform):
    ...         return np.array([np.abs(waveform).mean(), np.abs(waveform).max()])
    >>> check_embedder(Loudness())
    2
    """
    who = type(embedder).__name__
    if not isinstance(embedder, Embedder) or not callable(embedder.embed):
        raise InputError(f"{who} is no embedder; it needs name, sample_rate and embed(waveform)")
    if not isinstance(embedder.sample_rate, int) or embedder.sample_rate < 1:
        raise InputError(f"{who}.sample_rate is {embedder.sample_rate!r}; give a whole number of Hz")
    if not isinstance(embedder.name, str) or not embedder.name:
        raise InputError(f"{who}.name is {embedder.name!r}; give the name of its row")
    clips = _noise(embedder)
    kept = [clip.copy() for clip in clips]
    short, long, again = (_vector(embedder, clips[number]) for number in (0, 1, 0))
    if any(not np.array_equal(clip, before) for clip, before in zip(clips, kept, strict=True)):
        raise InputError(f"{who}.embed writes into the clip that it is given; copy it there")
    if short.shape != long.shape:
        raise InputError(f"{who}.embed gives widths {len(short)} and {len(long)} for two clips; pool over time")
    if not np.allclose(short, again, rtol=1e-4, atol=1e-6):
        raise InputError(f"{who}.embed gives two vectors for the same clip; turn off dropout, fix seeds, keep no state")
    if np.array_equal(short, long):
        raise InputError(f"{who}.embed gives the same vector for two different clips; it does not hear them")
    return len(short)


def embedder_facts(embedder: Embedder, *, seconds: float = 10.0) -> dict[str, Any]:
    """What an embedder gives, and how fast: ``name``, ``width``, ``sample_rate`` and ``speed`` (times real time).

    Raises
    ------
    InputError
        :func:`check_embedder` refuses it.
    """
    width = check_embedder(embedder)
    clip = np.random.default_rng(0).normal(0, 0.1, int(seconds * embedder.sample_rate)).astype(np.float32)
    started = time.perf_counter()
    _vector(embedder, clip, width)
    speed = seconds / max(time.perf_counter() - started, 1e-9)
    return {"name": embedder.name, "width": width, "sample_rate": embedder.sample_rate, "speed": speed}


def embedder_row(
    embedder: Embedder,
    paths: Sequence[str],
    *,
    excerpt: tuple[float, float] | None = None,
    kept: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Row:
    """Embed audio files one by one.

    A file that cannot be read, or that the embedder raises on, has failed with a reason, and the others go on.

    Parameters
    ----------
    embedder
        Checked before anything is read.
    paths
        Audio files.
    excerpt
        Start and length in seconds that the other rows hear; None for everything.
    kept
        Folder for the vectors of a run that may be interrupted: what the same embedder left there is not embedded
        again. It is taken for the same while its source file and its vectors of noise are the same.
    progress
        Called with the number of files done and of all.

    Raises
    ------
    InputError
        :func:`check_embedder` refuses it, or it failed on :data:`MOST_FAILURES` readable files one after the other.
    """
    width = check_embedder(embedder)
    kind = type(embedder)
    known = None if kept is None else KeptVectors(kept, _likeness(embedder), excerpt=excerpt)
    vectors = np.full((len(paths), width), np.nan, np.float32)
    failed = {}
    in_a_row = 0
    told = progress or (lambda done, of: None)
    for position, path in enumerate(paths):
        told(position, len(paths))
        if known is not None and (before := known.read(path, width=width)) is not None:
            vectors[position] = before
            in_a_row = 0
            continue
        try:
            clip = load(path, sample_rate=embedder.sample_rate, channels=1, excerpt=excerpt)[0][0]
        except (AudioError, InputError) as error:
            failed[position] = str(error)
        else:
            try:
                vectors[position] = _vector(embedder, clip, width)
                in_a_row = 0
                if known is not None:
                    known.write(path, vectors[position])
            except InputError as error:
                failed[position] = str(error)
                in_a_row += 1
                if in_a_row == MOST_FAILURES:
                    raise InputError(
                        f"{kind.__name__} failed on {in_a_row} files in a row, the last one {path}: {error}"
                    ) from error
    told(len(paths), len(paths))
    return Row(
        name=embedder.name,
        kind="model",
        width=width,
        load=lambda _: vectors,
        about=f"embedder {kind.__module__}:{kind.__qualname__}",
        failed=failed,
        # By the vectors, since the code says nothing of the weights that it loads.
        provenance={
            "embedder": f"{kind.__module__}:{kind.__qualname__}",
            "sample_rate": embedder.sample_rate,
            "vectors_sha256": content_hash(vectors),
        },
    )


def _noise(embedder: Embedder) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, int(seconds * embedder.sample_rate)).astype(np.float32) for seconds in _CHECK_SECONDS]


def _likeness(embedder: Embedder) -> str:
    """What tells an embedder from others: its source file, and what it gives for noise, which its weights decide."""
    try:
        source = Path(inspect.getfile(type(embedder))).read_bytes()
    except (OSError, TypeError):  # made in a notebook
        source = b""
    heard = [_vector(embedder, clip).tobytes() for clip in _noise(embedder)]
    return hashlib.sha256(b"".join([type(embedder).__qualname__.encode(), source, *heard])).hexdigest()


def _vector(embedder: Embedder, clip: NDArray[np.float32], width: int | None = None) -> NDArray[np.float64]:
    """The vector of a clip, of that width where one is known; whatever goes wrong in the embedder is an InputError."""
    who = type(embedder).__name__
    try:
        vector = np.asarray(embedder.embed(clip), dtype=np.float64)
    except Exception as error:
        raise InputError(f"{who}.embed raised {type(error).__name__}: {error}") from error
    if vector.ndim != 1 or not len(vector) or not np.isfinite(vector).all():
        raise InputError(
            f"{who}.embed gave {list(vector.shape)} for a clip of {len(clip)} samples, or numbers "
            "that are not finite; give one vector [width]"
        )
    if width not in (None, len(vector)):
        raise InputError(f"{who}.embed gave {len(vector)} numbers and not {width} for a clip of {len(clip)} samples")
    return vector
