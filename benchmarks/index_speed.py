"""The similarity index against plain FAISS, scikit-learn and exact search, at growing sizes.

Synthetic vectors of 512 numbers in clusters (a track is near the others of its cluster, loudest in few directions, as
embeddings are), prepared as the index prepares them unless another --preparation is given. For each size and structure,
in a process of its own: time and peak memory of building, bytes of the structure, recall@10 against exact search, of
tracks of the library and of unseen ones (held out, as what somebody asks with a file), and the time of a search

  - by `SimilarityIndex.search` and by a plain call of the same FAISS structure, in turn, one query at a time and in
    batches: what the index adds to FAISS. Goal: at most 10 %. A compressed structure stands beside FAISS's own
    `IndexRefineFlat` over it, which scores as many candidates again with vectors that it holds in memory.
  - by `SimilarityIndex.query` with a vector: with ids, percentiles and a table; and with a filter that leaves a tenth
    of the tracks.
  - by scikit-learn's brute force, in batches.

Then 1,000 tracks are added, as by `index add` without its files, beside adding their vectors to the plain structure.
Below 1,000,000 vectors building a graph is also compared with plain FAISS. "auto" is what the index chooses by itself.

    python benchmarks/index_speed.py
    python benchmarks/index_speed.py --quick
    python benchmarks/index_speed.py --sizes 10000 100000
    python benchmarks/index_speed.py --sizes 10000 100000 --preparation whitened
"""

from __future__ import annotations

import math
import multiprocessing
import resource
import statistics
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from _common import argument_parser, interleaved, machine, ratios, spread, table, verdict, write_results
from numpy.typing import NDArray

SIZES = (10_000, 100_000, 1_000_000)
WIDTH = 512
CLUSTER = 50  # tracks
TIGHTNESS = np.float32(0.35)  # spread of the centres by that within a cluster: they overlap, and a graph can miss
K = 10
GOAL = 1.10  # search by the index / plain call
QUERIES = 1000  # of recall
BATCH = 100
PARTS = 10  # of the library, of which a filter leaves one
ADDED = 1000
STRUCTURES: dict[str, dict[str, Any]] = {
    "auto": {},
    "exact": {"exact": True},
    "HNSW": {"factory": "HNSW32,Flat"},
    "compressed": {"memory_mb": 256},
    "IVF": {"factory": "IVF16,PQ8"},  # for --quick: small libraries are never compressed unasked
}
LARGE = 1_000_000  # from here on "auto" is no longer exact, and graphs are not built twice

Vectors = NDArray[np.float32]


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="numbers of vectors")
    parser.add_argument("--repeats", type=int, default=9, help="timed rounds of each way of searching (default: 9)")
    parser.add_argument("--preparation", default="auto", help="auto, l2, centred, pca or whitened (default: auto)")
    options = parser.parse_args()
    sizes, repeats = ([2000, 4000], 2) if options.quick else (sorted(options.sizes), options.repeats)
    facts = machine()
    rows = []
    for size in sizes:
        names = ["exact", "auto", "compressed"] if size >= LARGE else ["auto", "HNSW"]
        names += ["IVF"] if options.quick else []
        for name in names:
            rows.append(fresh(measure, size, name, repeats, options.preparation))
            found = rows[-1]
            print(f"{size:,} {name}: recall {found['recall']:.3f}, {found['recall_unseen']:.3f}", file=sys.stderr)
    write_results(options, facts, {"rows": rows}, summary(rows))


