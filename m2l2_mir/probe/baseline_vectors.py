"""Rows of hand-made features for many files: in parallel, each file decoded once, kept for the next time.

Conventions
-----------
* A row is kept in ``baselines`` in the cache folder, by the SHA-256 of the file and the excerpt, in a folder of its own
  for every version of the definitions and of librosa. What is damaged there is computed again.
* A file that fails has rows of nan and a reason; the others go on.
"""

from __future__ import annotations

import hashlib
import os
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import joblib
import librosa
import numpy as np
from numpy.typing import NDArray

from m2l2_mir.durable import cache_home, write_durably
from m2l2_mir.errors import AudioWarning, M2L2Error
from m2l2_mir.probe.baselines import BASELINES, VERSION, check_names, features_of_file

__all__ = ["BaselineVectors", "baseline_vectors"]

WORTH_PROCESSES = 50  # files: a process takes seconds to start, a clip of 12 s a tenth of one

Rows = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class BaselineVectors:
    """Rows of many files.

    Parameters
    ----------
    vectors
        By name of the baseline, np.ndarray [files, width]; nan where a file failed.
    reasons
        One a file: why it failed, "" if it did not.
    """

    vectors: Rows
    reasons: tuple[str, ...]


def baseline_vectors(
    paths: Sequence[str | os.PathLike[str]],
    names: Sequence[str] | None = None,
    *,
    excerpt: tuple[float, float] | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> BaselineVectors:
    """Compute the rows of files, or take them from the cache.

    Parameters
    ----------
    paths
        Audio files; "" where there is none.
    names
        Of :data:`m2l2_mir.probe.baselines.BASELINES`; None: all.
    excerpt
        Start and length in seconds, the same for all files; None for everything.
    jobs
        Processes, for 50 files or more; None: the cores this process may use.
    progress
        Called with the number of files done and of all, from the caller's thread.
    cache
        Folder; None: ``baselines`` in the user's cache folder.

    Returns
    -------
    BaselineVectors
        In the order of `paths`.

    Raises
    ------
    InputError
        There is no such baseline.

    Examples
    --------
    >>> result = baseline_vectors(["missing.wav"], ["chroma"])
    >>> result.vectors["chroma"].shape, result.reasons
    ((1, 12), ('missing.wav: no such file',))
    """
    names = list(BASELINES) if names is None else list(names)
    check_names(names)
    folder = Path(cache) if cache is not None else cache_home() / "baselines"
    folder /= f"{VERSION}-librosa-{version('librosa')}"
    vectors = {name: np.full((len(paths), BASELINES[name].width), np.nan, np.float32) for name in names}
    reasons = [""] * len(paths)
    done = 0

    def finish(index: int, rows: Rows, reason: str) -> None:
        nonlocal done
        for name in rows.keys() & vectors.keys():
            vectors[name][index] = rows[name]
        reasons[index] = reason
        done += 1
        if progress is not None:
            progress(done, len(paths))

    # What is kept is found here, so that no process starts for nothing.
    waiting = []
    for index, path in enumerate(paths):
        try:
            entry = _entry(folder, path, excerpt)
        except OSError as error:
            finish(index, {}, f"{os.fspath(path)}: {_reason(error)}" if path else "no audio is known of")
            continue
        kept = _kept(entry)
        if set(names) <= kept.keys():
            finish(index, kept, "")
        else:
            waiting.append((index, path, entry, kept))
    calls = (joblib.delayed(_computed)(*one, names, excerpt) for one in waiting)
    workers = 1 if len(waiting) < WORTH_PROCESSES else jobs or joblib.cpu_count()
    for index, rows, reason in joblib.Parallel(n_jobs=workers, return_as="generator_unordered")(calls):
        finish(index, rows, reason)
    return BaselineVectors(vectors=vectors, reasons=tuple(reasons))


def _entry(folder: Path, path: str | os.PathLike[str], excerpt: tuple[float, float] | None) -> Path:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    part = "" if excerpt is None else "@{:g}+{:g}".format(*excerpt)
    return folder / digest[:2] / f"{digest}{part}.npz"


def _kept(entry: Path) -> Rows:
    try:
        with np.load(entry, allow_pickle=False) as file:
            rows = {name: file[name] for name in file.files if name in BASELINES}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return {}
    return {name: row for name, row in rows.items() if row.shape == (BASELINES[name].width,) and np.isfinite(row).all()}


def _computed(
    index: int,
    path: str | os.PathLike[str],
    entry: Path,
    kept: Rows,
    names: Sequence[str],
    excerpt: tuple[float, float] | None,
) -> tuple[int, Rows, str]:
    """Compute what is not kept yet and keep it; runs in a process of its own."""
    missing = [name for name in names if name not in kept]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AudioWarning)  # of a file cut off, embedding it has told
            rows = kept | features_of_file(path, missing, excerpt=excerpt)
    except (M2L2Error, OSError, librosa.ParameterError) as error:
        return index, {}, _reason(error)
    entry.parent.mkdir(parents=True, exist_ok=True)
    write_durably(entry, lambda file: np.savez(file, allow_pickle=False, **rows))
    return index, rows, ""


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
