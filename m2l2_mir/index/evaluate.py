"""The whole evaluation of an index: retrieval beside baselines, hubness, search, and a map.

index + labels --rows--> retrieval scores | neighbours --> hubness | own search against exact --> recall, speed, size
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from m2l2_mir.dataset.table_file import column_named
from m2l2_mir.errors import InputError
from m2l2_mir.index.evaluation import CANDIDATES, FORMAT, Count, Retrieval, evaluate_hubness, evaluate_retrieval
from m2l2_mir.index.evaluation_rows import SAME, hand_made, index_row, otherwise_prepared, random_row, store_row
from m2l2_mir.index.hubness import Neighbours, k_occurrence
from m2l2_mir.index.library import FROM_STORE
from m2l2_mir.index.map import Plane, check_method, place
from m2l2_mir.index.relations import find_relations
from m2l2_mir.index.retrieval import METRICS, PRIMARY, QUERIES
from m2l2_mir.index.search_quality import evaluate_search, unseen_recall
from m2l2_mir.index.tables import ID
from m2l2_mir.probe.baselines import check_names
from m2l2_mir.recipe import close_match

if TYPE_CHECKING:
    from m2l2_mir.index.similarity import SimilarityIndex

__all__ = ["Evaluation", "evaluate_index"]

# Tracks up to which a structure is built again without those that are held out, a minute or so, and all embeddings are
# prepared in other ways.
BUILT_AGAIN = 100_000
EXACT_BELOW = 20_000  # tracks; above, hubness is that of the neighbours the index finds
_BLOCK = 1024  # queries of one search


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What :func:`evaluate_index` found.

    Parameters
    ----------
    scores
        All numbers, as in ``scores.json``.
    queries
        One line for each row, relation, filter and query.
    tracks
        The index's metadata with the labels, ``occurrences`` (k-occurrence), ``x`` and ``y`` (on the map).
    neighbours
        Of every track, by cosine.
    """

    scores: dict[str, Any]
    queries: pd.DataFrame
    tracks: pd.DataFrame
    neighbours: Neighbours


