"""Do the neighbours mean anything? An index beside what has learnt nothing, and what its search costs.

Conventions
-----------
* Every row is scored on the same tracks: one that failed in any row is left out of all, as query and as candidate.
* Intervals are 95 % over groups of queries (artists, if they are given; else tracks), differences are paired, and all
  p-values against the index on the primary metric are one family, adjusted after Holm.
* Random vectors are drawn five times up to 2,000 tracks, and a query's scores averaged; once above.
* Hubness is that of exact neighbours up to 20,000 tracks, and of those that the index itself finds above.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from m2l2_mir.errors import InputError
from m2l2_mir.index.hubness import Hubness, Neighbours, csls, hubness, mutual_proximity, nearest
from m2l2_mir.index.relations import Relation
from m2l2_mir.index.retrieval import METRICS, PRIMARY, QUERIES, per_query
from m2l2_mir.probe.comparison import ALPHA, NOT_DISTINGUISHABLE, NOT_TESTED, compare_rows, holm, score_rows
from m2l2_mir.probe.rows import Row
from m2l2_mir.probe.statistics import bootstrap_statistic, cluster_bootstrap

__all__ = ["FORMAT", "Count", "Retrieval", "evaluate_hubness", "evaluate_retrieval"]

FORMAT = 1
CANDIDATES = 100  # neighbours of each track that re-scoring looks at
RANDOM_DRAWS = 5
FEW_TRACKS = 2000  # up to which chance is noisy enough to be drawn several times
DRAWS = 2000  # of the bootstrap

Floats = NDArray[np.float64]


class Count(Protocol):
    """Shows how far a named piece of work is, such as :class:`m2l2_mir.progress.CountProgress`."""

    def __call__(self, title: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """Begin a piece of work."""


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """What :func:`evaluate_retrieval` found.

    Parameters
    ----------
    sections
        One for each relation and filter: ``label``, ``about``, ``filter``, ``known``, ``scored``, ``expected``,
        ``attainable`` (precision of a perfect ranking), ``scores`` (a line for each row and metric) and ``comparisons``
        (each row against the first).
    queries
        One line for each row, relation, filter and query, with its metrics.
    left_out
        Tracks that failed in some row, with the reason.
    """

    sections: list[dict[str, Any]]
    queries: pd.DataFrame
    left_out: list[dict[str, str]]


def evaluate_retrieval(
    rows: Sequence[Row],
    track_ids: Sequence[str],
    relations: Sequence[Relation],
    *,
    groups: ArrayLike | None = None,
    k: int = 10,
    queries: int = QUERIES,
    seed: int = 0,
    count: Count,
) -> Retrieval:
    """Score the rankings of every row.

    Parameters
    ----------
    rows
        The index first.
    track_ids
        Of all n tracks.
    relations
        Of n tracks.
    groups : array-like [n], optional
        Artist of each track: the filter, and what is resampled.
    k, queries, seed
        As in :func:`m2l2_mir.index.retrieval.per_query`.
    count
        Told of the work.

    Raises
    ------
    InputError
        No track is left, or two rows have one name.
    """
    names = [row.name for row in rows]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(f"two rows are called {min(twice)!r}; give a store of other weights, or leave one out")
    failed: dict[int, tuple[str, str]] = {}
    for row in rows:
        for position, reason in row.failed.items():
            failed.setdefault(position, (row.name, reason))
    kept = np.array([position for position in range(len(track_ids)) if position not in failed], dtype=np.intp)
    if not len(kept):
        row_name, reason = next(iter(failed.values()), (names[0], "there are none"))
        raise InputError(f"no track is left: {row_name} failed on all others, such as by {reason!r}; leave it out")
    thinned = [
        Relation(name=one.name, about=one.about, values=one.values[kept], related=one.related) for one in relations
    ]
    own = None if groups is None else np.asarray(groups, dtype=object)[kept]
    tables = []
    for row in rows:
        draws = []
        for draw in range(RANDOM_DRAWS if row.kind == "control" and len(kept) <= FEW_TRACKS else 1):
            with count(f"ranking by {row.name}") as progress:
                vectors = row.load(seed + draw)[kept]
                draws.append(
                    per_query(vectors, thinned, k=k, groups=own, queries=queries, seed=seed, progress=progress)
                )
        mean = np.mean([draw[list(METRICS)].to_numpy() for draw in draws], axis=0)
        tables.append(draws[0].assign(row=row.name, **dict(zip(METRICS, mean.T, strict=True))))
    table = pd.concat(tables, ignore_index=True)
    ids = np.asarray(track_ids, dtype=object)[kept]
    table["track_id"] = ids[table.pop("track").to_numpy(dtype=np.intp)]
    table["group"] = table["track_id"].map(_groups(ids, own))
    with count("intervals") as progress:
        sections = _sections(table, thinned, names, k, progress)
    order = ["row", "relation", "filter", "track_id", "group", "relevant", "candidates", *METRICS]
    return Retrieval(
        sections=sections,
        queries=table[order],
        left_out=[
            {"track_id": str(track_ids[position]), "row": name, "reason": reason}
            for position, (name, reason) in sorted(failed.items())
        ],
    )


def evaluate_hubness(
    vectors: NDArray[np.float32],
    relations: Sequence[Relation],
    *,
    k: int = 10,
    neighbours: Neighbours | None = None,
    groups: ArrayLike | None = None,
    seed: int = 0,
    count: Count,
) -> tuple[list[dict[str, Any]], Neighbours]:
    """Hubness of a library, before and after re-scoring.

    Parameters
    ----------
    vectors : np.ndarray [n, dim]
        That the index searches.
    relations
        Each of which has its precision told, before and after.
    k
        Neighbours counted.
    neighbours
        That the index found; None: exact ones.
    groups : array-like [n], optional
        That precision's intervals are over.
    seed
        Of mutual proximity's sample.
    count
        Told of the work.

    Returns
    -------
    lines : list of dict
        For cosine, mutual proximity and CSLS: ``scoring``, ``skewness``, ``hubs``, ``orphans``, ``precision`` (by
        relation; all of these with interval), ``largest`` and ``largest_track`` (position).
    neighbours
        The lists by cosine.
    """
    if neighbours is None:
        with count("neighbours of every track") as progress:
            neighbours = nearest(vectors, max(k, CANDIDATES), progress=progress)
    scored = {"cosine": neighbours}
    if neighbours.positions.shape[1] > 1:
        with count("mutual proximity"):
            scored["mutual proximity"] = mutual_proximity(vectors, neighbours, seed=seed)
        scored["CSLS"] = csls(neighbours, k=k)
    lines = []
    for name, lists in scored.items():
        found = hubness(lists, k=k)
        line = {"scoring": name, **_with_intervals(found)}
        line["precision"] = {one.name: _precision(lists, one, k, groups) for one in relations}
        lines.append(line)
    return lines, neighbours


def _sections(
    table: pd.DataFrame,
    relations: Sequence[Relation],
    names: Sequence[str],
    k: int,
    progress: Callable[[int, int], None],
) -> list[dict[str, Any]]:
    sections: list[dict[str, Any]] = []
    about = {one.name: one for one in relations}
    parts = list(table.groupby(["relation", "filter"], sort=False))
    for done, (_, part) in enumerate(parts):
        progress(done, len(parts))
        name, filtered = part["relation"].iloc[0], part["filter"].iloc[0]
        own = part[part["row"] == names[0]]
        scored = own[PRIMARY].notna()
        if not scored.any():
            continue  # such as artists, with a filter that leaves none of the same artist
        listed = np.minimum(own["candidates"], k)[scored]
        seeded = part.assign(seed=0)
        lines = []
        for metric in METRICS:
            found = score_rows(seeded, metric, bounds=(0, 1), draws=DRAWS)
            lines += found.assign(metric=metric).drop(columns=["seed_std", "seeds"]).to_dict("records")
        sections.append(
            {
                "label": name,
                "about": about[name].about,
                "filter": bool(filtered),
                "known": int(about[name].known.sum()),
                "scored": int(scored.sum()),
                "expected": len(scored),
                "attainable": float((np.minimum(own["relevant"][scored], listed) / listed).mean()),
                "scores": lines,
                "comparisons": compare_rows(seeded, names[0], PRIMARY, draws=DRAWS).to_dict("records"),
            }
        )
    family = [line for section in sections for line in section["comparisons"]]
    for line, adjusted in zip(family, holm([line["p"] for line in family]), strict=True):
        line["p_holm"] = float(adjusted)
        line["mark"] = NOT_TESTED if np.isnan(adjusted) else NOT_DISTINGUISHABLE if adjusted >= ALPHA else ""
    return sections


def _groups(ids: NDArray[np.object_], groups: NDArray[np.object_] | None) -> dict[str, str]:
    """What is resampled: groups, and tracks that have none."""
    if groups is None:
        return {str(track): str(track) for track in ids}
    alone = pd.isna(groups) | (groups == "")
    return {
        str(track): f"track {track}" if lone else f"group {group}"
        for track, group, lone in zip(ids, groups, alone, strict=True)
    }


def _with_intervals(found: Hubness) -> dict[str, Any]:
    counts = found.occurrences
    spread = bootstrap_statistic(
        lambda rows: float(stats.skew(rows["count"])) if rows["count"].nunique() > 1 else np.nan,
        pd.DataFrame({"count": counts}),
        draws=200,
    )
    largest = int(counts.argmax()) if len(counts) else -1
    return {
        "k": found.k,
        "tracks": len(counts),
        "skewness": asdict(spread),
        "hubs": asdict(cluster_bootstrap((counts >= 5 * found.k).astype(float), bounds=(0, 1), draws=DRAWS)),
        "orphans": asdict(cluster_bootstrap((counts == 0).astype(float), bounds=(0, 1), draws=DRAWS)),
        "largest": int(counts.max(initial=0)),
        "largest_track": largest,
    }


def _precision(lists: Neighbours, relation: Relation, k: int, groups: ArrayLike | None) -> dict[str, Any]:
    """Share of right ones among the first k neighbours whose label is known, over queries that could have one."""
    positions = lists.positions[:, :k]
    known = relation.known
    right = relation.between(np.arange(len(positions)), positions)
    judged = known[positions] & (positions >= 0)
    with np.errstate(invalid="ignore"):
        values = (right & judged).sum(axis=1) / judged.sum(axis=1)
    values[~relation.answerable] = np.nan
    return asdict(cluster_bootstrap(values, _filled(groups, len(positions)), bounds=(0, 1), draws=DRAWS))


def _filled(groups: ArrayLike | None, tracks: int) -> NDArray[np.object_] | None:
    if groups is None:
        return None
    names = np.asarray(groups, dtype=object)
    own = np.array([f"track {number}" for number in range(tracks)], dtype=object)
    return np.where(pd.isna(names) | (names == ""), own, names)
