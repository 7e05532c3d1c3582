"""What an approximate search finds of the exact neighbours, how fast, and in how many bytes.

Conventions
-----------
* Queries are tracks of the library, which are taken out of their own lists.
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

__all__ = ["Search", "evaluate_search", "recall"]

QUERIES = 1000
SINGLE = 200  # queries asked one at a time
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
    values = recall(vectors, chosen, found, k)
    return {
        "k": k,
        "queries": len(chosen),
        "recall": asdict(cluster_bootstrap(values, bounds=(0, 1))),
        "queries_per_second": {"one at a time": single, "together": together},
        "threads": faiss.omp_get_max_threads(),
        "bytes_per_track": {name: size / total for name, size in sizes.items()},
    }


def recall(
    vectors: NDArray[np.float32], queries: NDArray[np.intp], found: NDArray[np.integer], k: int
) -> NDArray[np.float64]:
    """Recall@k of each query, [m].

    Parameters
    ----------
    vectors : np.ndarray [n, dim]
    queries : np.ndarray [m]
        Positions of tracks.
    found : np.ndarray [m, k + 1]
        Positions in the order found, -1 where there are no more; the query itself does not count.
    k
        Less than n.

    Examples
    --------
    >>> line = np.stack([np.cos([0, 1, 2, 3]), np.sin([0, 1, 2, 3])], axis=1)
    >>> recall(line, np.array([0]), np.array([[0, 1, 3]]), 2).tolist()
    [0.5]
    """
    values = np.empty(len(queries))
    step = max(1, (1 << 22) // len(vectors))
    for start in range(0, len(queries), step):
        rows = queries[start : start + step]
        similarity = vectors[rows] @ vectors.T
        similarity[np.arange(len(rows)), rows] = -np.inf
        bound = np.partition(similarity, -k, axis=1)[:, -k] - TIE  # of the k-th neighbour
        for number, (row, positions) in enumerate(zip(rows, found[start : start + step], strict=True)):
            others = np.unique(positions[(positions >= 0) & (positions != row)])
            values[start + number] = min(int(np.count_nonzero(similarity[number, others] >= bound[number])), k) / k
    return values