def evaluate_index(
    index: SimilarityIndex,
    *,
    name: str,
    labels: Sequence[str] = (),
    table: pd.DataFrame | None = None,
    group: str | None = "auto",
    baselines: Sequence[str] = ("log-mel",),
    stores: Sequence[Path] = (),
    k: int = 10,
    queries: int = QUERIES,
    plane: str = "auto",
    seed: int = 0,
    jobs: int | None = None,
    count: Count,
) -> Evaluation:
    """Evaluate an index.

    Parameters
    ----------
    index
        At least two tracks.
    name
        Of the index, in tables.
    labels
        As in :func:`m2l2_mir.index.relations.find_relations`.
    table
        More columns, by ``track_id``; ``path`` and ``duration`` only where the index has none.
    group
        Column of the artist filter, which intervals are over too; "auto": ``artist`` if there is one; None: no filter.
    baselines
        Of :data:`m2l2_mir.probe.baselines.BASELINES`, where tracks have audio files.
    stores
        Embeddings of the same tracks by other encoders, such as an untrained one.
    k, queries, seed
        As in :func:`m2l2_mir.index.retrieval.per_query`.
    plane
        As ``method`` of :func:`m2l2_mir.index.map.place`.
    jobs
        Processes for the baselines.
    count
        Told of the work.

    Raises
    ------
    InputError
        There are fewer than two tracks, a column is missing, or as in the functions named above.
    """
    check_method(plane)
    check_names(baselines)
    tracks = _with_labels(index.metadata, table)
    if len(tracks) < 2:
        raise InputError(f"{name} holds {len(tracks)} tracks: there are no neighbours to evaluate; add tracks to it")
    relations = find_relations(tracks.drop(columns=[ID, "source"], errors="ignore"), list(labels))
    column = _group_column(tracks, group)
    groups = None if column is None else tracks[column].to_numpy(dtype=object)
    ids, vectors = tracks[ID].astype(str).tolist(), index.vectors()
    notes: list[str] = []
    if not relations:
        notes.append(
            "no column that tells whether a neighbour is right: give --label COLUMN, and --labels FILE for a table"
        )
    about = f"{len(ids)} vectors of {vectors.shape[1]} numbers, searched by {index.backend.choice.kind}"
    rows = [index_row(name, vectors, about)]
    found = Retrieval(sections=[], queries=pd.DataFrame(), left_out=[])
    if relations:
        kind, pooling = index.preparation.kind, str(index.about["pooling"])
        if len(ids) <= BUILT_AGAIN:
            rows += otherwise_prepared(index.embeddings(), kind)
        else:
            notes.append(f"other preparations are compared up to {BUILT_AGAIN:,} tracks")
        paths = tracks["path"].fillna("").astype(str).tolist() if "path" in tracks else []
        rows += [store_row(path, ids, paths, preparation=kind, pooling=pooling) for path in stores]
        if any(paths):
            settings = index.provenance.get("settings", {})
            with count("hand-made features") as progress:
                excerpt = tuple(settings["excerpt"]) if settings.get("excerpt") else None
                rows += hand_made(
                    paths, list(baselines), preparation=kind, excerpt=excerpt, jobs=jobs, progress=progress
                )
        elif baselines:
            notes.append(f"no {', '.join(baselines)} row: the index knows of no audio files")
        lost = [row for row in rows if row.kind == "hand-made" and len(row.failed) == len(ids)]
        notes += [f"no {row.name} row: {next(iter(row.failed.values()))}" for row in lost]
        rows = [row for row in rows if row not in lost]
        rows.append(random_row(len(ids), vectors.shape[1]))
        found = evaluate_retrieval(rows, ids, relations, groups=groups, k=k, queries=queries, seed=seed, count=count)
    lists = None if len(ids) <= EXACT_BELOW else _searched(index, vectors, max(k, CANDIDATES), count)
    hubs, lists = evaluate_hubness(vectors, relations, k=k, neighbours=lists, groups=groups, seed=seed, count=count)
    with count("recall and speed"):
        sizes = {
            "search structure": index.backend.memory_bytes(),
            "embeddings": index.width * 4 * len(ids),
        }
        search = evaluate_search(vectors, index.search, sizes, k=k, seed=seed)
        if not index.backend.exact:
            notes += _unseen(index, vectors, search, k=k, seed=seed)
    with count("map"):
        placed = place(vectors, method=plane, seed=seed)
    for line in hubs:
        line["largest_track"] = ids[line["largest_track"]]
    scores = {
        "format": FORMAT,
        "index": _facts(index, name),
        "k": k,
        "group": column,
        "primary": PRIMARY,
        "metrics": list(METRICS),
        "rows": [
            {
                "name": row.name,
                "kind": row.kind,
                "width": row.width,
                "about": row.about,
                "same_embeddings": row.name.startswith(SAME),
            }
            for row in rows
        ],
        "sections": found.sections,
        "left_out": found.left_out,
        "hubness": hubs,
        "hubness_of": "exact neighbours" if len(ids) <= EXACT_BELOW else "the neighbours that the index finds",
        "search": search,
        "map": {"method": placed.method, "trustworthiness": placed.trust},
        "notes": notes,
        "settings": {"queries": queries, "seed": seed, "versions": _versions()},
    }
    return Evaluation(scores=scores, queries=found.queries, tracks=_placed(tracks, placed, lists, k), neighbours=lists)


