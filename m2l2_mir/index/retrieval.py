"""Whether neighbours share a label: precision, R-precision, average precision and NDCG of every track's ranking.

Conventions
-----------
* Each track in turn is the query, and all others are ranked by inner product: cosine, for vectors of unit length.
* Tracks whose label is not known are neither queries nor candidates. A query that has no relevant candidate is not
  scored (nan), and counted.
* With the group filter (artist filter [1]_), candidates of the query's own group are taken out of its ranking: without
  it, neighbours may be right by the sound of one artist, album or studio alone. Tracks without a group have their own.
* Relevance is yes or no. ``precision`` is among the first k candidates, or all if they are fewer. ``r_precision`` is
  the precision among the first R, where R is the number of relevant candidates [2]_. ``average_precision`` is the mean
  of the precisions at each relevant candidate; its mean over queries is MAP [2]_. ``ndcg`` discounts by log2(1 + rank)
  among the first k [3]_.
* Tracks of equal similarity are ranked in an order that is drawn once, not in that of the table, which may be sorted by
  the very label.
* The n x n similarities are computed exactly but never held: memory is bounded, and above ``queries`` tracks a sample
  of as many is asked for their neighbours among all.

References
----------
.. [1] A. Flexer and D. Schnitzer, "Effects of album and artist filters in audio similarity computed for very large
   music databases", Computer Music Journal 34(3), 2010.
.. [2] C. Manning, P. Raghavan, H. Schütze, "Introduction to Information Retrieval", chapter 8, Cambridge, 2008.
.. [3] K. Järvelin and J. Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20(4), 2002.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from m2l2_mir.errors import InputError
from m2l2_mir.index.relations import Relation, label_codes

__all__ = ["METRICS", "PRIMARY", "check_vectors", "evaluate", "per_query"]

METRICS = ("precision", "r_precision", "average_precision", "ndcg")
PRIMARY = "precision"
QUERIES = 5000

_BLOCK_VALUES = 1 << 22  # similarities ranked at once; about 100 MB with what is made of them

Floats = NDArray[np.float64]


def per_query(
    vectors: NDArray[np.floating],
    relations: Sequence[Relation],
    *,
    k: int = 10,
    groups: ArrayLike | None = None,
    queries: int = QUERIES,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Score the ranking of each query by each relation, without the group filter and, with groups, also with it.

    Parameters
    ----------
    vectors : np.ndarray [n, dim]
        Of unit length for cosine similarity.
    relations
        Of n tracks.
    k
        Length of the list that ``precision`` and ``ndcg`` look at.
    groups : array-like [n], optional
        Artist of each track, or whatever the filter is to keep apart; None or nan where not known.
    queries
        At most as many, drawn from the tracks that have a label.
    seed
        Of that draw, and of the order of ties.
    progress
        Called with queries done and all.

    Returns
    -------
    pandas.DataFrame
        One row a query, relation and filter: ``track`` (position), ``relation``, ``filter`` (bool), ``relevant`` and
        ``candidates`` (counts), and :data:`METRICS`, nan where not scored.

    Raises
    ------
    InputError
        Vectors are not [n, dim] or not finite, or k, queries or the number of labels or groups do not fit.

    Examples
    --------
    >>> from m2l2_mir.index.relations import same
    >>> vectors = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.5, 0.4]])
    >>> per_query(vectors, [same(["a", "a", "b", "b"])], k=1)["precision"].tolist()
    [1.0, 1.0, 1.0, 0.0]
    """
    vectors = check_vectors(vectors)
    count = len(vectors)
    if k < 1 or queries < 1:
        raise InputError(f"k is {k} and queries {queries}; give at least 1 of both")
    if wrong := [relation.name for relation in relations if relation.values.shape != (count,)]:
        raise InputError(f"relation {wrong[0]!r} is not of {count} tracks; give a label for each vector")
    rng = np.random.default_rng(seed)
    order = rng.permutation(count)  # ties are ranked in this order
    vectors = np.ascontiguousarray(vectors[order])
    codes = None if groups is None else _group_codes(groups, count)[order]
    shuffled = [
        Relation(name=one.name, about=one.about, values=one.values[order], related=one.related) for one in relations
    ]
    asked = np.flatnonzero(np.logical_or.reduce([one.known for one in shuffled] or [np.zeros(count, dtype=np.bool_)]))
    if len(asked) > queries:
        asked = np.sort(rng.choice(asked, queries, replace=False))
    found: list[pd.DataFrame] = []
    step = max(1, _BLOCK_VALUES // max(count, 1))
    for start in range(0, len(asked), step):
        rows = asked[start : start + step]
        ranking = _ranking(vectors, rows)
        others = None if codes is None else codes[ranking] != codes[rows][:, None]
        for relation in shuffled:
            relevant, known = relation.between(rows, ranking), relation.known[ranking]
            for filtered in (False, True)[: 1 + (others is not None)]:
                if filtered and others is not None:
                    scores = _score(relevant & others, known & others, k)
                else:
                    scores = _score(relevant, known, k)
                unknown = ~relation.known[rows]
                scores = {name: np.where(unknown, np.nan, values) for name, values in scores.items()}
                fixed = {"track": order[rows], "relation": relation.name, "filter": filtered}
                found.append(pd.DataFrame({**fixed, **scores})[~unknown])
        if progress is not None:
            progress(min(start + step, len(asked)), len(asked))
    columns = ["track", "relation", "filter", "relevant", "candidates", *METRICS]
    table = pd.concat(found) if found else pd.DataFrame(columns=columns)
    names = {relation.name: number for number, relation in enumerate(relations)}
    table = table.assign(number=table["relation"].map(names)).sort_values(["number", "filter", "track"])
    whole = {"relevant": np.int64, "candidates": np.int64}
    return table[columns].astype(whole).reset_index(drop=True)


def evaluate(
    vectors: NDArray[np.floating], relation: Relation, *, groups: ArrayLike | None = None, **settings: Any
) -> dict[str, float]:
    """Means of :func:`per_query` over scored queries, with the group filter if there are groups.

    Parameters
    ----------
    vectors, relation, groups, **settings
        As in :func:`per_query`.

    Returns
    -------
    dict
        The means of :data:`METRICS`, nan where no query is scored, and the counts ``scored`` and ``expected``.

    Examples
    --------
    >>> from m2l2_mir.index.relations import same
    >>> evaluate(np.eye(3)[[0, 0, 1, 2]], same(["a", "a", "b", "c"]), k=1)["average_precision"]
    1.0
    """
    table = per_query(vectors, [relation], groups=groups, **settings)
    table = table[table["filter"]] if groups is not None else table
    means = {name: float(table[name].mean()) for name in METRICS}
    return {**means, "scored": float(table[PRIMARY].notna().sum()), "expected": float(len(table))}


def check_vectors(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Vectors [n, dim] as float32; an InputError unless they have this shape and are finite."""
    array = np.asarray(vectors, dtype=np.float32)
    if array.ndim != 2 or not array.shape[1]:
        raise InputError(f"vectors are {list(array.shape)}; give [tracks, dimensions]")
    if broken := int((~np.isfinite(array).all(axis=1)).sum()):
        raise InputError(f"{broken} of {len(array)} vectors hold NaN or infinity; leave these tracks out")
    return array


def _ranking(vectors: NDArray[np.float32], rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """All other tracks from the most to the least similar, [b, n - 1]."""
    negative = vectors[rows] @ vectors.T
    np.negative(negative, out=negative)
    negative[np.arange(len(rows)), rows] = np.inf  # itself, which is dropped
    return np.argsort(negative, axis=1)[:, :-1]


def _score(relevant: NDArray[np.bool_], candidate: NDArray[np.bool_], k: int) -> dict[str, NDArray[Any]]:
    """Metrics of rankings from relevance and candidacy [b, n - 1], best first."""
    many = len(relevant)
    ranks = np.cumsum(candidate, axis=1, dtype=np.int32)
    query, place = np.nonzero(relevant)
    rank = ranks[query, place].astype(np.float64)
    number = np.bincount(query, minlength=many)
    candidates = ranks[:, -1] if ranks.shape[1] else np.zeros(many, np.int32)
    before = np.arange(len(query)) - (np.cumsum(number) - number)[query]  # relevant ones ranked higher

    def total(values: NDArray[Any]) -> Floats:
        sums: Floats = np.bincount(query, values, minlength=many).astype(np.float64)
        return sums

    gains = np.concatenate([[0.0], np.cumsum(1 / np.log2(2.0 + np.arange(k)))])  # of a perfect list of each length
    with np.errstate(invalid="ignore"):  # 0 / 0 is nan: not scored
        return {
            "relevant": number,
            "candidates": candidates,
            "precision": total(rank <= k) / np.where(number > 0, np.minimum(k, candidates), 0),
            "r_precision": total(rank <= number[query]) / number,
            "average_precision": total((before + 1) / rank) / number,
            "ndcg": total(np.where(rank <= k, 1 / np.log2(1 + rank), 0)) / gains[np.minimum(number, k)],
        }


def _group_codes(groups: ArrayLike, count: int) -> NDArray[np.intp]:
    """A number for each group, [n]; tracks without one have their own."""
    codes = label_codes(groups)
    if codes.shape != (count,):
        raise InputError(f"groups are {list(codes.shape)}; give one for each of {count} tracks")
    alone = np.flatnonzero(codes < 0)
    codes[alone] = codes.max(initial=-1) + 1 + np.arange(len(alone))
    return codes