def fresh(work: Callable[..., dict[str, Any]], *arguments: object) -> dict[str, Any]:
    """Call a function in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def measure(size: int, name: str, repeats: int, preparation: str) -> dict[str, Any]:
    """Build one structure and search in it."""
    import faiss
    from sklearn.neighbors import NearestNeighbors

    from m2l2_mir.index.search_quality import recall
    from m2l2_mir.index.similarity import SimilarityIndex

    drawn = clustered(size + QUERIES)
    vectors, held_out = drawn[:size], drawn[size:]
    ids = [f"track {number:08}" for number in range(size + ADDED)]
    about = pd.DataFrame({"part": np.arange(size + ADDED, dtype=np.int8) % PARTS})
    begun = perf_counter()
    index = SimilarityIndex.from_vectors(vectors, ids[:size], about[:size], preparation=preparation, **STRUCTURES[name])
    build = perf_counter() - begun
    memory = peak_rss() - drawn.nbytes
    factory, plain = index.backend.choice.factory, index.backend.index
    prepared = index.vectors()
    plain_build = None
    if size < LARGE and factory.startswith("HNSW"):  # filling Flat is a copy
        begun = perf_counter()
        build_plainly(factory, plain, prepared)
        plain_build = perf_counter() - begun
    queries = np.random.default_rng(1).permutation(size)[:QUERIES]
    found = index.search(prepared[queries], K + 1)[1]
    unseen = index.preparation(held_out)
    seconds: dict[str, dict[str, list[float]]] = {}
    peer, parameters = plain_peer(index.backend, prepared)
    for title, asked in (("one at a time", prepared[queries[:BATCH]]), ("in a batch", prepared[queries[:BATCH]])):
        parts = [asked[place : place + 1] for place in range(len(asked))] if title == "one at a time" else [asked]
        ways: dict[str, Callable[[], object]] = {
            "index": lambda parts=parts: [index.search(part, K) for part in parts],  # type: ignore[misc]
            "plain FAISS": lambda parts=parts: [  # type: ignore[misc]
                peer.search(part, K, params=parameters) for part in parts
            ],
        }
        if title == "one at a time":
            raw = [vectors[place] for place in queries[: len(parts)]]
            ways["index.query"] = lambda raw=raw: [index.query(one, K) for one in raw]  # type: ignore[misc]
            if size >= LARGE:
                raw = raw[:5]  # compares a tenth of the library
            filtered = interleaved(
                {"filtered": lambda raw=raw: [index.query(one, K, where=["part=3"]) for one in raw]},  # type: ignore[misc]
                repeats=2 if size >= LARGE else repeats,
                warmup=0,
            )["filtered"]
            filtered = [once / len(raw) for once in filtered]
        else:
            brute = NearestNeighbors(n_neighbors=K, algorithm="brute", metric="cosine").fit(prepared)
            ways["scikit-learn"] = lambda brute=brute, asked=asked: brute.kneighbors(asked)  # type: ignore[misc]
        seconds[title] = {
            way: [once / len(asked) for once in times]
            for way, times in interleaved(ways, repeats=repeats if size < LARGE else max(2, repeats // 3)).items()
        }
    found_unseen = index.search(unseen, K)[1]
    ratio = adding(index, held_out[:ADDED], ids[size:], about[size:], plain)
    return {
        "size": size,
        "structure": name,
        "factory": factory,
        "breadth": index.backend.breadth,
        "build_seconds": build,
        "plain_build_seconds": plain_build,
        "build_peak_bytes": memory,
        "bytes_per_vector": index.backend.memory_bytes() / size,
        "preparation": index.preparation.kind,
        "rank": index.preparation.rank,
        "recall": float(recall(prepared, prepared[queries], found, K, own=queries).mean()),
        "recall_unseen": float(recall(prepared, unseen, found_unseen, K).mean()),
        "seconds_per_query": seconds,
        "seconds_per_filtered_query": filtered,
        "adding_seconds": ratio["index"],
        "plain_adding_seconds": ratio["plain FAISS"],
        "threads": faiss.omp_get_max_threads(),
        "overhead": {
            title: ratios(times["index"], times["plain FAISS"])
            for title, times in seconds.items()
            if "plain FAISS" in times
        },
    }


def clustered(size: int) -> Vectors:
    """Vectors in clusters of about 50; directions are of unequal strength."""
    rng = np.random.default_rng(0)
    strength = (1 / np.sqrt(1 + np.arange(WIDTH) / 16)).astype(np.float32)
    centres = TIGHTNESS * rng.standard_normal((max(1, size // CLUSTER), WIDTH), np.float32)
    vectors = np.empty((size, WIDTH), np.float32)
    for start in range(0, size, 50_000):
        part = vectors[start : start + 50_000]
        part[:] = rng.standard_normal(part.shape, np.float32)
        part += centres[rng.integers(len(centres), size=len(part))]
        part *= strength
    return vectors


def build_plainly(factory: str, like: Any, vectors: Vectors) -> Any:
    """The same structure by plain calls."""
    import faiss

    plain = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    if hasattr(plain, "hnsw"):
        plain.hnsw.efConstruction = faiss.downcast_index(like).hnsw.efConstruction
    plain.train(vectors)
    plain.add(vectors)
    return plain


def plain_peer(backend: Any, vectors: Vectors) -> tuple[Any, Any]:
    """What finds as much by FAISS alone, and the search parameters of the index, given by hand."""
    import faiss

    from m2l2_mir.index.backends import RESCORED

    if not backend.rescored:
        return backend.index, backend.parameters(K)
    peer = faiss.IndexRefineFlat(backend.index, faiss.swig_ptr(vectors))
    found = backend.parameters(RESCORED * K)
    return peer, faiss.IndexRefineSearchParameters(k_factor=RESCORED, base_index_params=found)


def adding(index: Any, vectors: Vectors, ids: list[str], about: pd.DataFrame, plain: Any) -> dict[str, float]:
    """Seconds of adding tracks to the index, and of adding them to a copy of its plain structure."""
    import faiss

    prepared, copy = index.preparation(vectors), faiss.clone_index(plain)
    begun = perf_counter()
    copy.add(prepared)
    between = perf_counter()
    index.add_vectors(vectors, ids, about)
    return {"index": perf_counter() - between, "plain FAISS": between - begun}


def peak_rss() -> int:
    """Return the peak resident memory of this process in bytes."""
    try:  # ru_maxrss of Linux may be the starting process's, which a child inherits
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def growth(rows: list[dict[str, Any]]) -> list[str]:
    """How the time of one query grows with the size, for structures measured at several sizes."""
    told = []
    for factory in dict.fromkeys(row["factory"] for row in rows):
        of_one = [row for row in rows if row["factory"] == factory]
        times = [statistics.median(row["seconds_per_query"]["one at a time"]["index"]) for row in of_one]
        for (before, first), (after, then) in pairwise(zip(of_one, times, strict=True)):
            exponent = math.log(then / first) / math.log(after["size"] / before["size"])
            told.append(f"{factory}, {before['size']:,} to {after['size']:,}: size ** {exponent:.2f}")
    return told


def summary(rows: list[dict[str, Any]]) -> str:
    """What NAME.md says."""
    overheads = [statistics.median(ratio) for row in rows for ratio in row["overhead"].values()]
    worst = max(overheads)

    def milliseconds(row: dict[str, Any], title: str, way: str) -> str:
        times = row["seconds_per_query"][title].get(way)
        return f"{1000 * statistics.median(times):.3f}" if times else ""

    building = [
        [
            f"{row['size']:,}",
            f"{row['structure']} ({row['factory']})",
            f"{row['build_seconds']:.1f}",
            "" if row["plain_build_seconds"] is None else f"{row['build_seconds'] / row['plain_build_seconds']:.2f}",
            f"{row['build_peak_bytes'] / 1e6:,.0f}",
            f"{row['bytes_per_vector']:,.0f}",
            f"{row['breadth']:,}" if row["breadth"] else "all",
            f"{row['recall']:.4f}",
            f"{row['recall_unseen']:.4f}",
            f"{row['adding_seconds']:.2f}",
            f"{row['plain_adding_seconds']:.2f}",
        ]
        for row in rows
    ]
    searching = [
        [
            f"{row['size']:,}",
            row["structure"],
            milliseconds(row, "one at a time", "index"),
            *(
                spread(row["overhead"][title]) if title in row["overhead"] else ""
                for title in ("one at a time", "in a batch")
            ),
            milliseconds(row, "one at a time", "index.query"),
            f"{1000 * statistics.median(row['seconds_per_filtered_query']):.1f}",
            milliseconds(row, "in a batch", "index"),
            milliseconds(row, "in a batch", "scikit-learn"),
        ]
        for row in rows
    ]
    return (
        f"Clustered vectors of {WIDTH} numbers, {K} neighbours, {rows[0]['threads']} threads; preparation "
        f"{', '.join(dict.fromkeys(row['preparation'] + ', rank ' + str(row['rank']) for row in rows))}. "
        "`SimilarityIndex.search` against the plain call of the same FAISS structure (compressed: refined by true "
        "vectors in memory, those of the index may lie on disk), in turn: goal at most "
        f"{GOAL:.2f} x, {verdict(worst <= GOAL)} ({worst:.2f} x at worst, medians).\n\n"
        + table(
            ["vectors", "structure", "build, s", "/ plain FAISS", "peak beside the vectors, MB", "bytes a vector",
             "looks at", f"recall@{K}", f"recall@{K}, unseen", f"{ADDED:,} added, s", "by plain FAISS, s"],
            building,
        )
        + "\n\nMilliseconds a query, medians; ratios are median (range).\n\n"
        + table(
            ["vectors", "structure", "index, one", "/ plain FAISS, one", f"/ plain FAISS, {BATCH} at once",
             "index.query, one", "index.query, a tenth left", f"index, {BATCH} at once",
             f"scikit-learn, {BATCH} at once"],
            searching,
        )
        + "\n\nGrowth of the time of one query: " + "; ".join(growth(rows) or ["one size only"]) + "."
    )  # fmt: skip


if __name__ == "__main__":
    main()
