"""What an approximate search finds of the exact neighbours, how fast, and in how many bytes.

Conventions
-----------
* Queries are tracks of the library, which are taken out of their own lists, and *unseen* ones: tracks that are held out
  of a structure built for this. The second are what somebody asks with a file; a graph finds what is in it more easily.
* Recall@k is the share of the k exact neighbours that are found. A found track counts if it is as near as the k-th
  exact one: of tracks at one distance, such as copies, any will do.
* Queries per second are taken one at a time, as somebody at a keyboard asks, and all in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from time import perf_counter
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.index.retrieval import check_vectors
from m2l2_mir.probe.statistics import cluster_bootstrap

__all__ = ["TIE", "Search", "evaluate_search", "recall", "unseen_recall"]

QUERIES = 1000
SINGLE = 200  # queries asked one at a time
HELD_OUT = 0.1  # of the tracks, at most
TIE = 1e-5  # cosine, a few times what float32 sums of 512 products differ by

Search = Callable[[NDArray[np.float32], int], tuple[NDArray[np.floating], NDArray[np.integer]]]
"""From vectors [m, dim] and a count to similarities and positions [m, count], best first, -1 for no more."""


def evaluate_search(
    vectors: NDArray[np.float32],
    search: Search,
    sizes: Mapping[str, int],
    *,
    k: int = 10,
    queries: int = QUERIES,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure a search against exact search.

    Parameters
    ----------
    vectors : np.ndarray [n, dim]
        Of all tracks, prepared.
    search
        That is measured.
    sizes
        Bytes by name of the part, such as ``{"search structure": 2048}``.
    k
        Neighbours asked for.
    queries
        At most as many tracks are taken as queries.
    seed
        Of that draw.

    Returns
    -------
    dict
        ``recall`` (an interval over queries), ``queries_per_second`` (``one at a time`` and ``together``), ``threads``,
        ``bytes_per_track`` (by part), ``k`` and ``queries``; an empty dict for fewer than two tracks.

    Raises
    ------
    InputError
        Vectors are not [n, dim] or not finite, or k or queries are below 1.

    Examples
    --------
    >>> library = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    >>> def exact(asked, count):
    ...     similarity = asked @ library.T
    ...     best = np.argsort(-similarity, axis=1)[:, :count]
    ...     return np.take_along_axis(similarity, best, axis=1), best
    >>> evaluate_search(library, exact, {"vectors": library.nbytes})["recall"]["estimate"]
    1.0
    """
    vectors = check_vectors(vectors)
    if k < 1 or queries < 1:
        raise InputError(f"k is {k} and queries {queries}; give at least 1 of both")
    total = len(vectors)
    if total < 2:
        return {}
    k = min(k, total - 1)
    chosen = np.sort(np.random.default_rng(seed).permutation(total)[:queries])
    asked = vectors[chosen]
    search(asked[:1], k + 1)  # what is made or read on first use is no part of the speed
    begun = perf_counter()
    found = search(asked, k + 1)[1]
    together = len(asked) / (perf_counter() - begun)
    begun = perf_counter()
    for one in asked[:SINGLE]:
        search(one[None], k + 1)
    single = len(asked[:SINGLE]) / (perf_counter() - begun)
    values = recall(vectors, asked, found, k, own=chosen)
    return {
        "k": k,
        "queries": len(chosen),
        "recall": asdict(cluster_bootstrap(values, bounds=(0, 1))),
        "queries_per_second": {"one at a time": single, "together": together},
        "threads": faiss.omp_get_max_threads(),
        "bytes_per_track": {name: size / total for name, size in sizes.items()},
    }


def unseen_recall(
    vectors: NDArray[np.float32],
    build: Callable[[NDArray[np.float32]], Search],
    *,
    k: int = 10,
    queries: int = QUERIES,
    seed: int = 0,
) -> dict[str, Any]:
    """Recall of queries that are not in the library: an interval over them, and ``queries``.

    Parameters
    ----------
    vectors : np.ndarray [n, dim]
        Prepared; at most a tenth of them are held out as queries.
    build
        From the others to a search in them.
    k, queries, seed
        As in :func:`evaluate_search`.

    Examples
    --------
    >>> def blind(vectors):
    ...     return lambda asked, count: (np.zeros((len(asked), count)), np.full((len(asked), count), -1))
    >>> unseen_recall(np.eye(40, dtype=np.float32), blind, k=2)["estimate"]
    0.0
    """
    vectors = check_vectors(vectors)
    order = np.random.default_rng(seed).permutation(len(vectors))
    held = max(1, min(queries, int(HELD_OUT * len(vectors))))
    asked, kept = vectors[order[:held]], vectors[np.sort(order[held:])]
    k = min(k, len(kept))
    found = build(kept)(asked, k)[1]
    return {"queries": held, **asdict(cluster_bootstrap(recall(kept, asked, found, k), bounds=(0, 1)))}


def recall(
    vectors: NDArray[np.float32],
    asked: NDArray[np.float32],
    found: NDArray[np.integer],
    k: int,
    *,
    own: NDArray[np.intp] | None = None,
) -> NDArray[np.float64]:
    """Recall@k of each query, [m].

    Parameters
    ----------
    vectors : np.ndarray [n, dim]
    asked : np.ndarray [m, dim]
        Queries.
    found : np.ndarray [m, k or more]
        Positions in the order found, -1 where there are no more.
    k
        Less than n.
    own : np.ndarray [m], optional
        Positions of queries that are tracks themselves, and do not count.

    Examples
    --------
    >>> line = np.stack([np.cos([0, 1, 2, 3]), np.sin([0, 1, 2, 3])], axis=1)
    >>> recall(line, line[:1], np.array([[0, 1, 3]]), 2, own=np.array([0])).tolist()
    [0.5]
    """
    values = np.empty(len(asked))
    step = max(1, (1 << 22) // len(vectors))
    for start in range(0, len(asked), step):
        similarity = asked[start : start + step] @ vectors.T
        if own is not None:
            similarity[np.arange(len(similarity)), own[start : start + step]] = -np.inf
        bound = np.partition(similarity, -k, axis=1)[:, -k] - TIE  # of the k-th neighbour
        for number, (row, positions) in enumerate(zip(similarity, found[start : start + step], strict=True)):
            others = np.unique(positions[positions >= 0])
            values[start + number] = min(int(np.count_nonzero(row[others] >= bound[number])), k) / k
    return values