def _with_labels(metadata: pd.DataFrame, table: pd.DataFrame | None) -> pd.DataFrame:
    if table is None:
        return metadata
    table = table.assign(**{ID: table[ID].astype(str)})
    if twice := table.loc[table[ID].duplicated(), ID].tolist():
        raise InputError(f"the labels name track {twice[0]!r} twice; give each track one line")
    if table.empty:
        raise InputError("the table of labels is empty; give a line for each track")
    if not table[ID].isin(metadata[ID].astype(str)).any():
        raise InputError(
            f"the labels know none of the {len(metadata)} tracks: theirs are called such as {table[ID].iloc[0]!r}, "
            f"those of the index {metadata[ID].iloc[0]!r}"
        )
    table = table.drop(columns=[name for name in FROM_STORE if name in table and name in metadata])
    kept = metadata.drop(columns=[name for name in table.columns if name != ID and name in metadata])
    return kept.assign(**{ID: kept[ID].astype(str)}).merge(table, on=ID, how="left", validate="one_to_one")


def _group_column(tracks: pd.DataFrame, group: str | None) -> str | None:
    if group == "auto":
        return "artist" if "artist" in tracks and tracks["artist"].notna().any() else None
    if group is None:
        return None
    column = column_named(group, tracks.columns)
    if column is None:
        names = list(map(str, tracks.columns))
        raise InputError(f"no column {group!r}{close_match(group, names)} to filter by; columns: {', '.join(names)}")
    return column


def _searched(index: SimilarityIndex, vectors: np.ndarray, most: int, count: Count) -> Neighbours:
    """Neighbours of every track as the index finds them, without the track itself."""
    total = len(vectors)
    positions = np.full((total, most), -1, np.intp)
    scores = np.full((total, most), -np.inf)
    with count("neighbours of every track") as progress:
        for start in range(0, total, _BLOCK):
            part = slice(start, min(start + _BLOCK, total))
            similarity, found = index.search(vectors[part], most + 1)
            own = found == np.arange(part.start, part.stop)[:, None]
            own[~own.any(axis=1), -1] = True  # it has not found itself: the last one goes
            width = found.shape[1] - 1
            positions[part, :width] = found[~own].reshape(len(found), width)
            scores[part, :width] = similarity[~own].reshape(len(found), width)
            progress(part.stop, total)
    return Neighbours(positions=positions, scores=scores)


def _unseen(index: SimilarityIndex, vectors: np.ndarray, search: dict[str, Any], *, k: int, seed: int) -> list[str]:
    """Add the recall of unseen queries to what was measured; -> why it was not."""
    if not 20 <= len(vectors) <= BUILT_AGAIN:
        return [f"recall of unseen queries is measured from 20 to {BUILT_AGAIN:,} tracks"]

    def build(kept: np.ndarray) -> Any:
        names, factory = [str(row) for row in range(len(kept))], index.backend.choice.factory
        return type(index).from_vectors(kept, names, preparation="l2", factory=factory, seed=seed).search

    try:
        search["recall_unseen"] = unseen_recall(vectors, build, k=k, seed=seed)
    except InputError as error:  # the structure cannot be trained with fewer tracks
        return [f"no recall of unseen queries: {error}"]
    return []


def _placed(tracks: pd.DataFrame, plane: Plane, lists: Neighbours, k: int) -> pd.DataFrame:
    return tracks.assign(
        occurrences=k_occurrence(lists.positions[:, :k], len(tracks)), x=plane.points[:, 0], y=plane.points[:, 1]
    )


def _facts(index: SimilarityIndex, name: str) -> dict[str, Any]:
    settings = index.provenance.get("settings", {})
    return {
        "name": name,
        "tracks": len(index),
        "width": index.width,
        "rank": index.preparation.rank,
        "structure": index.backend.choice.factory,
        "preparation": index.preparation.kind,
        "reasons": {name: why for name, why in index.reasons.items() if name != "segments"},
        "weights": settings.get("weights"),
        "weights_sha256": settings.get("weights_sha256"),
        "trained": settings.get("trained"),
    }


def _versions() -> dict[str, str]:
    packages = ("m2l2-mir", "faiss-cpu", "numpy", "scikit-learn")
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}
