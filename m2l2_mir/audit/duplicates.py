"""Identical audio: the same file, or the same sound in another file.

Conventions
-----------
* Files are compared by the SHA-256 of their bytes, as an embedding store does it.
* Sound is compared by the SHA-256 of the decoded samples at their own rate, mixed to mono: tags, container, lossless
  coding, doubled or swapped channels make no difference; another gain, rate or lossy coding does
  (:mod:`m2l2_mir.audit.near_duplicates` is for those).
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from m2l2_mir.audio import read_info, stream
from m2l2_mir.errors import AudioError, AudioWarning

__all__ = ["fingerprints", "identical_sets"]

HASHES = ("file", "samples")


def fingerprints(
    paths: Sequence[str | os.PathLike[str]],
    *,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Hash files and the sound in them, in parallel threads.

    Parameters
    ----------
    paths
        Audio files; "" where there is none.
    jobs
        Threads; None: the cores this process may use.
    progress
        Called with the number of files done and of all, from the caller's thread.

    Returns
    -------
    pandas.DataFrame
        One row a path, in order: ``file`` and ``samples`` (hexadecimal SHA-256, "" where it cannot be had) and
        ``problem`` ("" if there is none, "missing", or why it cannot be decoded).
    """
    threads = jobs or joblib.cpu_count()
    rows: list[tuple[str, str, str]] = [("", "", "missing")] * len(paths)
    with ThreadPoolExecutor(threads) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioWarning)  # a file that is cut off still has a sound to compare
        waiting = {pool.submit(_fingerprint, Path(path)): index for index, path in enumerate(paths) if path}
        try:
            for done, future in enumerate(as_completed(waiting), start=1):
                rows[waiting[future]] = future.result()
                if progress is not None:
                    progress(done, len(waiting))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # whoever interrupts does not want to wait for all files
            raise
    return pd.DataFrame(rows, columns=[*HASHES, "problem"])


def identical_sets(keys: pd.DataFrame) -> list[tuple[int, ...]]:
    """Rows that share a value in any column, directly or through others.

    Parameters
    ----------
    keys
        Columns of text; "" is no value.

    Returns
    -------
    list of tuple of int
        Positions of rows, in order; sets of one are left out.

    Examples
    --------
    >>> identical_sets(pd.DataFrame({"file": ["a", "b", "b", ""], "samples": ["x", "x", "y", ""]}))
    [(0, 1, 2)]
    """
    links = [np.empty((0, 2), dtype=np.int64)]
    for column in keys:
        rows = np.flatnonzero((keys[column] != "").to_numpy())
        _, first, which = np.unique(
            keys[column].to_numpy(dtype=object)[rows].astype(str), return_index=True, return_inverse=True
        )
        links.append(np.stack([rows, rows[first[which]]], axis=1))  # each to the first of its value
    ends = np.concatenate(links)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(keys), len(keys)))
    members = pd.Series(np.arange(len(keys))).groupby(connected_components(graph, directed=False)[1])
    return sorted(tuple(part.tolist()) for _, part in members if len(part) > 1)


def _fingerprint(path: Path) -> tuple[str, str, str]:
    try:
        with path.open("rb") as file:
            of_file = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "", "", "missing"
    except OSError as error:
        return "", "", f"{path.name}: cannot be read: {error.strerror}"
    try:
        rate = read_info(path).sample_rate
        digest = hashlib.sha256(str(rate).encode())
        for block in stream(path, sample_rate=rate, channels=1):
            digest.update((block + np.float32(0)).tobytes())  # -0.0 becomes 0.0
    except AudioError as error:
        return of_file, "", str(error)
    return of_file, digest.hexdigest(), ""
